"""Identities between the returns of a layer, checked for one input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from seq2seq.config.choices import STACKED
from seq2seq.model.rnn.cells import cell_spec
from seq2seq.model.rnn.tracing import Array, Trace, trace
from seq2seq.states.calls import Call, Returned, cell_of, is_bidirectional, make_layer, returns


class Identity(NamedTuple):
    """A statement about the returns, and the largest difference between its two sides."""

    statement: str
    largest_difference: float


def identities(
    kind: str,
    units: int,
    inputs: Array,
    weights: Sequence[Array] | None = None,
    seed: int = 1,
) -> list[Identity]:
    """Checks the identities of a kind of layer for one input `[B, T, F]`.

    Differences are absolute; float32 sums in another order differ by about 1e-7.
    """
    inputs = np.asarray(inputs, np.float32)

    def call(**more: Any) -> list[Call]:
        return returns(kind, units, more.pop("inputs", inputs), weights=weights, seed=seed, **more)

    calls = call()
    (output,), (_, *_), (sequence,), (_, *states) = (
        [tensor.values for tensor in one.tensors] for one in calls
    )
    first = calls[1].tensors[0].values
    found = _of_output(kind, output, sequence)
    found.append(("return_state changes no output: it only adds to it", first, output))
    found += _of_states(kind, output, states)
    layer = make_layer(kind, units, inputs.shape[-1], True, True, weights, seed)
    if kind != STACKED:
        traces = trace(layer, inputs)
        seen = np.concatenate([one.states["state_h"] for one in traces], axis=-1)
        found.append(("the sequence is state_h of every step", sequence, seen))
        for one in traces:
            where = f" ({one.name.split('_')[0]})" if len(traces) > 1 else ""
            found += [(statement + where, a, b) for statement, a, b in _of_gates(one)]
    start, statement = _start(layer, kind, len(inputs))
    from_start = call(initial_state=start)[3].tensors
    found.append((f"without initial_state the layer starts from {statement}",
                  _flat(sequence, states), _flat(*_split(from_start))))  # fmt: skip
    padded = np.concatenate([inputs, np.full_like(inputs, 9.0)], axis=1)
    mask = np.arange(padded.shape[1]) < inputs.shape[1]
    masked = call(inputs=padded, mask=np.broadcast_to(mask, padded.shape[:2]))[3].tensors
    _, masked_states = _split(masked)
    found.append(("padding behind a mask changes no final state",
                  _flat(states[0], states), _flat(masked_states[0], masked_states)))  # fmt: skip
    return [Identity(statement, float(np.abs(a - b).max())) for statement, a, b in found]


def _of_gates(one: Trace) -> Iterator[tuple[str, Array, Array]]:
    """Yields the identities between a cell's states and gates at every step."""
    states, gates = one.states, one.gates
    if "state_c" in states:
        h = gates["output"] * np.tanh(states["state_c"])
        yield "h = o · tanh(c) at every step", states["state_h"], h
    if "state_m" in states:
        yield "h = tanh(m) at every step", states["state_h"], np.tanh(states["state_m"])
        order = slice(None, None, -1 if one.is_backward else 1)
        a, z = gates["log_weight"][:, order], gates["candidate"][:, order]
        # Each weight relative to the largest: the mean is the same, and nothing overflows.
        largest = a.max(axis=1, keepdims=True)
        share = np.exp(a - largest)
        total = share.cumsum(axis=1)
        m = (share * z).cumsum(axis=1) / total
        yield (
            "m is the mean of the candidates so far, weighted by e^a",
            states["state_m"],
            m[:, order],
        )
        w = (largest + np.log(total))[:, order]
        yield "w is the logarithm of the sum of their weights", states["state_w"], w


def _start(layer: Any, kind: str, rows: int) -> tuple[Any, str]:
    """Returns the layer's default initial states, as it takes them, and their description."""
    if kind == STACKED:
        return layer.get_initial_state(rows), "zeros"
    halves = [layer.forward_layer, layer.backward_layer] if is_bidirectional(kind) else [layer]
    states = [np.asarray(state) for half in halves for state in half.get_initial_state(rows)]
    start = cell_spec(cell_of(kind)).start
    # Zeros are not taken from the layer, so that the statement is checked and not assumed.
    return [np.zeros_like(state) for state in states] if start == "zeros" else states, start


def _of_output(kind: str, output: Array, sequence: Array) -> list[tuple[str, Array, Array]]:
    """Returns where in the sequence `[B, T, U]` the output `[B, U]` is."""
    if not is_bidirectional(kind):
        statement = "the output without return_sequences is the last of the sequence"
        return [(statement, output, sequence[:, -1])]
    # The backward layer reads the last token first. Keras turns its sequence round, so that both
    # halves of a step belong to the same token, and its last output stands at the first step.
    forward, backward = np.split(output, 2, axis=-1)  # [B, U/2] each
    forward_steps, backward_steps = np.split(sequence, 2, axis=-1)  # [B, T, U/2] each
    return [
        (
            "the forward half of the output is that of the sequence at the last step",
            forward,
            forward_steps[:, -1],
        ),
        (
            "the backward half of the output is that of the sequence at the first step",
            backward,
            backward_steps[:, 0],
        ),
    ]


def _of_states(kind: str, output: Array, states: list[Array]) -> list[tuple[str, Array, Array]]:
    if kind == STACKED:
        return [("the output is state_h of the upper layer", output, states[2])]
    if not is_bidirectional(kind):
        name = "state_h" if len(states) > 1 else "the one state"
        return [(f"the output is {name}", output, states[0])]
    forward, backward = np.split(output, 2, axis=-1)
    half = len(states) // 2
    return [
        ("the forward half of the output is the forward state_h", forward, states[0]),
        ("the backward half of the output is the backward state_h", backward, states[half]),
    ]


def _split(tensors: list[Returned]) -> tuple[Array, list[Array]]:
    first, *states = (tensor.values for tensor in tensors)
    return first, states


def _flat(first: Array, states: Sequence[Array]) -> Array:
    return np.concatenate([array.ravel() for array in (first, *states)])
