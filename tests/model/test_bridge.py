"""The bridge by hand: every kind, both states, unequal depths, sizes and cells."""

import numpy as np
import pytest
import tensorflow as tf

from seq2seq.config.choices import BridgeKind, Cell
from seq2seq.config.resolve import resolve_model
from seq2seq.errors import UserError
from seq2seq.model.bridge import Bridge, legal_bridges
from seq2seq.model.rnn.cells import cell_spec
from seq2seq.model.rnn.rwa import RWA
from seq2seq.model.seq2seq import build_model
from seq2seq.model.types import StateShape


def settings(compose, kind, **states):
    words = [f"model.bridge.{name}={value}" for name, value in states.items()]
    return resolve_model(compose("run_dir=x", f"model.bridge.kind={kind}", *words).model).bridge


def encoder_state(shape, batch=2):
    """Random states, and the same as arrays [layer][direction][name]."""
    rng = np.random.default_rng(1)
    names = len(cell_spec(shape.cell).state_names)
    arrays = rng.normal(size=(shape.layers, shape.directions, names, batch, shape.units))
    arrays = arrays.astype("float32")
    return [[tf.constant(x) for d in layer for x in d] for layer in arrays], arrays


BI = StateShape(Cell.lstm, 3, 1, 2)


@pytest.mark.parametrize(
    ("kind", "units", "expected"),
    [
        ("sum", 3, lambda h: h[0] + h[1]),
        ("concat", 6, lambda h: np.concatenate([h[0], h[1]], -1)),
        ("zero", 4, lambda h: np.zeros((2, 4))),
        ("learned", 4, lambda h: np.zeros((2, 4))),
    ],
)
def test_bidirectional_kinds(compose, kind, units, expected):
    state, arrays = encoder_state(BI)
    bridge = Bridge(settings(compose, kind), BI, StateShape(Cell.lstm, units, 1, 1))
    [[h, c]] = bridge(state)
    np.testing.assert_allclose(h, expected(arrays[0, :, 0]), atol=1e-6)
    np.testing.assert_allclose(c, expected(arrays[0, :, 1]), atol=1e-6)


def test_copy_hands_over_the_state_itself(compose):
    shape = StateShape(Cell.lstm, 3, 2, 1)
    state, arrays = encoder_state(shape)
    bridged = Bridge(settings(compose, "copy"), shape, shape)(state)
    for layer in range(2):
        for name in range(2):
            np.testing.assert_array_equal(bridged[layer][name], arrays[layer, 0, name])


def test_dense_is_tanh_of_both_directions(compose):
    state, arrays = encoder_state(BI)
    bridge = Bridge(settings(compose, "dense"), BI, StateShape(Cell.lstm, 5, 1, 1))
    [[h, _]] = bridge(state)
    kernel, bias = bridge.dense_layers["state_h_0"].get_weights()
    both = np.concatenate([arrays[0, 0, 0], arrays[0, 1, 0]], -1)
    np.testing.assert_allclose(h, np.tanh(both @ kernel + bias), atol=1e-6)


def test_state_h_and_state_c_each_have_their_kind(compose):
    state, arrays = encoder_state(BI)
    config = settings(compose, "concat", state_c="zero")
    [[h, c]] = Bridge(config, BI, StateShape(Cell.lstm, 6, 1, 1))(state)
    np.testing.assert_array_equal(h, np.concatenate([*arrays[0, :, 0]], -1))
    assert not np.any(c)


def test_learned_is_the_same_for_every_source(compose):
    bridge = Bridge(settings(compose, "learned"), BI, StateShape(Cell.gru, 4, 1, 1))
    bridge.learned["state_h_0"].assign([1.0, 2.0, 3.0, 4.0])
    [[h]] = bridge(encoder_state(BI)[0])
    np.testing.assert_array_equal(h, [[1, 2, 3, 4]] * 2)


@pytest.mark.parametrize(
    ("encoder_layers", "decoder_layers", "taken"),
    [(3, 3, [0, 1, 2]), (3, 2, [1, 2]), (3, 1, [2]), (1, 3, [0, 0, 0]), (2, 3, [0, 1, 1])],
)
def test_unequal_depths_meet_at_the_top(compose, encoder_layers, decoder_layers, taken):
    encoder = StateShape(Cell.gru, 3, encoder_layers, 1)
    state, arrays = encoder_state(encoder)
    bridge = Bridge(settings(compose, "copy"), encoder, StateShape(Cell.gru, 3, decoder_layers, 1))
    for [h], layer in zip(bridge(state), taken, strict=True):
        np.testing.assert_array_equal(h, arrays[layer, 0, 0])


def test_a_gru_lends_its_state_h_to_an_lstm(compose):
    encoder = StateShape(Cell.gru, 3, 1, 1)
    state, arrays = encoder_state(encoder)
    [[h, c]] = Bridge(settings(compose, "copy"), encoder, StateShape(Cell.lstm, 3, 1, 1))(state)
    np.testing.assert_array_equal(h, arrays[0, 0, 0])
    np.testing.assert_array_equal(c, arrays[0, 0, 0])


def test_a_gru_decoder_takes_the_state_h_of_an_lstm(compose):
    state, arrays = encoder_state(BI)
    [[h]] = Bridge(settings(compose, "concat"), BI, StateShape(Cell.gru, 6, 1, 1))(state)
    np.testing.assert_array_equal(h, np.concatenate([*arrays[0, :, 0]], -1))
    # It has no state_c, so a kind for it that could not be wired is of no interest.
    config = settings(compose, "dense", state_c="copy")
    [[h]] = Bridge(config, BI, StateShape(Cell.gru, 4, 1, 1))(state)
    assert h.shape == (2, 4)


