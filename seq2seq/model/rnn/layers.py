"""The recurrent layers: Keras's own in everything but the speed, and cells that Keras lacks.

`LSTM`, `GRU` and `SimpleRNN` subclass the Keras layers: same weights, configuration, masks,
`Bidirectional`, `initial_state`, `return_sequences`, `return_state`; a GPU keeps Keras's path,
which is cuDNN there. `PeepholeLSTM` and `RWA` are used in the same way.

Nothing above this file knows that these are not the Keras layers, except that an integer input
`[B, T, 1]` may be read as vectors that are never made: one-hot vectors (`one_hot_depth`), or the
rows of a table (`table`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
from keras import ops

from seq2seq.model.rnn.equations import GRUSteps, LSTMSteps, SimpleRNNSteps
from seq2seq.model.rnn.layer import FastLayer
from seq2seq.model.rnn.loop import States, at_least_float32
from seq2seq.model.rnn.peephole import PeepholeLSTMCell, PeepholeSteps
from seq2seq.model.rnn.rwa import RWACell, RWASteps
from seq2seq.model.types import Tensor


@keras.saving.register_keras_serializable(package="seq2seq")
class LSTM(FastLayer, keras.layers.LSTM):
    """`keras.layers.LSTM`, faster on a CPU; `one_hot_depth`: see the module."""

    steps = LSTMSteps

    def _start(self, initial: Sequence[Tensor]) -> States:
        return _with_precise_c(self, initial)


@keras.saving.register_keras_serializable(package="seq2seq")
class GRU(FastLayer, keras.layers.GRU):
    """`keras.layers.GRU`, faster on a CPU; `one_hot_depth`: see the module."""

    steps = GRUSteps

    def _input_bias(self) -> Tensor:
        return self._tensor(self.cell.bias)[0]

    def _recurrent_bias(self) -> Tensor:
        if not self.use_bias:
            return super()._recurrent_bias()
        return self._tensor(self.cell.bias)[1]


@keras.saving.register_keras_serializable(package="seq2seq")
class SimpleRNN(FastLayer, keras.layers.SimpleRNN):
    """`keras.layers.SimpleRNN`, faster on a CPU; `one_hot_depth`: see the module."""

    steps = SimpleRNNSteps


class _CellLayer(FastLayer):
    """A layer over a cell that Keras lacks, which has no choice of activations and no dropout."""

    has_cudnn = False
    _is_standard = use_bias = True
    dropout = recurrent_dropout = 0.0

    @property
    def units(self) -> int:
        return self.cell.units

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "units": self.units}
        del config["cell"]
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> _CellLayer:
        return cls(**config)


@keras.saving.register_keras_serializable(package="seq2seq")
class PeepholeLSTM(_CellLayer):
    """The LSTM with peepholes (Gers & Schmidhuber 2000); called like `keras.layers.LSTM`."""

    steps = PeepholeSteps

    def __init__(self, units: int, **rnn_arguments: Any) -> None:
        cell = PeepholeLSTMCell(units, dtype=rnn_arguments.get("dtype"), name="cell")
        super().__init__(cell, **rnn_arguments)

    def _start(self, initial: Sequence[Tensor]) -> States:
        return _with_precise_c(self, initial)

    def _cell_weights(self) -> tuple[Tensor, ...]:
        return (self._tensor(self.cell.peephole),)


@keras.saving.register_keras_serializable(package="seq2seq")
class RWA(_CellLayer):
    """The recurrent weighted average (Ostmeyer & Cowell 2017); its states are told at `RWACell`.

    It is called like `keras.layers.LSTM`, but has three states, and two of them stay float32.
    """

    steps = RWASteps

    def __init__(self, units: int, learned_start: bool = True, **rnn_arguments: Any) -> None:
        """Says what is needed to make the weights.

        Args:
            units: U.
            learned_start: See `RWACell`.
            **rnn_arguments: Those of `keras.layers.RNN`, and `one_hot_depth`.

        Raises:
            ValueError: `stateful` is asked for.
        """
        cell = RWACell(units, learned_start, dtype=rnn_arguments.get("dtype"), name="cell")
        super().__init__(cell, autocast=False, **rnn_arguments)
        if self.stateful:
            raise ValueError("RWA is not stateful: hand its last states to initial_state")

    def call(
        self,
        sequences: Tensor,
        initial_state: Sequence[Tensor] | None = None,
        mask: Tensor | None = None,
        training: bool = False,
    ) -> Any:
        """As that of `keras.layers.RNN`, which would round all states to the type of h."""
        if initial_state is None:
            initial_state = self.get_initial_state(ops.shape(sequences)[0])
        if not sequences.dtype.is_integer:
            sequences = ops.cast(sequences, self.compute_dtype)
        last, outputs, states = self.inner_loop(
            sequences, self._start(initial_state), mask, training=training
        )
        output = outputs if self.return_sequences else last
        return (output, *states) if self.return_state else output

    def _start(self, initial: Sequence[Tensor]) -> States:
        return self.cell.precise(initial)

    def _input_bias(self) -> Tensor:
        return ops.cast(self.cell.padded_bias(), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "learned_start": self.cell.learned_start}


def _with_precise_c(layer: keras.layers.Layer, initial: Sequence[Tensor]) -> States:
    # The cell state adds up over time, which bfloat16 is too coarse for.
    h, c = initial
    dtype = layer.compute_dtype
    return ops.cast(h, dtype), ops.cast(c, at_least_float32(dtype))


RECURRENT_LAYERS: dict[str, Callable[..., keras.layers.RNN]] = {
    "lstm": LSTM,
    # As it was before forget gates were opened at first (Gers et al. 2000, Jozefowicz et al. 2015).
    "lstm_zero_forget_bias": partial(LSTM, unit_forget_bias=False),
    "gru": GRU,
    "simple_rnn": SimpleRNN,
    "peephole_lstm": PeepholeLSTM,
    "rwa": RWA,
}
STATE_NAMES = {
    "lstm": LSTMSteps.state_names,
    "lstm_zero_forget_bias": LSTMSteps.state_names,
    "gru": GRUSteps.state_names,
    "simple_rnn": SimpleRNNSteps.state_names,
    "peephole_lstm": PeepholeSteps.state_names,
    "rwa": RWASteps.state_names,
}
# Those that do not survive rounding to bfloat16 between two calls.
FLOAT32_STATES = frozenset({"state_m", "state_w"})


def recurrent_layer(
    cell: str, units: int, one_hot_depth: int | None, name: str, is_seeded: bool = False
) -> keras.layers.RNN:
    """Creates a layer of an encoder or decoder, which returns its sequence and its states.

    Args:
        cell: A key of `RECURRENT_LAYERS`.
        units: U.
        one_hot_depth: How many classes an integer input has; None: it reads vectors.
        name: Of the layer.
        is_seeded: Whether it is always given its initial state, so that it needs none of its own.
    """
    own = {"learned_start": False} if is_seeded and cell == "rwa" else {}
    return RECURRENT_LAYERS[cell](
        units,
        return_sequences=True,
        return_state=True,
        one_hot_depth=one_hot_depth,
        name=name,
        **own,
    )
