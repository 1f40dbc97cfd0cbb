"""Recurrent cells by name: everything that differs between them is one `CellSpec`.

A cell is a file of this folder named like its word in `choices.Cell`. It holds the equations, the
layer and `SPEC`. A new cell is its file and its word; no other file lists the cells.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import keras

from seq2seq.model.rnn.equations import Equations

Initializer = Callable[..., keras.initializers.Initializer]

# The distributions of Keras's recurrent layers. Biases are constants and are not listed.
KERNEL_INITIALIZERS: Mapping[str, Initializer] = {
    "kernel": keras.initializers.GlorotUniform,
    "recurrent_kernel": keras.initializers.Orthogonal,
}


@dataclass(frozen=True)
class CellSpec:
    """A recurrent cell.

    Attributes:
        layer: The class of its recurrent layer.
        equations: Its equations.
        keras_layer: The class of `keras.layers` with the same weights and numbers; None: Keras
            lacks the cell.
        arguments: Arguments of `layer` that make it this cell.
        seeded_arguments: Further arguments of a layer that always receives its initial state.
        float32_states: States that must not be rounded to bfloat16 between two calls of the layer.
        own_states: States with a meaning that no state of another cell has. A bridge cannot copy
            another state into them and starts them at 0.
        initializers: The distribution of each random weight, by the weight's name.
        start: The state that the layer starts from by default, in words; "zeros" means zeros.
    """

    layer: type[keras.layers.RNN]
    equations: type[Equations]
    keras_layer: type[keras.layers.RNN] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    seeded_arguments: Mapping[str, Any] = field(default_factory=dict)
    float32_states: frozenset[str] = frozenset()
    own_states: frozenset[str] = frozenset()
    initializers: Mapping[str, Initializer] = field(default_factory=lambda: KERNEL_INITIALIZERS)
    start: str = "zeros"

    @property
    def make(self) -> Callable[..., keras.layers.RNN]:
        """The layer's constructor: units, then the arguments of `keras.layers.RNN` by name."""
        layer: Any = self.layer
        return partial(layer, **self.arguments)

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the states in Keras's order, `state_h` first."""
        return self.equations.state_names


def cell_spec(cell: str) -> CellSpec:
    """Returns the specification of a cell of `choices.Cell`."""
    spec: CellSpec = importlib.import_module(f"seq2seq.model.rnn.{cell}").SPEC
    return spec


def recurrent_layer(
    cell: str, units: int, one_hot_depth: int | None, name: str, is_seeded: bool = False
) -> keras.layers.RNN:
    """Creates a layer of an encoder or decoder, which returns its sequence and its states.

    Args:
        cell: A word of `choices.Cell`.
        units: U.
        one_hot_depth: Number of classes of an integer input; None: the input is vectors.
        name: The layer's name.
        is_seeded: Whether the layer always receives its initial state, so that it needs no trained
            one.
    """
    spec = cell_spec(cell)
    return spec.make(
        units,
        return_sequences=True,
        return_state=True,
        one_hot_depth=one_hot_depth,
        name=name,
        **(spec.seeded_arguments if is_seeded else {}),
    )
