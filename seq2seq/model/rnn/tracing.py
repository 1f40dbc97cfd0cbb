"""Traces: every state and every gate of a recurrent layer at every step.

Keras returns the sequence of state_h and the final states, but neither the sequence of cell states
nor the gates. `loop.py` computes them from the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from seq2seq.config.choices import Cell
from seq2seq.model.rnn.cells import cell_spec
from seq2seq.model.tap import run_layer
from seq2seq.model.types import Tensor, at_least_float32

Array = npt.NDArray[Any]


class Trace(NamedTuple):
    """States and gates of one direction of a layer, at the positions of its input.

    Attributes:
        name: The layer's name.
        cell: A word of `choices.Cell`.
        is_backward: Whether the layer reads the last token first; its final state is then at
            token 0.
        mask: `[B, T]`, True = real token.
        initial: The states before the first step, by name, `[B, U]` each.
        states: The states after every step, by name, `[B, T, U]` each.
        gates: The gates of every step, by name, `[B, T, U]` each; NaN at masked steps. An LSTM has
            `input`, `forget`, `candidate`, `output`; a GRU `update`, `reset`, `candidate`; an RWA
            `candidate`, its `log_weight`, and its `share` in the average; a simple RNN none.
    """

    name: str
    cell: str
    is_backward: bool
    mask: Array
    initial: dict[str, Array]
    states: dict[str, Array]
    gates: dict[str, Array]

    def at(self, steps: Sequence[int]) -> Trace:
        """Returns the trace with only these steps, in their order."""
        states, gates = (
            {name: values[:, steps] for name, values in found.items()}
            for found in (self.states, self.gates)
        )
        return self._replace(mask=self.mask[:, steps], states=states, gates=gates)

    @property
    def final(self) -> dict[str, Array]:
        """The states after the last step, `[B, U]` each."""
        last = 0 if self.is_backward else -1
        return {name: state[:, last] for name, state in self.states.items()}

    def bounds(self, name: str) -> tuple[float, float] | None:
        """Returns the range that a state or gate never leaves once inside; None: unbounded."""
        return cell_spec(self.cell).equations.bounds.get(name)


def trace(
    layer: keras.layers.Layer, inputs: Any, initial_state: Any = None, mask: Any = None
) -> list[Trace]:
    """Runs a layer and returns its traces.

    Args:
        layer: A built layer of any cell, of Keras or of this project, alone or in a
            `Bidirectional`.
        inputs: The layer's input, `[B, T, F]` or integers `[B, T, 1]`.
        initial_state: The initial states as the layer takes them, `[B, U]` each; None: the layer's
            default.
        mask: `[B, T]`, True = real token; None: all are real.

    Returns:
        One trace, or two for a bidirectional layer, forward first.

    Raises:
        ValueError: The layer has another cell, or activations other than the standard ones.
    """
    if not isinstance(layer, keras.layers.Bidirectional):
        return [_trace(layer, inputs, initial_state, mask)]
    halves = [None, None]
    if initial_state is not None:
        half = len(initial_state) // 2
        halves = [initial_state[:half], initial_state[half:]]
    layers = (layer.forward_layer, layer.backward_layer)
    return [_trace(one, inputs, state, mask) for one, state in zip(layers, halves, strict=True)]


class Tracer:
    """A tap that records the traces of every recurrent layer that runs through it.

    Attributes:
        traces: By layer: one trace per direction.
    """

    def __init__(self) -> None:
        self.traces: list[list[Trace]] = []

    def __call__(
        self,
        layer: keras.layers.RNN,
        sequence: Tensor,
        initial_state: Sequence[Tensor] | None,
        mask: Tensor | None,
        training: bool | None,
    ) -> Sequence[Tensor]:
        """Traces the layer, then runs it."""
        self.traces.append(trace(layer, sequence, initial_state, mask))
        return run_layer(layer, sequence, initial_state, mask, training)


def _trace(layer: Any, inputs: Any, initial_state: Any, mask: Any) -> Trace:
    cell, ours = _as_ours(layer)
    inputs = tf.convert_to_tensor(inputs)
    if not inputs.dtype.is_integer:
        inputs = tf.cast(inputs, ours.compute_dtype)
    rows, steps = inputs.shape[:2]
    if initial_state is None:
        initial_state = layer.get_initial_state(rows)
    initial = [tf.cast(state, at_least_float32(ours.compute_dtype)) for state in initial_state]
    seen = np.ones((rows, steps), bool) if mask is None else np.asarray(mask, bool)
    found = {
        name: keras.ops.convert_to_numpy(keras.ops.cast(value, "float32"))
        for name, value in ours.trace(inputs, initial, None if mask is None else seen).items()
    }
    names = cell_spec(cell).state_names
    return Trace(
        layer.name,
        cell,
        layer.go_backwards,
        seen,
        dict(zip(names, map(np.asarray, initial), strict=True)),
        {name: found[name] for name in names},
        {n: np.where(seen[..., None], v, np.nan) for n, v in found.items() if n not in names},
    )


def _as_ours(layer: Any) -> tuple[str, Any]:
    """Returns the cell's name, and the layer, or a copy of a Keras layer that can be traced."""
    specs = {cell: cell_spec(cell) for cell in Cell}
    # The exact class first: the layer of one cell may be a subclass of another's.
    for cell, spec in specs.items():
        if type(layer) is spec.layer:
            return cell, layer
    for cell, spec in specs.items():
        if isinstance(layer, spec.layer):
            return cell, layer
        if spec.keras_layer is not None and isinstance(layer, spec.keras_layer):
            ours: Any = spec.layer.from_config(layer.get_config())
            ours.build((None, None, layer.cell.kernel.shape[0]))
            ours.set_weights(layer.get_weights())
            return cell, ours
    names = dict.fromkeys(spec.layer.__name__ for spec in specs.values())
    raise ValueError(
        f"{type(layer).__name__} cannot be traced: it is not one of {', '.join(names)}, "
        "Bidirectional"
    )
