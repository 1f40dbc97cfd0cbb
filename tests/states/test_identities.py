"""What is always true of a layer's returns, against NumPy: all layers, both directions, masks."""

import keras
import numpy as np
import numpy_reference
import pytest
from numpy_reference import CELLS

from seq2seq.config.choices import LAYERS
from seq2seq.states import identities, make_layer

B, T, F, U = 3, 5, 4, 2
MASKS = {
    "none": np.ones((B, T), bool),
    "padding behind": np.arange(T) < np.array([[5], [3], [1]]),
    "padding before": np.arange(T) >= np.array([[0], [2], [4]]),
    "holes": np.array([[1, 0, 1, 1, 0], [0, 1, 1, 0, 1], [1, 1, 1, 1, 1]], bool),
}
RNG = np.random.default_rng(5)
X = RNG.normal(size=(B, T, F)).astype("float32")
SINGLE = [kind for kind in LAYERS if kind in CELLS]
DOUBLE = [kind for kind in LAYERS if "bidirectional" in kind]
every_mask = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)


def call(kind, weights, mask, sequences, states, x=X, **more):
    layer = make_layer(kind, U, F, sequences, states, weights=weights)
    found = layer(x, mask=mask, **more)
    return [np.array(tensor) for tensor in keras.tree.flatten(found)]


def draw(kind):
    return [
        RNG.normal(size=w.shape).astype("float32") for w in make_layer(kind, U, F).get_weights()
    ]


def by_hand(cell, weights, mask, x=X, initial=None):
    """The sequence and the final states, from the equations."""
    initial = numpy_reference.start(cell, weights, B, U) if initial is None else initial
    sequence, *states = CELLS[cell](x, *initial, *weights, mask=mask)
    return sequence, states


def same(found, expected):
    np.testing.assert_allclose(found, expected, atol=2e-5)


def at(sequence, mask, last):
    """What a sequence holds at each row's last (or first) real token."""
    steps = [np.flatnonzero(row)[-1 if last else 0] for row in mask]
    return sequence[np.arange(B), steps]


@every_mask
@pytest.mark.parametrize("cell", SINGLE)
def test_one_direction(cell, mask):
    weights = draw(cell)
    expected, final = by_hand(cell, weights, mask)
    [output] = call(cell, weights, mask, False, False)
    [sequence] = call(cell, weights, mask, True, False)
    same(output, final[0])
    same(sequence[mask], expected[mask])
    # The output is the last of the sequence, which is state_h; return_state adds, changes nothing.
    same(output, at(sequence, mask, last=True))
    for sequences, first in ((False, output), (True, sequence)):
        again, *states = call(cell, weights, mask, sequences, True)
        np.testing.assert_array_equal(again, first)
        assert len(states) == len(final)
        for state, value in zip(states, final, strict=True):
            same(state, value)
        same(states[0], output)
    if len(final) == 2:  # h = o · tanh(c), and no gate is ever quite open
        assert np.all(np.abs(output) < np.abs(np.tanh(states[1])))


@every_mask
@pytest.mark.parametrize("kind", DOUBLE)
def test_two_directions(kind, mask):
    cell, weights = kind.removeprefix("bidirectional_"), draw(kind)
    half = len(weights) // 2
    forward, forward_final = by_hand(cell, weights[:half], mask)
    backward, backward_final = by_hand(cell, weights[half:], mask[:, ::-1], X[:, ::-1])
    expected, final = (
        np.concatenate([forward, backward[:, ::-1]], -1),
        forward_final + backward_final,
    )
    output, *states = call(kind, weights, mask, False, True)
    sequence, *again = call(kind, weights, mask, True, True)
    same(output, np.concatenate([forward_final[0], backward_final[0]], -1))
    same(sequence[mask], expected[mask])
    assert len(states) == len(again) == len(final)
    for a, b, value in zip(states, again, final, strict=True):
        same(a, value)
        same(b, value)
    # The forward state is that of the last token, the backward one that of the first.
    same(states[0], at(sequence, mask, last=True)[:, :U])
    same(states[len(final) // 2], at(sequence, mask, last=False)[:, U:])


@every_mask
def test_stacked(mask):
    weights = draw("stacked")
    first, below = by_hand("lstm", weights[:3], mask)
    expected, above = by_hand("lstm", weights[3:], mask, first)
    sequence, *states = call("stacked", weights, mask, True, True)
    same(sequence[mask], expected[mask])
    for state, value in zip(states, below + above, strict=True):
        same(state, value)


@pytest.mark.parametrize("kind", LAYERS)
@every_mask
def test_what_is_masked_is_not_read(kind, mask):
    weights = draw(kind)
    other = np.where(mask[..., None], X, 1e3).astype("float32")
    for a, b in zip(
        call(kind, weights, mask, False, True),
        call(kind, weights, mask, False, True, x=other),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


@every_mask
@pytest.mark.parametrize("cell", SINGLE)
def test_an_initial_state_is_where_a_layer_starts(cell, mask):
    weights = draw(cell)
    names = numpy_reference.STATES[cell]
    initial = [RNG.normal(size=(B, U)).astype("float32") for _ in names]
    _, final = by_hand(cell, weights, mask, initial=initial)
    _, *states = call(cell, weights, mask, False, True, initial_state=initial)
    for state, value in zip(states, final, strict=True):
        same(state, value)
    # Without one it is zeros, but for the RWA, which has learned where to start.
    start = numpy_reference.start(cell, weights, B, U)
    if cell != "rwa":
        assert not np.any(start)
    _, *states = call(cell, weights, mask, False, True)
    _, final = by_hand(cell, weights, mask, initial=start)
    for state, value in zip(states, final, strict=True):
        same(state, value)


@pytest.mark.parametrize("kind", LAYERS)
def test_the_step_of_the_output_is_named_per_direction(kind):
    found = identities(kind, U, X)
    assert max(one.largest_difference for one in found) < 1e-5
    where = [one.statement for one in found if "the sequence at" in one.statement]
    last = [one.statement for one in found if "the last of the sequence" in one.statement]
    if kind not in DOUBLE:
        assert where == []
        assert len(last) == 1
        return
    assert last == []  # The backward half is not.
    assert where == [
        "the forward half of the output is that of the sequence at the last step",
        "the backward half of the output is that of the sequence at the first step",
    ]
