"""The decoder: from a given state and memory, against NumPy, at once and step by step."""

import numpy as np
import numpy_models
import pytest
import tensorflow as tf

from seq2seq.errors import UserError
from seq2seq.model.seq2seq import build_model
from seq2seq.model.types import DecoderState
from seq2seq.special_ids import PAD

STATES = {"lstm": 2, "gru": 1, "simple_rnn": 1, "peephole_lstm": 2, "rwa": 3}
KINDS = ["none", "dot", "general", "additive"]
VARIANTS = [
    ["model=state", "model.layers=2"],
    ["model=attention", "model.encoder.units=3", "model.dropout=0.3", "model.layers=2"],
    ["model.cell=gru", "model.attention.kind=dot"],
    ["model.cell=simple_rnn", "model.attention.kind=additive", "model.bridge.kind=learned"],
    ["model.decoder.kind=repeat_vector", "model.attention.kind=dot"],
    ["model.decoder.kind=repeat_vector"],
    ["model.decoder.kind=with_features", "model.input=embedding", "model.layers=2"],
    ["model.decoder.kind=with_features", "model.attention.kind=dot", "model.dropout=0.3"],
    ["model.input=embedding", "model.tied_output=true"],
]


def random_state(rng, cell, layers):
    shape = (layers, STATES[cell], 3, 6)
    return DecoderState([[*layer] for layer in rng.normal(size=shape).astype("float32")])


def tensors(nest):
    return tf.nest.map_structure(tf.constant, nest)


def assert_same(ours, expected):
    tf.nest.assert_same_structure(ours, expected)
    for a, b in zip(tf.nest.flatten(ours), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", STATES)
def test_equals_numpy_from_any_state(make, source, target_in, cell, layers, kind):
    reading = "embedding" if layers == 2 else "one_hot"
    model, config = make(
        f"model.cell={cell}",
        f"model.layers={layers}",
        f"model.attention.kind={kind}",
        f"model.input={reading}",
    )
    rng = np.random.default_rng(4)
    state, values = random_state(rng, cell, layers), rng.normal(size=(3, 5, 6)).astype("float32")
    mask, memory = source != PAD, {}
    if kind != "none":
        keys = model.decoder.attention.keys(tf.constant(values))
        memory = {"values": tf.constant(values), "keys": keys, "mask": tf.constant(mask)}
    logits, final, seen = model.decoder(tf.constant(target_in), tensors(state), memory)
    expected, expected_final, weights = numpy_models.decode(
        model, config, target_in, state.layers, values, mask
    )
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert_same(final, DecoderState(expected_final))
    assert set(seen) == ({"attention_weights"} if kind != "none" else set())
    if kind != "none":
        np.testing.assert_allclose(seen["attention_weights"], weights, atol=1e-5)


@pytest.mark.parametrize("pieces", [[1, 1, 1, 1], [2, 2], [3, 1]], ids=str)
@pytest.mark.parametrize("overrides", VARIANTS)
def test_in_pieces_equals_at_once(make, source, target_in, overrides, pieces):
    """By the decoder itself: logits, attention and the state after the last step."""
    model, _ = make(*overrides)
    memory, start = model.encode(tf.constant(source))
    logits, final, seen = model.decoder(tf.constant(target_in), start, memory)
    state, outputs, views = start, [], []
    for piece in np.split(target_in, np.cumsum(pieces)[:-1], axis=1):
        piece_logits, state, piece_seen = model.decoder(tf.constant(piece), state, memory)
        outputs.append(piece_logits)
        views += piece_seen.values()
    np.testing.assert_allclose(np.concatenate(outputs, axis=1), logits, atol=1e-5)
    assert_same(state, final)
    if seen:
        weights = np.concatenate(views, axis=1)
        np.testing.assert_allclose(weights, seen["attention_weights"], atol=1e-6)


@pytest.mark.parametrize("overrides", VARIANTS)
def test_what_comes_later_changes_nothing_before(make, source, target_in, overrides):
    model, _ = make(*overrides)
    memory, state = model.encode(tf.constant(source))
    expected, _, _ = model.decoder(tf.constant(target_in), state, memory)
    for later in (PAD, 5):
        longer = np.pad(target_in, [(0, 0), (0, 3)], constant_values=later)
        logits, _, _ = model.decoder(tf.constant(longer), state, memory)
        np.testing.assert_allclose(logits[:, :4], expected, atol=1e-5)


def test_the_state_matters(make, source, target_in):
    model, _ = make("model=state")
    memory, state = model.encode(tf.constant(source))
    expected, _, _ = model.decoder(tf.constant(target_in), state, memory)
    moved = tf.nest.map_structure(lambda tensor: tensor + 1.0, state)
    assert not np.allclose(model.decoder(tf.constant(target_in), moved, memory)[0], expected)


def test_repeat_vector_reads_the_encoders_final_vector(make, source, target_in):
    model, config = make(
        "model.decoder.kind=repeat_vector",
        "model.encoder.bidirectional=true",
        "model.bridge.kind=zero",
    )
    sequence, _ = numpy_models.encode(model, config, source)
    last = (source != PAD).sum(axis=1) - 1
    memory, _ = model.encode(tf.constant(source))
    expected = np.concatenate([sequence[range(3), last, :6], sequence[:, 0, 6:]], axis=-1)
    np.testing.assert_allclose(memory["vector"], expected, atol=1e-5)
    logits, _ = numpy_models.forward(model, config, source, target_in)
    ours = model({"source": tf.constant(source), "target_in": tf.constant(target_in)})
    np.testing.assert_allclose(ours, logits, atol=1e-5)


@pytest.mark.parametrize("cell", STATES)
@pytest.mark.parametrize("reading", ["one_hot", "embedding"])
def test_with_features_reads_them_at_every_step(make, source, target_in, cell, reading):
    """The last three ids are features; a row has three of them, none, or one."""
    model, config = make(
        "model.decoder.kind=with_features", f"model.cell={cell}", f"model.input={reading}"
    )
    model.decoder.features.bias.assign([2.0] * 5)  # or nearly all would be 0
    memory, _ = model.encode(tf.constant(source))
    features = numpy_models.read_features(model, source)
    assert (features > 0).any(axis=1).all()
    np.testing.assert_allclose(memory["features"], features, atol=1e-5)
    logits, _ = numpy_models.forward(model, config, source, target_in)
    ours = model({"source": tf.constant(source), "target_in": tf.constant(target_in)})
    np.testing.assert_allclose(ours, logits, atol=1e-5)


def test_the_order_of_features_is_nothing_to_their_vector(make):
    model, _ = make("model.decoder.kind=with_features")
    one, other = (
        model.encode(tf.constant([ids]))[0]["features"] for ids in ([6, 8, 4, 5], [8, 6, 5, 7])
    )
    assert not np.allclose(one, other)
    other, padded = (
        model.encode(tf.constant([ids]))[0]["features"] for ids in ([8, 6, 5, 4], [8, 5, 6, PAD])
    )
    np.testing.assert_allclose(one, other, atol=1e-6)
    np.testing.assert_allclose(one, padded, atol=1e-6)


def test_with_features_needs_features(compose):
    config = compose("run_dir=x", "model.decoder.kind=with_features").model
    with pytest.raises(UserError, match=r"^model\.decoder\.kind=with_features .* data\.features"):
        build_model(config, 9, 8)