@pytest.mark.parametrize("cell", [Cell.lstm, Cell.gru])
@pytest.mark.parametrize(("kind", "directions"), [("copy", 1), ("sum", 2), ("concat", 2)])
def test_what_is_lent_to_an_rwa_counts_as_one_token(compose, cell, kind, directions):
    """Its average begins as the state_h that was handed over, with weight exp(0) = 1."""
    encoder = StateShape(cell, 3, 1, directions)
    decoder = StateShape(Cell.rwa, 6 if kind == "concat" else 3, 1, 1)
    state, arrays = encoder_state(encoder)
    [[h, m, w]] = Bridge(settings(compose, kind), encoder, decoder)(state)
    parts = list(arrays[0, :, 0])
    expected = np.concatenate(parts, axis=-1) if kind == "concat" else np.sum(parts, axis=0)
    np.testing.assert_allclose(h, expected, atol=1e-6)
    np.testing.assert_allclose(m, expected, atol=1e-6)
    np.testing.assert_array_equal(w, np.zeros_like(w))
    # A candidate z that weighs exp(0) as well moves the average half the way to itself.
    layer = RWA(decoder.units, return_state=True)
    layer.build((None, None, 1))
    weights = [np.zeros(weight.shape) for weight in layer.weights]
    weights[2][:] = 20.0  # u = 20, tanh(g) = 1
    layer.set_weights(weights)
    after = layer(np.zeros((2, 1, 1), np.float32), initial_state=[h, m, w])[2]
    np.testing.assert_allclose(after, (expected + 20.0) / 2, atol=1e-5)


def test_an_rwa_hands_its_whole_average_to_another(compose):
    shape = StateShape(Cell.rwa, 3, 1, 1)
    state, arrays = encoder_state(shape)
    [bridged] = Bridge(settings(compose, "copy"), shape, shape)(state)
    np.testing.assert_array_equal(np.stack(bridged), arrays[0, 0])
    # An LSTM has use for its state_h alone.
    [[h, c]] = Bridge(settings(compose, "copy"), shape, StateShape(Cell.lstm, 3, 1, 1))(state)
    np.testing.assert_array_equal([h, c], [arrays[0, 0, 0]] * 2)


@pytest.mark.parametrize("cell", [Cell.lstm, Cell.rwa])
@pytest.mark.parametrize("kind", ["dense", "learned", "zero"])
def test_average_and_weight_of_an_rwa_can_be_made(compose, kind, cell):
    """By layers and vectors of their own, in float32 whatever the rest is computed in."""
    encoder, decoder = StateShape(cell, 3, 1, 2), StateShape(Cell.rwa, 4, 1, 1)
    state, arrays = encoder_state(encoder)
    bridge = Bridge(settings(compose, kind), encoder, decoder, dtype="mixed_bfloat16")
    if kind == "learned":
        for number, vector in enumerate(bridge.learned.values()):
            vector.assign([number + 1.0] * 4)
    bridged = dict(zip(cell_spec("rwa").state_names, bridge(state)[0], strict=True))
    for number, (name, found) in enumerate(bridged.items()):
        expected = np.full((2, 4), number + 1.0 if kind == "learned" else 0.0)
        if kind == "dense":
            names = cell_spec(cell).state_names
            lent = names.index(name) if name in names else 0
            kernel, bias = bridge.dense_layers[f"{name}_0"].get_weights()
            expected = np.tanh(np.concatenate([*arrays[0, :, lent]], -1) @ kernel + bias)
        np.testing.assert_allclose(tf.cast(found, tf.float32), expected, atol=0.05)
    assert bridged["state_m"].dtype == bridged["state_w"].dtype == tf.float32


def test_every_layer_and_state_has_weights_of_its_own(compose):
    encoder, decoder = StateShape(Cell.lstm, 3, 2, 1), StateShape(Cell.lstm, 4, 2, 1)
    dense = Bridge(settings(compose, "dense"), encoder, decoder)
    dense(encoder_state(encoder)[0])
    kernels = [layer.get_weights()[0] for layer in dense.dense_layers.values()]
    assert len({kernel.tobytes() for kernel in kernels}) == len(kernels) == 4
    assert len(Bridge(settings(compose, "learned"), encoder, decoder).trainable_weights) == 4


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("units", [2, 3, 4, 6])
@pytest.mark.parametrize("kind", BridgeKind)
def test_what_cannot_be_wired_is_refused_with_what_can(compose, kind, units, directions):
    encoder = StateShape(Cell.lstm, 3, 1, directions)
    decoder = StateShape(Cell.lstm, units, 1, 1)
    legal = legal_bridges(encoder, decoder)
    if kind in legal:
        [[h, c]] = Bridge(settings(compose, kind), encoder, decoder)(encoder_state(encoder)[0])
        assert h.shape == c.shape == (2, units)
        return
    with pytest.raises(UserError, match=f"model.bridge.kind={kind}") as error:
        Bridge(settings(compose, kind), encoder, decoder)
    assert all(choice in str(error.value) for choice in legal)
    with pytest.raises(UserError, match=r"model\.bridge\.state_c="):
        Bridge(settings(compose, "zero", state_c=kind), encoder, decoder)


@pytest.mark.parametrize(("kind", "learns"), [("copy", True), ("dense", True), ("zero", False)])
def test_the_encoder_learns_through_the_bridge_alone(compose, kind, learns):
    config = compose("run_dir=x", "model=state", "model.units=4", f"model.bridge.kind={kind}")
    model = build_model(config.model, 7, 7)
    ids = {"source": tf.constant([[4, 5]]), "target_in": tf.constant([[2, 6]])}
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(ids) ** 2)
    gradients = tape.gradient(loss, model.encoder.trainable_variables)
    assert any(g is not None and np.any(tf.convert_to_tensor(g)) for g in gradients) is learns
