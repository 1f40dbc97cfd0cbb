"""The table of returns: what `return_sequences` and `return_state` make a layer return."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np

from seq2seq.config import LayerKind
from seq2seq.model.recurrent import RECURRENT_LAYERS, STATE_NAMES
from seq2seq.states.tracing import Array, Trace, trace

_STACKED_LAYERS = 2
# How the weights are drawn, by their names in Keras's layers and in ours.
_INITIALIZERS = {
    "kernel": keras.initializers.GlorotUniform,
    "recurrent_kernel": keras.initializers.Orthogonal,
    "peephole": keras.initializers.GlorotUniform,
    "start": partial(keras.initializers.RandomNormal, stddev=1.0),
}


class Returned(NamedTuple):
    """One tensor that a layer returns: its name, what it means, and its values."""

    name: str
    meaning: str
    values: Array


class Call(NamedTuple):
    """What a layer returns for one choice of the two arguments."""

    return_sequences: bool
    return_state: bool
    tensors: list[Returned]
    parameters: int


class Identity(NamedTuple):
    """Something that is true of the returns, and the largest difference that was found."""

    statement: str
    largest_difference: float


def make_layer(
    kind: str,
    units: int,
    features: int,
    return_sequences: bool = False,
    return_state: bool = False,
    weights: Sequence[Array] | None = None,
    seed: int = 1,
) -> keras.layers.Layer:
    """Creates a layer with its weights.

    Args:
        kind: One of `LayerKind`; `stacked` is `keras.layers.RNN` over two LSTM cells.
        units: U, per direction.
        features: Size F of the input.
        return_sequences: Whether every step's output is returned, or the last one's.
        return_state: Whether the final states are returned besides.
        weights: As `layer.get_weights()` lists them; None: drawn from the seed.
        seed: Of the weights.

    Raises:
        ValueError: There is no such kind.
    """
    if kind not in [*LayerKind]:
        raise ValueError(f"layer={kind}: there are {', '.join(LayerKind)}")
    arguments = {"return_sequences": return_sequences, "return_state": return_state}
    cell = _cell(kind)
    if kind == LayerKind.stacked:
        cells = [keras.layers.LSTMCell(units) for _ in range(_STACKED_LAYERS)]
        layer = keras.layers.RNN(cells, name=kind, **arguments)
    else:
        layer = RECURRENT_LAYERS[cell](units, name=cell, **arguments)
    if _is_bidirectional(kind):
        layer = keras.layers.Bidirectional(layer)
    layer.build((None, None, features))
    if weights is None:
        _draw_weights(layer, np.random.default_rng(seed))
    else:
        layer.set_weights(weights)
    return layer


def _draw_weights(layer: keras.layers.Layer, rng: np.random.Generator) -> None:
    """Draws the weights anew, each from Keras's usual distribution; biases keep their values."""
    for weight in layer.weights:
        if weight.name in _INITIALIZERS:
            initializer = _INITIALIZERS[weight.name](seed=int(rng.integers(2**31)))
            weight.assign(initializer(weight.shape))


def _cell(kind: str) -> str:
    return kind.removeprefix("bidirectional_")


def _is_bidirectional(kind: str) -> bool:
    return kind.startswith("bidirectional_")


def returns(
    kind: str,
    units: int,
    inputs: Array,
    mask: Array | None = None,
    initial_state: Sequence[Array] | None = None,
    weights: Sequence[Array] | None = None,
    seed: int = 1,
) -> list[Call]:
    """Calls a layer in the four ways, always with the same weights.

    Args:
        kind: One of `LayerKind`.
        units: U, per direction.
        inputs: `[B, T, F]`.
        mask: `[B, T]`, True = real token.
        initial_state: As the layer takes it; None: what it starts from by itself.
        weights: See `make_layer`.
        seed: Of the weights.
    """
    calls = []
    for sequences, state in itertools.product((False, True), repeat=2):
        layer = make_layer(kind, units, inputs.shape[-1], sequences, state, weights, seed)
        outputs = layer(np.asarray(inputs, np.float32), initial_state=initial_state, mask=mask)
        # `stacked` nests its states by layer.
        values = [keras.ops.convert_to_numpy(value) for value in keras.tree.flatten(outputs)]
        names = [_output_name(sequences, kind), *(_state_names(kind) if state else [])]
        tensors = [
            Returned(name, meaning, value)
            for (name, meaning), value in zip(names, values, strict=True)
        ]
        calls.append(Call(sequences, state, tensors, layer.count_params()))
    return calls


