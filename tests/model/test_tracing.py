"""Every state and gate against NumPy, with masks, both directions, from given states."""

import keras
import numpy as np
import pytest
from numpy_reference import sigmoid

from seq2seq.model.rnn.cells import cell_spec
from seq2seq.model.rnn.lstm import LSTM
from seq2seq.states import trace

KERAS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "simple_rnn": keras.layers.SimpleRNN}
# Cell, and whether the layer is ours: Keras has not all of them.
LAYERS = [(cell, ours) for cell in KERAS for ours in (True, False)]
LAYERS += [("peephole_lstm", True), ("rwa", True)]
B, T, F, U = 3, 5, 4, 2
MASKS = {
    "none": None,
    "right": np.arange(T) < np.array([[5], [3], [1]]),
    "holes": np.array([[1, 0, 1, 1, 0], [0, 1, 1, 0, 1], [1, 1, 1, 1, 1]], bool),
}


def by_hand(cell, x, states, weights, mask, backward):
    """From the equations, one row and one step at a time; what is not read stays as it was."""
    kernel, recurrent, bias, *more = (np.asarray(w, np.float64) for w in weights)
    names = cell_spec(cell).state_names
    gate_names = {"lstm": ["input", "forget", "candidate", "output"],
                  "peephole_lstm": ["input", "forget", "candidate", "output"],
                  "gru": ["update", "reset", "candidate"], "simple_rnn": [],
                  "rwa": ["candidate", "log_weight", "share"]}[cell]  # fmt: skip
    found = {name: np.full((B, T, U), np.nan) for name in (*names, *gate_names)}
    for b in range(B):
        h, *c = (state[b].astype(np.float64) for state in states)
        for t in reversed(range(T)) if backward else range(T):
            if mask is None or mask[b, t]:
                if cell == "lstm":
                    i, f, g, o = np.split(x[b, t] @ kernel + h @ recurrent + bias, 4)
                    gates = [sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)]
                    c = [gates[1] * c[0] + gates[0] * gates[2]]
                    h = gates[3] * np.tanh(c[0])
                elif cell == "peephole_lstm":
                    i, f, g, o = np.split(x[b, t] @ kernel + h @ recurrent + bias, 4)
                    see_i, see_f, see_o = more[0]
                    gates = [sigmoid(i + see_i * c[0]), sigmoid(f + see_f * c[0]), np.tanh(g)]
                    c = [gates[1] * c[0] + gates[0] * gates[2]]
                    gates.append(sigmoid(o + see_o * c[0]))
                    h = gates[3] * np.tanh(c[0])
                elif cell == "rwa":
                    (m, w), (b_u, b_g) = c, np.split(bias, 2)
                    x_u, x_g, x_a = np.split(x[b, t] @ kernel, 3)
                    h_g, h_a = np.split(h @ recurrent, 2)
                    z, a = (x_u + b_u) * np.tanh(x_g + h_g + b_g), x_a + h_a
                    n, d = m * np.exp(w) + z * np.exp(a), np.exp(w) + np.exp(a)
                    gates = [z, a, np.exp(a) / d]
                    c, h = [n / d, np.log(d)], np.tanh(n / d)
                elif cell == "gru":
                    x_z, x_r, x_h = np.split(x[b, t] @ kernel + bias[0], 3)
                    h_z, h_r, h_h = np.split(h @ recurrent + bias[1], 3)
                    z, r = sigmoid(x_z + h_z), sigmoid(x_r + h_r)
                    gates = [z, r, np.tanh(x_h + r * h_h)]
                    h = z * h + (1 - z) * gates[2]
                else:
                    gates = []
                    h = np.tanh(x[b, t] @ kernel + h @ recurrent + bias)
                for name, value in zip(gate_names, gates, strict=True):
                    found[name][b, t] = value
            for name, value in zip(names, (h, *c), strict=True):
                found[name][b, t] = value
    return found


