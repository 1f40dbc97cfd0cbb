"""The table of returns: names, shapes, counts, and the identities, against NumPy."""

import itertools
import random

import keras
import numpy as np
import numpy_reference
import pytest

from seq2seq.config.choices import LAYERS
from seq2seq.states import identities, make_layer, returns

THREE = np.array([[[0.1], [0.2], [0.3]]], np.float32)
ONE_HOT = np.eye(10, dtype=np.float32)[[[5, 0, 9, 9]]]
STATES = {
    "lstm": ["state_h", "state_c"],
    "gru": ["state_h"],
    "simple_rnn": ["state_h"],
    "lstm_zero_forget_bias": ["state_h", "state_c"],
    "peephole_lstm": ["state_h", "state_c"],
    "rwa": ["state_h", "state_m", "state_w"],
}
STATES |= {
    f"bidirectional_{cell}": [f"{way}_{name}" for way in ("forward", "backward") for name in names]
    for cell, names in STATES.items()
} | {"stacked": ["layer_0_state_h", "layer_0_state_c", "layer_1_state_h", "layer_1_state_c"]}


@pytest.mark.parametrize("kind", LAYERS)
def test_names_and_shapes_of_all_four(kind):
    calls = returns(kind, 3, ONE_HOT)
    choices = [(call.return_sequences, call.return_state) for call in calls]
    assert choices == list(itertools.product([False, True], repeat=2))
    width = 6 if kind.startswith("bidirectional") else 3
    for call in calls:
        first, *states = call.tensors
        assert first.name == ("sequence" if call.return_sequences else "output")
        assert first.values.shape == ((1, 4, width) if call.return_sequences else (1, width))
        assert [state.name for state in states] == (STATES[kind] if call.return_state else [])
        assert all(state.values.shape == (1, 3) for state in states)
        assert all(tensor.meaning for tensor in call.tensors)


@pytest.mark.parametrize(
    ("kind", "units", "inputs", "parameters"),
    [("lstm", 1, THREE, 12), ("lstm", 16, ONE_HOT, 1728), ("simple_rnn", 2, THREE, 8),
     ("gru", 1, THREE, 12), ("bidirectional_lstm", 1, THREE, 24),
     ("lstm_zero_forget_bias", 1, THREE, 12), ("peephole_lstm", 1, THREE, 15),
     ("rwa", 2, THREE, 20), ("bidirectional_rwa", 1, THREE, 16)],
)  # fmt: skip
def test_parameters(kind, units, inputs, parameters):
    assert {call.parameters for call in returns(kind, units, inputs)} == {parameters}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("inputs", [THREE, ONE_HOT], ids=["three", "one_hot"])
def test_identities_hold(kind, inputs):
    found = identities(kind, 4, inputs)
    assert len({one.statement for one in found}) == len(found) >= 5
    for statement, difference in found:
        assert difference < 1e-6, statement


@pytest.mark.parametrize("kind", numpy_reference.CELLS)
def test_values_equal_numpy(kind):
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=w.shape) for w in make_layer(kind, 3, 10).get_weights()]
    start = numpy_reference.start(kind, weights, 1, 3)
    sequence, *states = numpy_reference.CELLS[kind](ONE_HOT, *start, *weights)
    for call in returns(kind, 3, ONE_HOT, weights=weights):
        expected = [sequence if call.return_sequences else sequence[:, -1], *states]
        for tensor, value in zip(call.tensors, expected, strict=False):
            np.testing.assert_allclose(tensor.values, value, atol=1e-6)


def test_the_weights_decide_and_are_the_same_in_all_calls():
    one, two = (returns("lstm", 2, THREE, seed=seed)[3].tensors[1].values for seed in (1, 2))
    assert not np.allclose(one, two)
    outputs = [returns("lstm", 2, THREE, seed=1)[i].tensors[0].values for i in (0, 1)]
    np.testing.assert_array_equal(*outputs)


@pytest.mark.parametrize("kind", LAYERS)
def test_weights_are_drawn_by_the_seed_and_by_nothing_else(kind):
    layers, drawn = [], set()
    for others in (5, 6):
        keras.utils.set_random_seed(others)
        layers.append(make_layer(kind, 3, 4, seed=2))
        # What others draw goes on from their own seed.
        drawn |= {random.random(), np.random.random(), float(keras.random.uniform(()))}
    assert len(drawn) == 6
    layers.append(make_layer(kind, 3, 4, seed=3))
    for ours, again, other in zip(*(layer.weights for layer in layers), strict=True):
        np.testing.assert_array_equal(ours, again)
        assert np.array_equal(ours, other) is (ours.name == "bias")


@pytest.mark.parametrize("kind", [kind for kind in LAYERS if "bidirectional" in kind])
def test_the_two_directions_have_weights_of_their_own(kind):
    weights = make_layer(kind, 3, 4).get_weights()
    half = len(weights) // 2
    for forward, backward in zip(weights[:2], weights[half : half + 2], strict=True):
        assert not np.array_equal(forward, backward)


@pytest.mark.parametrize(("kind", "bias"), [("lstm", 1), ("lstm_zero_forget_bias", 0)])
def test_biases_begin_as_the_layer_has_them(kind, bias):
    np.testing.assert_array_equal(make_layer(kind, 1, 1).get_weights()[2], [0, bias, 0, 0])


def test_an_initial_state_is_where_the_layer_starts():
    state = [np.full((1, 2), 0.5, np.float32)] * 2
    given = returns("lstm", 2, THREE, initial_state=state)[3].tensors
    assert not np.allclose(given[1].values, returns("lstm", 2, THREE)[3].tensors[1].values)


def test_what_is_no_layer_is_refused():
    with pytest.raises(ValueError, match=r"there are lstm, .*bidirectional_gru, .*stacked"):
        make_layer("lsmt", 1, 1)
