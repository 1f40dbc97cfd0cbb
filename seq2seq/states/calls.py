"""The table of returns: what `return_sequences` and `return_state` make a layer return."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from seq2seq.model.recurrent import RECURRENT_LAYERS, STATE_NAMES
from seq2seq.states.tracing import Array, trace

LAYERS = ("lstm", "gru", "simple_rnn", "bidirectional_lstm", "bidirectional_gru", "stacked")
_STACKED_LAYERS = 2


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
        kind: One of `LAYERS`; `stacked` is `keras.layers.RNN` over two LSTM cells.
        units: U, per direction.
        features: Size F of the input.
        return_sequences: Whether every step's output is returned, or the last one's.
        return_state: Whether the final states are returned besides.
        weights: As `layer.get_weights()` lists them; None: drawn from the seed.
        seed: Of the weights.

    Raises:
        ValueError: There is no such kind.
    """
    if kind not in LAYERS:
        raise ValueError(f"layer={kind}: there are {', '.join(LAYERS)}")
    keras.utils.set_random_seed(seed)
    arguments = {"return_sequences": return_sequences, "return_state": return_state}
    cell = kind.removeprefix("bidirectional_")
    if kind == "stacked":
        cells = [keras.layers.LSTMCell(units) for _ in range(_STACKED_LAYERS)]
        layer = keras.layers.RNN(cells, name=kind, **arguments)
    else:
        layer = RECURRENT_LAYERS[cell](units, name=cell, **arguments)
    if kind != cell:
        layer = keras.layers.Bidirectional(layer)
    layer.build((None, None, features))
    if weights is not None:
        layer.set_weights(weights)
    return layer


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
        kind: One of `LAYERS`.
        units: U, per direction.
        inputs: `[B, T, F]`.
        mask: `[B, T]`, True = real token.
        initial_state: As the layer takes it; None: zeros.
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
    both = ", both directions side by side" if kind.startswith("bidirectional") else ""
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
    names = STATE_NAMES[kind.removeprefix("bidirectional_")]
    if not kind.startswith("bidirectional"):
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
    if kind != "stacked":
        layer = make_layer(kind, units, inputs.shape[-1], True, True, weights, seed)
        traces = trace(layer, inputs)
        seen = np.concatenate([one.states["state_h"] for one in traces], axis=-1)
        found.append(("the sequence is state_h of every step", sequence, seen))
        for one in traces:
            if one.cell == "lstm":
                h = one.gates["output"] * np.tanh(one.states["state_c"])
                where = f" ({one.name.split('_')[0]})" if len(traces) > 1 else ""
                found.append((f"h = o · tanh(c) at every step{where}", one.states["state_h"], h))
    zeros: list[Any] = [np.zeros_like(state) for state in states]
    if kind == "stacked":
        zeros = [zeros[:2], zeros[2:]]
    from_zeros = call(initial_state=zeros)[3].tensors
    found.append(("without initial_state the layer starts from zeros",
                  _flat(sequence, states), _flat(*_split(from_zeros))))  # fmt: skip
    padded = np.concatenate([inputs, np.full_like(inputs, 9.0)], axis=1)
    mask = np.arange(padded.shape[1]) < inputs.shape[1]
    masked = call(inputs=padded, mask=np.broadcast_to(mask, padded.shape[:2]))[3].tensors
    _, masked_states = _split(masked)
    found.append(("padding behind a mask changes no final state",
                  _flat(states[0], states), _flat(masked_states[0], masked_states)))  # fmt: skip
    return [Identity(statement, float(np.abs(a - b).max())) for statement, a, b in found]


def _last(sequence: Array, kind: str) -> Array:
    """The output of a backward layer is at the first token."""
    if not kind.startswith("bidirectional"):
        return sequence[:, -1]
    forward, backward = np.split(sequence, 2, axis=-1)
    return np.concatenate([forward[:, -1], backward[:, 0]], axis=-1)


def _of_states(kind: str, output: Array, states: list[Array]) -> list[tuple[str, Array, Array]]:
    if kind == "stacked":
        return [("the output is state_h of the upper layer", output, states[2])]
    if not kind.startswith("bidirectional"):
        name = "state_h" if kind == "lstm" else "the one state"
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
