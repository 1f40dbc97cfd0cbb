"""The whole model: gold values from NumPy, stepping, padding, sharing, and as a Keras model."""

import keras
import numpy as np
import numpy_models
import pytest
import tensorflow as tf

from seq2seq.config.choices import BridgeKind, Precision
from seq2seq.errors import UserError
from seq2seq.inference.compiled_search import decoder_step
from seq2seq.inference.search import greedy
from seq2seq.model.seq2seq import Seq2Seq, build_model, count_parameters
from seq2seq.special_ids import BOS, PAD

V_SOURCE, V_TARGET, FEATURES = 9, 8, 3
SOURCE = np.array([[4, 5, 6, 7, 8], [5, 4, 4, 0, 0], [8, 0, 0, 0, 0]], np.int32)
TARGET_IN = np.array([[2, 4, 5, 6], [2, 7, 7, 0], [2, 5, 0, 0]], np.int32)
SMALL = ["model.units=6", "model.embedding_size=5"]
BIDIRECTIONAL = ["model.encoder.bidirectional=true", "model.encoder.units=3"]


def random_model(compose, *overrides, seed=0):
    config = compose("run_dir=x", *SMALL, *overrides).model
    model = build_model(config, V_SOURCE, V_TARGET, feature_size=FEATURES)
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.dtype == "float32":
            weight.assign(rng.normal(size=weight.shape) * 0.7)
    return model


def logits(model, source=SOURCE, target_in=TARGET_IN):
    return model({"source": tf.constant(source), "target_in": tf.constant(target_in)}).numpy()