def setup(cell, bidirectional, ours, seed=0):
    rng = np.random.default_rng(seed)
    make = cell_spec(cell).make if ours else KERAS[cell]
    layer = make(U, return_sequences=True, return_state=True)
    if bidirectional:
        layer = keras.layers.Bidirectional(layer)
    layer.build((None, None, F))
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    x = rng.normal(size=(B, T, F)).astype("float32")
    count = len(cell_spec(cell).state_names) * (1 + bidirectional)
    return layer, x, [rng.normal(size=(B, U)).astype("float32") for _ in range(count)]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(("cell", "ours"), LAYERS)
def test_every_state_and_gate_equals_numpy(cell, mask, bidirectional, ours):
    layer, x, states = setup(cell, bidirectional, ours)
    traces = trace(layer, x, states, MASKS[mask])
    assert [one.is_backward for one in traces] == [False, True][: len(traces)]
    share = len(states) // len(traces)
    weights = layer.get_weights()
    for i, one in enumerate(traces):
        initial = states[i * share : (i + 1) * share]
        count = len(weights) // len(traces)
        mine = weights[i * count : (i + 1) * count]
        expected = by_hand(cell, x, initial, mine, MASKS[mask], one.is_backward)
        found = {**one.states, **one.gates}
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=name)
        for name, value in zip(cell_spec(cell).state_names, initial, strict=True):
            np.testing.assert_array_equal(one.initial[name], value)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("cell", [cell for cell, ours in LAYERS if ours])
def test_the_final_states_are_what_the_layer_returns(cell, mask, bidirectional):
    layer, x, states = setup(cell, bidirectional, ours=True)
    _, *returned = layer(x, initial_state=states, mask=MASKS[mask])
    final = [value for one in trace(layer, x, states, MASKS[mask]) for value in one.final.values()]
    for a, b in zip(final, returned, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_state_of_nothing_is_zero():
    layer, x, _ = setup("lstm", False, ours=True)
    [one] = trace(layer, x)
    assert all(not value.any() for value in one.initial.values())
    assert one.mask.all()


@pytest.mark.parametrize("bidirectional", [False, True])
def test_an_rwa_starts_from_its_own_state(bidirectional):
    layer, x, _ = setup("rwa", bidirectional, ours=True)
    starts = [weight for weight in layer.get_weights() if weight.shape == (U,)]
    _, *returned = layer(x)
    final = []
    for one, start in zip(trace(layer, x), starts, strict=True):
        np.testing.assert_allclose(one.initial["state_h"], [np.tanh(start)] * B, atol=1e-6)
        assert not np.any(np.exp(one.initial["state_w"]))
        # The first candidate is all of the average.
        first = -1 if one.is_backward else 0
        np.testing.assert_array_equal(one.gates["share"][:, first], np.ones((B, U)))
        final += one.final.values()
    for a, b in zip(final, returned, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_one_hot_input_is_read_as_ids():
    layer = LSTM(U, one_hot_depth=6, return_sequences=True)
    layer.build((None, None, 1))
    ids = np.array([[5, 0, 3]], np.int32)
    [one] = trace(layer, ids[..., None])
    np.testing.assert_allclose(one.states["state_h"], layer(ids[..., None]), atol=1e-6)


def test_what_cannot_be_traced_is_refused():
    with pytest.raises(ValueError, match=r"Dense cannot be traced: .*LSTM, .*RWA, Bidirectional"):
        trace(keras.layers.Dense(2), np.zeros((1, 2, 3)))
    layer = LSTM(2, activation="relu")
    layer.build((None, None, 3))
    with pytest.raises(ValueError, match="standard activations"):
        trace(layer, np.zeros((1, 2, 3)))


@pytest.mark.parametrize(("cell", "ours"), LAYERS)
def test_what_has_bounds_keeps_them_and_nothing_else_does(cell, ours):
    layer, x, states = setup(cell, False, ours)
    [seen] = trace(layer, 50 * x, np.tanh(states))
    for name, values in (seen.states | seen.gates).items():
        bounds = seen.bounds(name)
        if bounds is None:
            assert np.abs(values).max() > 1, name
        else:
            np.testing.assert_array_equal(values, values.clip(*bounds), name)
