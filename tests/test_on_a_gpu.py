"""What a GPU computes: `make test-gpu` on a machine that has one; every other run hides it.

The reference is float64 on the CPU, where every layer runs this project's loop.
"""

import numpy as np
import pytest
import tensorflow as tf
from project import compose_config
from same_runs import assert_same_runs
from small_trainings import TOY

from seq2seq.inference.predictor import Predictor
from seq2seq.model.rnn.cells import cell_spec
from seq2seq.model.rnn.compiled import compiled
from seq2seq.runs.run_dir import RunDir
from seq2seq.training.run import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not tf.config.list_physical_devices("GPU"), reason="needs a GPU"),
]
B, T, F, U = 8, 11, 7, 64
MASKS = {
    "none": None,
    "right": np.arange(T) < np.array([[T], [3], [1], [7], [T], [2], [5], [9]]),
    "anywhere": np.random.default_rng(4).random((B, T)) < np.linspace(0, 1, B)[:, None],
}
CELLS = ["lstm", "gru", "simple_rnn", "peephole_lstm", "rwa"]


@pytest.fixture(autouse=True)
def exact_products():
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    yield
    tf.config.experimental.enable_tensor_float_32_execution(before)


def outcome(cell, dtype, mask, jit_compile, go_backwards):
    """Outputs, final states and gradients of a layer that starts from given states."""
    rng = np.random.default_rng(5)
    make = cell_spec(cell).make
    policy = {"float32": "float32", "float64": "float64", "bfloat16": "mixed_bfloat16"}[dtype]
    layer = make(
        U, return_sequences=True, return_state=True, dtype=policy, go_backwards=go_backwards
    )
    x = tf.constant(rng.normal(size=(B, T, F)), layer.compute_dtype)
    layer.build(x.shape)
    layer.set_weights([rng.normal(0, 0.2, w.shape) for w in layer.get_weights()])
    states = layer.get_initial_state(B)
    states = states if isinstance(states, list | tuple) else [states]
    states = [tf.cast(rng.normal(0, 0.5, s.shape), s.dtype) for s in states]
    wanted = rng.normal(size=(B, T, U))

    def run(x, *states):
        with tf.GradientTape() as tape:
            tape.watch([x, *states])
            sources = [x, *states, *(one.value for one in layer.trainable_variables)]
            sequence, *final = layer(x, initial_state=[*states], mask=mask)
            loss = tf.reduce_sum(tf.cast(sequence, "float64") * wanted)
        zero = tf.UnconnectedGradients.ZERO  # of a trained initial state that is not used
        return sequence, *final, *tape.gradient(loss, sources, unconnected_gradients=zero)

    found = compiled(run, jit_compile)(x, *states)
    return [np.asarray(tf.cast(one, "float64")) for one in found]


def worst_error(found, expected):
    """The largest distance of any of the tensors, relative to the size of its numbers."""
    return max(
        np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-9)
        for a, b in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.03)])
def test_a_layer_and_its_gradients(cell, dtype, tolerance, mask, jit_compile, go_backwards):
    with tf.device("CPU"):
        expected = outcome(cell, "float64", MASKS[mask], False, go_backwards)
    found = outcome(cell, dtype, MASKS[mask], jit_compile, go_backwards)
    assert worst_error(found, expected) < tolerance


@pytest.mark.parametrize("jit_compile", ["false", "true"])
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("model", ["state", "attention", "monotonic"])
def test_a_training_ends_and_decodes(tmp_path, model, precision, jit_compile):
    words = [f"model={model}", f"training.precision={precision}", "training.epochs=2"]
    compilation = [f"training.jit_compile={jit_compile}", f"decoding.jit_compile={jit_compile}"]
    if model != "state":
        words += ["model.units=16", "model.encoder.units=8"]
    small = [word for word in TOY if "jit_compile" not in word]
    results = train(compose_config(*small, *words, *compilation), tmp_path / "r")
    assert np.isfinite(results["dev"]["loss"])
    assert results["device"].startswith("GPU")
    [answer] = Predictor.load(RunDir.open(tmp_path / "r")).predict(["1 2 3 4"])
    assert answer.problem is None


def test_a_repeated_training_is_the_same_to_the_bit(tmp_path):
    config = compose_config(*TOY, "training.epochs=2", "training.deterministic=true")
    for name in ("a", "b"):
        train(config, tmp_path / name)
    assert_same_runs(tmp_path / "a", tmp_path / "b")