@pytest.mark.parametrize("kind", ["none", "dot", "general", "additive"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru", "simple_rnn", "peephole_lstm", "rwa"])
def test_equals_numpy(make, cell, bidirectional, layers, kind):
    model, config = make(
        f"model.cell={cell}",
        f"model.layers={layers}",
        f"model.attention.kind={kind}",
        "model.input=embedding" if layers == 2 else "model.input=one_hot",
        *(BIDIRECTIONAL if bidirectional else []),
        f"model.bridge.kind={'concat' if bidirectional else 'copy'}",
    )
    expected, _ = numpy_models.forward(model, config, SOURCE, TARGET_IN)
    np.testing.assert_allclose(logits(model), expected, atol=1e-5)


DEPTHS = {
    "deeper": ["model.encoder.layers=1", "model.decoder.layers=3"],
    "shallower": ["model.encoder.layers=3", "model.decoder.layers=2"],
}


@pytest.mark.parametrize("depths", DEPTHS)
@pytest.mark.parametrize(
    "cells",
    ["lstm gru", "gru lstm", "simple_rnn lstm", "lstm simple_rnn", "lstm rwa", "rwa peephole_lstm"],
)
@pytest.mark.parametrize(
    ("kind", "state_c", "directions", "units"),
    [
        ("copy", "null", 1, 6),
        ("sum", "zero", 2, 6),
        ("concat", "dense", 2, 3),
        ("dense", "learned", 2, 4),
        ("zero", "dense", 1, 4),
        ("learned", "zero", 2, 7),
    ],
)
def test_unlike_sides_equal_numpy(make, kind, state_c, directions, units, cells, depths):
    """Encoder and decoder of different cells, depths and sizes, by every bridge."""
    encoder_cell, decoder_cell = cells.split()
    model, config = make(
        *DEPTHS[depths],
        f"model.encoder.cell={encoder_cell}",
        f"model.decoder.cell={decoder_cell}",
        f"model.encoder.units={units}",
        f"model.encoder.bidirectional={str(directions == 2).lower()}",
        f"model.bridge.kind={kind}",
        f"model.bridge.state_c={state_c}",
    )
    expected, final = numpy_models.forward(model, config, SOURCE, TARGET_IN)
    np.testing.assert_allclose(logits(model), expected, atol=1e-5)
    memory, state = model.encode(tf.constant(SOURCE))
    _, state, _ = model.decoder(tf.constant(TARGET_IN), state, memory)
    for ours, theirs in zip(tf.nest.flatten(state), tf.nest.flatten(final), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


VARIANTS = [
    ["model=state"],
    ["model=attention", "model.encoder.units=3", "model.dropout=0"],
    ["model.cell=gru", "model.layers=2", *BIDIRECTIONAL, "model.bridge.kind=dense"],
    ["model.attention.kind=additive", "model.encoder.cell=gru", "model.encoder.layers=2"],
    ["model.decoder.kind=repeat_vector", "model.attention.kind=dot"],
    ["model.decoder.kind=with_features", "model=monotonic", "model.decoder.layers=2"],
    ["model.input=embedding", "model.tied_output=true"],
    ["model.cell=rwa", "model.encoder.cell=peephole_lstm", "model.layers=2"],
    ["model.cell=peephole_lstm", "model.encoder.cell=rwa", *BIDIRECTIONAL, "model.bridge.kind=sum",
     "model.units=3"],
]  # fmt: skip


@pytest.mark.parametrize("overrides", VARIANTS)
def test_stepping_equals_the_unrolled_pass(compose, overrides):
    model = random_model(compose, *overrides)
    expected = logits(model)
    encoded = model.encoder_model(SOURCE)
    state = encoded["state"]
    for t in range(TARGET_IN.shape[1]):
        step = {
            "target_in": tf.constant(TARGET_IN[:, t : t + 1]),
            "memory": encoded["memory"],
            "state": state,
        }
        output = model.decoder_model(step)
        np.testing.assert_allclose(output["logits"][:, 0], expected[:, t], atol=1e-5)
        state = output["state"]


@pytest.mark.parametrize("overrides", VARIANTS)
def test_padding_and_order_change_nothing(compose, overrides):
    model = random_model(compose, *overrides)
    expected = logits(model)
    padded = np.pad(SOURCE, [(0, 0), (0, 3)])
    longer = np.pad(TARGET_IN, [(0, 0), (0, 2)])
    np.testing.assert_allclose(logits(model, padded, longer)[:, :4], expected, atol=1e-5)
    order = [2, 0, 1]
    np.testing.assert_allclose(
        logits(model, SOURCE[order], TARGET_IN[order]), expected[order], atol=1e-5
    )
    # Each row alone, without any padding.
    for i, row in enumerate(SOURCE):
        alone = logits(model, row[row != PAD][None], TARGET_IN[i : i + 1])
        np.testing.assert_allclose(alone[0], expected[i], atol=1e-5)


@pytest.mark.parametrize("kind", ["dot", "general", "additive"])
def test_attention_weights_are_a_distribution_over_real_tokens(compose, kind):
    model = random_model(compose, f"model.attention.kind={kind}")
    output = model.decoder_model(
        {"target_in": tf.constant(TARGET_IN), **model.encoder_model(SOURCE)}
    )
    weights = output["attention_weights"].numpy()
    assert weights.shape == (3, 4, 5)
    np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-6)
    assert np.all(weights.transpose(0, 2, 1)[SOURCE == PAD] == 0)


def test_without_attention_the_memory_is_empty(compose):
    model = random_model(compose, "model=state")
    assert model.encoder_model(SOURCE)["memory"] == {}


def test_models_share_their_layers(compose):
    """What one training step changes is there at once in both inference models."""
    model = random_model(compose, "model=attention", "model.encoder.units=3")
    encoder_model, decoder_model = model.encoder_model, model.decoder_model
    assert any(layer is model.encoder for layer in encoder_model.layers)
    assert any(layer is model.bridge for layer in encoder_model.layers)
    assert any(layer is model.decoder for layer in decoder_model.layers)
    ours = {id(weight) for weight in model.weights}
    for part in (encoder_model, decoder_model):
        assert {id(weight) for weight in part.weights} <= ours

    def both():
        encoded = encoder_model(SOURCE)
        output = decoder_model({"target_in": tf.constant(TARGET_IN), **encoded})
        return [np.array(t) for t in (encoded["memory"]["values"], output["logits"])]

    before = both()
    model.compile(keras.optimizers.SGD(0.5), keras.losses.MeanSquaredError())
    model.train_on_batch(
        {"source": SOURCE, "target_in": TARGET_IN}, np.ones((3, 4, V_TARGET), np.float32)
    )
    after = both()
    assert not any(np.allclose(a, b) for a, b in zip(after, before, strict=True))
    np.testing.assert_allclose(after[1], logits(model), atol=1e-6)


def test_it_is_an_ordinary_keras_model(compose, tmp_path):
    config = compose("run_dir=x", *SMALL)
    model = Seq2Seq(config.model, V_SOURCE, V_TARGET)
    model.compile(
        optimizer=keras.optimizers.Adam(0.02),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=PAD),
    )
    inputs = {"source": SOURCE, "target_in": TARGET_IN}
    target_out = np.array([[4, 5, 6, 3], [7, 7, 3, 0], [5, 3, 0, 0]])
    history = model.fit(inputs, target_out, epochs=30, batch_size=3, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]
    lines = []
    model.summary(print_fn=lines.append)
    assert all(part in "".join(lines) for part in ("encoder", "bridge", "decoder"))
    model.save_weights(tmp_path / "m.weights.h5")
    again = build_model(config.model, V_SOURCE, V_TARGET)
    again.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(logits(again), logits(model))
    assert count_parameters(model) == sum(np.prod(w.shape) for w in again.trainable_weights)


def test_repeat_vector_reads_no_tokens(compose):
    model = random_model(compose, "model.decoder.kind=repeat_vector")
    np.testing.assert_array_equal(logits(model), logits(model, target_in=TARGET_IN * 0 + 5))
    assert not np.allclose(logits(model)[0], logits(model)[1])


def test_tied_output_is_the_table_that_reads(compose):
    model = random_model(compose, "model.input=embedding", "model.tied_output=true")
    # The only weights of the target vocabulary's size are the table's.
    shapes = [w.shape for w in model.decoder.trainable_weights if V_TARGET in w.shape]
    assert shapes == [(V_TARGET, 5)]


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.tied_output=true"],
        ["model.input=embedding", "model.tied_output=true", "model.decoder.kind=repeat_vector"],
        ["model.attention.kind=dot", "model.encoder.units=5", "model.bridge.kind=dense"],
    ],
)
def test_contradictions_are_refused(compose, overrides):
    with pytest.raises(UserError, match=r"model\."):
        random_model(compose, *overrides)


