"""The table of returns: a layer's outputs for each `return_sequences` and `return_state`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from seq2seq.config.choices import LAYERS, STACKED
from seq2seq.model.rnn.cells import KERNEL_INITIALIZERS, Initializer, cell_spec
from seq2seq.model.rnn.tracing import Array

_STACKED_LAYERS = 2


class Returned(NamedTuple):
    """One returned tensor: its name, its meaning in words, and its values."""

    name: str
    meaning: str
    values: Array


class Call(NamedTuple):
    """The returned tensors for one choice of the two arguments."""

    return_sequences: bool
    return_state: bool
    tensors: list[Returned]
    parameters: int


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
        kind: One of `choices.LAYERS`; `stacked` is `keras.layers.RNN` over two LSTM cells.
        units: U, per direction.
        features: Size F of the input.
        return_sequences: Whether to return the output of every step, or of the last step only.
        return_state: Whether to return the final states too.
        weights: In the order of `layer.get_weights()`; None: drawn from the seed.
        seed: Seed of the weights.

    Raises:
        ValueError: `kind` is not one of `choices.LAYERS`.
    """
    if kind not in LAYERS:
        raise ValueError(f"layer={kind} is not a layer: there are {', '.join(LAYERS)}")
    arguments = {"return_sequences": return_sequences, "return_state": return_state}
    cell, initializers = cell_of(kind), KERNEL_INITIALIZERS
    if kind == STACKED:
        cells = [keras.layers.LSTMCell(units) for _ in range(_STACKED_LAYERS)]
        layer = keras.layers.RNN(cells, name=kind, **arguments)
    else:
        spec = cell_spec(cell)
        initializers = spec.initializers
        layer = spec.make(units, name=cell, **arguments)
    if is_bidirectional(kind):
        layer = keras.layers.Bidirectional(layer)
    layer.build((None, None, features))
    if weights is None:
        _draw_weights(layer, initializers, np.random.default_rng(seed))
    else:
        layer.set_weights(weights)
    return layer


def _draw_weights(
    layer: keras.layers.Layer, initializers: Mapping[str, Initializer], rng: np.random.Generator
) -> None:
    """Draws the weights anew from their usual distributions; biases keep their values."""
    for weight in layer.weights:
        if weight.name in initializers:
            initializer: Any = initializers[weight.name](seed=int(rng.integers(2**31)))
            weight.assign(initializer(weight.shape))


def cell_of(kind: str) -> str:
    """Returns the cell of a kind of layer."""
    return kind.removeprefix("bidirectional_")


def is_bidirectional(kind: str) -> bool:
    """Returns whether a kind of layer reads in both directions."""
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
    """Calls a layer with all four choices of the two arguments and the same weights.

    Args:
        kind: One of `choices.LAYERS`.
        units: U, per direction.
        inputs: `[B, T, F]`.
        mask: `[B, T]`, True = real token.
        initial_state: The initial states as the layer takes them; None: the layer's default.
        weights: See `make_layer`.
        seed: Seed of the weights.
    """
    calls = []
    for sequences, state in itertools.product((False, True), repeat=2):
        layer = make_layer(kind, units, inputs.shape[-1], sequences, state, weights, seed)
        outputs = layer(np.asarray(inputs, np.float32), initial_state=initial_state, mask=mask)
        # `stacked` nests its states by layer: they are flattened.
        values = [keras.ops.convert_to_numpy(value) for value in keras.tree.flatten(outputs)]
        names = [_output_name(sequences, kind), *(_state_names(kind) if state else [])]
        tensors = [
            Returned(name, meaning, value)
            for (name, meaning), value in zip(names, values, strict=True)
        ]
        calls.append(Call(sequences, state, tensors, layer.count_params()))
    return calls


def _output_name(return_sequences: bool, kind: str) -> tuple[str, str]:
    both = ", both directions side by side" if is_bidirectional(kind) else ""
    if return_sequences:
        return "sequence", f"state_h after every step{both}"
    return "output", f"state_h after the last step{both}"


def _state_names(kind: str) -> list[tuple[str, str]]:
    """Returns names and meanings of the final states in the order of the layer."""
    if kind == STACKED:
        return [
            (f"layer_{i}_{name}", f"{name} of layer {i} after the last step")
            for i in range(_STACKED_LAYERS)
            for name in cell_spec("lstm").state_names
        ]
    names = cell_spec(cell_of(kind)).state_names
    if not is_bidirectional(kind):
        return [(name, f"{name} after the last step") for name in names]
    where = {"forward": "the last token", "backward": "the first token, which it reads last"}
    return [
        (f"{direction}_{name}", f"{name} of the {direction} layer, at {where[direction]}")
        for direction in where
        for name in names
    ]
