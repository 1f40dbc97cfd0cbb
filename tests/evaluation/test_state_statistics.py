"""States during training: statistics against NumPy, gradients against finite differences."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from project import TINY, compose_config
from same_runs import points

from seq2seq.data.batches import Batch
from seq2seq.evaluation.state_statistics import gradient_norms, state_statistics
from seq2seq.model.losses import token_sums
from seq2seq.model.rnn.tracing import trace
from seq2seq.model.seq2seq import build_model
from seq2seq.model.types import DecoderState
from seq2seq.training.run import train

SOURCE = np.array([[4, 5, 6, 7], [8, 4, 0, 0], [6, 6, 5, 0]], np.int32)
TARGET = np.array([[2, 7, 6, 3], [2, 4, 3, 0], [2, 5, 5, 3]], np.int32)
BATCH = Batch(SOURCE, TARGET, np.array([[7, 6, 3, 0], [4, 3, 0, 0], [5, 5, 3, 0]], np.int32))


def make_model(*options):
    keras.utils.set_random_seed(3)
    config = compose_config("run_dir=x", "model.units=5", *options)
    return build_model(config.model, 9, 8)


@pytest.mark.parametrize("cell", ["lstm", "gru", "simple_rnn", "rwa", "peephole_lstm"])
def test_statistics_are_over_the_tokens_that_were_read(cell):
    model = make_model(f"model.cell={cell}")
    found = state_statistics(model, SOURCE)
    layer = model.encoder.recurrent_layers[0]
    [seen] = trace(layer, SOURCE[..., None], mask=SOURCE > 0)
    assert found.keys() == {f"{cell}_0/{name}" for name in seen.states | seen.gates}
    for name, values in (seen.states | seen.gates).items():
        read = np.concatenate([values[0], values[1, :2], values[2, :3]])
        one = found[f"{cell}_0/{name}"]
        np.testing.assert_allclose(one.mean, read.mean(), rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(one.spread, read.std(), rtol=1e-5)
        if name in ("input", "forget", "output", "update", "reset"):
            close = np.mean((read < 0.05) | (read > 0.95))
            np.testing.assert_allclose(one.saturation, close)
        elif name == "state_h" or (name == "candidate" and cell != "rwa"):
            np.testing.assert_allclose(one.saturation, np.mean(np.abs(read) > 0.9))


def test_saturation_grows_with_the_weights():
    model = make_model()
    before = state_statistics(model, SOURCE)["lstm_0/forget"].saturation
    kernel = model.encoder.recurrent_layers[0].cell.kernel
    kernel.assign(kernel * 100)
    assert state_statistics(model, SOURCE)["lstm_0/forget"].saturation > before + 0.5


def loss_of(model, state_at, step):
    """The summed loss of the first example, going on from an LSTM's state after `step`."""
    layer = model.encoder.recurrent_layers[0]
    _, *state = layer(SOURCE[:1, step + 1 :, None], initial_state=state_at)
    logits, _, _ = model.decoder(
        TARGET[:1], DecoderState(model.bridge([state])), {}, training=False
    )
    return float(token_sums(logits, BATCH.target_out[:1]).loss)


def test_gradients_are_those_of_finite_differences():
    """The example without padding alone, so that each distance is one step of it."""
    model = make_model()
    found = gradient_norms(model, Batch(*(part[:1] for part in BATCH)))
    layer = model.encoder.recurrent_layers[0]
    for distance, step in ((1, 2), (2, 1), (3, 0)):
        _, *state = layer(SOURCE[:1, : step + 1, None])
        state = [tensor.numpy() for tensor in state]
        for i, name in enumerate(("state_h", "state_c")):
            slopes = []
            for unit in range(5):
                moved = [[part.copy() for part in state] for _ in range(2)]
                for sign, one in zip((1, -1), moved, strict=True):
                    one[i][0, unit] += sign * 1e-2
                high, low = (loss_of(model, one, step) for one in moved)
                slopes.append((high - low) / 2e-2)
            expected = np.linalg.norm(slopes)
            np.testing.assert_allclose(found[f"lstm_0/{name}"][distance], expected, rtol=2e-2)


def test_a_batch_is_the_mean_of_its_examples():
    options = ["model=attention", "model.embedding_size=6", "model.encoder.units=3"]
    options += ["model.layers=2", "model.bridge.kind=dense", "model.attention.kind=additive"]
    model = make_model(*options)
    together = gradient_norms(model, BATCH)
    alone = [
        gradient_norms(model, Batch(SOURCE[i : i + 1, :n], TARGET[i : i + 1], out[None]))
        for (i, n), out in zip(((0, 4), (1, 2), (2, 3)), BATCH.target_out, strict=True)
    ]
    names = [f"{d}_{c}_{i}" for i in (0, 1) for d, c in (("forward", "lstm"), ("backward", "lstm"))]
    assert together.keys() == {f"{n}/{s}" for n in names for s in ("state_h", "state_c")}
    for name, values in together.items():
        assert values.shape == (4,)
        for d, value in enumerate(values):
            expected = np.mean([one[name][d] for one in alone if d < len(one[name])])
            np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-7)


def test_an_ignored_source_has_no_gradient():
    found = gradient_norms(make_model("model.bridge.kind=zero"), BATCH)
    assert all(np.all(values == 0) for values in found.values())


@pytest.mark.filterwarnings("ignore:Glyph .* missing")
def test_a_training_shows_its_states(tmp_path):
    options = [word for word in TINY if not word.startswith("run_dir")]
    config = compose_config(*options, "run_dir=x", "callbacks.states=true")
    train(config, tmp_path / "run")
    steps = {}
    for tag, step, _ in points(tmp_path / "run" / "dev"):
        steps.setdefault(tag, []).append(step)
    for tag in ("states/lstm_0/forget/saturation", "states/lstm_0/state_c/mean",
                "gradients/lstm_0/state_c/0_before_the_end",
                "gradients/lstm_0/state_h/2_before_the_end",
                "gradients by distance from the end"):  # fmt: skip
        assert steps[tag] == [1, 2]
    assert tf.io.gfile.exists(str(tmp_path / "run" / "results.json"))