def _output_name(return_sequences: bool, kind: str) -> tuple[str, str]:
    both = ", both directions side by side" if _is_bidirectional(kind) else ""
    if return_sequences:
        return "sequence", f"state_h after every step{both}"
    return "output", f"state_h after the last step{both}"


def _state_names(kind: str) -> list[tuple[str, str]]:
    """Returns name and meaning of the final states, in the order in which they are returned."""
    if kind == "stacked":
        return [
            (f"layer_{i}_{name}", f"{name} of layer {i} after the last step")
            for i in range(_STACKED_LAYERS)
            for name in STATE_NAMES["lstm"]
        ]
    names = STATE_NAMES[_cell(kind)]
    if not _is_bidirectional(kind):
        return [(name, f"{name} after the last step") for name in names]
    where = {"forward": "the last token", "backward": "the first token, which it reads last"}
    return [
        (f"{direction}_{name}", f"{name} of the {direction} layer, at {where[direction]}")
        for direction in where
        for name in names
    ]


def identities(
    kind: str,
    units: int,
    inputs: Array,
    weights: Sequence[Array] | None = None,
    seed: int = 1,
) -> list[Identity]:
    """Checks what is true of every layer of this kind, on this input `[B, T, F]`.

    The largest difference is an absolute one; float32 sums in another order differ by some 1e-7.
    """
    inputs = np.asarray(inputs, np.float32)

    def call(**more: Any) -> list[Call]:
        return returns(kind, units, more.pop("inputs", inputs), weights=weights, seed=seed, **more)

    calls = call()
    (output,), (_, *_), (sequence,), (_, *states) = (
        [tensor.values for tensor in one.tensors] for one in calls
    )
    first = calls[1].tensors[0].values
    found = [("the output without return_sequences is the last of the sequence",
              output, _last(sequence, kind)),
             ("return_state changes no output: it only adds to it", first, output)]  # fmt: skip
    found += _of_states(kind, output, states)
    layer = make_layer(kind, units, inputs.shape[-1], True, True, weights, seed)
    if kind != LayerKind.stacked:
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
    """Yields what is true of a cell's states and gates at every step."""
    states, gates = one.states, one.gates
    if "state_c" in states:
        h = gates["output"] * np.tanh(states["state_c"])
        yield "h = o · tanh(c) at every step", states["state_h"], h
    if "state_m" in states:
        yield "h = tanh(m) at every step", states["state_h"], np.tanh(states["state_m"])
        order = slice(None, None, -1 if one.is_backward else 1)
        a, z = gates["log_weight"][:, order], gates["candidate"][:, order]
        # Each weight as a share of the largest, which leaves the mean as it is and cannot overflow.
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
    """Returns what the layer starts from by itself, as it takes it, and what that is."""
    if kind == LayerKind.stacked:
        return layer.get_initial_state(rows), "zeros"
    halves = [layer.forward_layer, layer.backward_layer] if _is_bidirectional(kind) else [layer]
    states = [np.asarray(state) for half in halves for state in half.get_initial_state(rows)]
    if _cell(kind) == LayerKind.rwa:
        return states, "tanh of a trained vector, and the mean of nothing"
    return [np.zeros_like(state) for state in states], "zeros"


def _last(sequence: Array, kind: str) -> Array:
    """The output of a backward layer is at the first token."""
    if not _is_bidirectional(kind):
        return sequence[:, -1]
    forward, backward = np.split(sequence, 2, axis=-1)
    return np.concatenate([forward[:, -1], backward[:, 0]], axis=-1)


def _of_states(kind: str, output: Array, states: list[Array]) -> list[tuple[str, Array, Array]]:
    if kind == "stacked":
        return [("the output is state_h of the upper layer", output, states[2])]
    if not _is_bidirectional(kind):
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