def test_one_hot_input_makes_no_dense_vectors(compose):
    """No tensor of the training graph is [B, S, V]."""
    size = 5011
    model = build_model(compose("run_dir=x", *SMALL).model, size, V_TARGET)

    @tf.function(input_signature=[tf.TensorSpec([4, 6], tf.int32), tf.TensorSpec([4, 3], tf.int32)])
    def step(source, target_in):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model({"source": source, "target_in": target_in}, training=True))
        return tape.gradient(loss, model.trainable_variables)

    graph = step.get_concrete_function().graph
    shapes = [tensor.shape for op in graph.get_operations() for tensor in op.outputs]
    assert any(shape.rank == 2 and size in shape for shape in shapes)  # the kernel
    assert not any(shape.rank == 3 and size in shape for shape in shapes)


def test_bfloat16_keeps_logits_in_float32(compose):
    config = compose("run_dir=x", *SMALL).model
    model = build_model(config, V_SOURCE, V_TARGET, Precision.mixed_bfloat16)
    assert keras.config.dtype_policy().name == "float32"
    assert logits(model).dtype == np.float32
    exact = build_model(config, V_SOURCE, V_TARGET)
    exact.set_weights(model.get_weights())
    np.testing.assert_allclose(logits(model), logits(exact), atol=0.05)


@pytest.mark.parametrize("encoder", ["rwa", "lstm"])
@pytest.mark.parametrize("bridge", BridgeKind)
def test_a_search_keeps_the_types_of_states_in_bfloat16(compose, bridge, encoder):
    """A loop wants a state back as it was handed over; average and weight stay float32."""
    keras.utils.set_random_seed(3)
    words = [f"model.encoder.cell={encoder}", f"model.bridge.kind={bridge}", "model.cell=rwa"]
    config = compose("run_dir=x", *SMALL, *words).model
    model = build_model(config, V_SOURCE, V_TARGET, Precision.mixed_bfloat16)
    memory, state = model.encode(tf.constant(SOURCE))
    assert [tensor.dtype for tensor in state.layers[0]] == [tf.bfloat16, tf.float32, tf.float32]
    found = greedy(decoder_step(model, memory), state, len(SOURCE), 5)
    target_in = np.pad(found.tokens[:, 0, :4], [(0, 0), (1, 0)], constant_values=BOS)
    expected = logits(model, target_in=target_in)
    written = expected[..., 3:].argmax(-1) + 3  # neither PAD, UNK nor BOS
    is_written = np.arange(5) < found.lengths.numpy()
    np.testing.assert_array_equal(written[is_written], found.tokens.numpy()[:, 0][is_written])
