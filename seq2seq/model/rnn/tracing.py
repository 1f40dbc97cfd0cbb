"""Every state and every gate of a recurrent layer, at every step.

Keras returns the sequence of state_h and the final states, but neither the sequence of cell states
nor a gate. They are computed here by the loop of `seq2seq.model.loop`, from the same weights.
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
    """What one direction of a layer went through, at the places of the tokens it read.

    Attributes:
        name: The layer's name.
        cell: `lstm`, `gru`, `simple_rnn`, `peephole_lstm` or `rwa`.
        is_backward: Whether it read the last token first: its final state is then at token 0.
        mask: `[B, T]`, True = a token that was read.
        initial: The states before the first step, by name, `[B, U]` each.
        states: state_h (and state_c; of an RWA state_m and state_w) after every step, `[B, T, U]`
            each.
        gates: Of an LSTM, with peepholes or without, `input`, `forget`, `candidate`, `output`; of a
            GRU `update`, `reset`, `candidate`; of an RWA `candidate`, its `log_weight`, and the
            `share` it gets in the average; none of a simple RNN; `[B, T, U]` each. NaN where no
            token was read.
    """

    name: str
    cell: str
    is_backward: bool
    mask: Array
    initial: dict[str, Array]
    states: dict[str, Array]
    gates: dict[str, Array]

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
    """Runs a layer and returns what it went through.

    Args:
        layer: `LSTM`, `GRU` or `SimpleRNN` of Keras or of this project, `PeepholeLSTM` or `RWA`,
            alone or in a `Bidirectional`; it has its weights.
        inputs: `[B, T, F]`, or what the layer reads.
        initial_state: As the layer takes it, `[B, U]` each; None: what it starts from by itself.
        mask: `[B, T]`, True = real token; None: all are.

    Returns:
        One trace, or two of a bidirectional layer, forward first.

    Raises:
        ValueError: It is another kind of layer, or one with other than the standard activations.
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
