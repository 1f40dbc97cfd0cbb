"""The encoder: its sequence and states against NumPy, what it returns, and padding."""

import numpy as np
import numpy_models
import pytest

from seq2seq.special_ids import PAD

CELLS = ["lstm", "gru", "simple_rnn", "peephole_lstm", "rwa"]
STATES = {"lstm": 2, "gru": 1, "simple_rnn": 1, "peephole_lstm": 2, "rwa": 3}


def encoder_of(make, cell, bidirectional, layers=2, *overrides):
    options = ["model.bridge.kind=dense", f"model.cell={cell}", f"model.encoder.layers={layers}"]
    return make(*options, f"model.encoder.bidirectional={str(bidirectional).lower()}", *overrides)


def assert_states(ours, expected):
    for layer, expected_layer in zip(ours, expected, strict=True):
        for state, expected_state in zip(layer, expected_layer, strict=True):
            np.testing.assert_allclose(state, expected_state, atol=1e-5)


@pytest.mark.parametrize("reading", ["one_hot", "embedding"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_equals_numpy(make, source, cell, bidirectional, layers, reading):
    model, config = encoder_of(make, cell, bidirectional, layers, f"model.input={reading}")
    sequence, mask, state, _ = model.encoder(source)
    expected, expected_state = numpy_models.encode(model, config, source)
    is_real = source != PAD
    np.testing.assert_array_equal(mask, is_real)
    np.testing.assert_allclose(sequence.numpy()[is_real], expected[is_real], atol=1e-5)
    assert_states(state, expected_state)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_returns_the_sequence_and_every_state(make, source, cell, bidirectional):
    model, _ = encoder_of(make, cell, bidirectional)
    encoded = model.encoder(source)
    sequence, state = encoded.sequence, encoded.state
    directions = 1 + bidirectional
    assert sequence.shape == (3, 5, 6 * directions)
    assert [len(layer) for layer in state] == [directions * STATES[cell]] * 2
    assert {tuple(tensor.shape) for layer in state for tensor in layer} == {(3, 6)}
    # Forward ends at the last real token, backward at the first token.
    last = (source != PAD).sum(axis=1) - 1
    top = sequence.numpy()
    np.testing.assert_allclose(state[-1][0], top[range(3), last, :6], atol=1e-6)
    if bidirectional:
        np.testing.assert_allclose(state[-1][STATES[cell]], top[:, 0, 6:], atol=1e-6)
    np.testing.assert_array_equal(
        encoded.final_vector, np.concatenate(state[-1][:: STATES[cell]], axis=-1)
    )


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_padding_neighbours_and_order_change_nothing(make, source, cell, bidirectional):
    model, _ = encoder_of(make, cell, bidirectional)
    sequence, _, state, _ = model.encoder(source)
    longer, _, longer_state, _ = model.encoder(np.pad(source, [(0, 0), (0, 4)]))
    is_real = source != PAD
    np.testing.assert_allclose(longer.numpy()[:, :5][is_real], sequence.numpy()[is_real], atol=1e-6)
    assert_states(longer_state, state)
    order = [2, 0, 1]
    _, _, reordered, _ = model.encoder(source[order])
    assert_states(reordered, [[np.array(s)[order] for s in layer] for layer in state])
    for i, row in enumerate(source):
        alone, _, alone_state, _ = model.encoder(row[row != PAD][None])
        np.testing.assert_allclose(alone[0], sequence[i, : alone.shape[1]], atol=1e-6)
        assert_states(alone_state, [[s[i : i + 1] for s in layer] for layer in state])


def test_dropout_leaves_the_states_of_a_single_layer_alone(make, source):
    """It acts on what a layer reads and on the memory, not on the state that is handed over."""
    model, _ = encoder_of(make, "lstm", True, 1, "model.dropout=0.5")
    still, _, state, _ = model.encoder(source, training=False)
    shaken, _, shaken_state, _ = model.encoder(source, training=True)
    assert_states(shaken_state, state)
    kept = shaken.numpy() != 0
    is_real = np.broadcast_to((source != PAD)[..., None], kept.shape)
    assert 0.3 < kept[is_real].mean() < 0.7
    np.testing.assert_allclose(shaken.numpy()[kept], 2 * still.numpy()[kept], rtol=1e-5)
