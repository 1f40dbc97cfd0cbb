"""The LSTM with peepholes: its equations, the Keras cell that Keras lacks, and the layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from seq2seq.model.rnn.cells import KERNEL_INITIALIZERS, CellSpec
from seq2seq.model.rnn.equations import LocalGradients, Saved, States
from seq2seq.model.rnn.layer import CellLayer
from seq2seq.model.rnn.lstm import LSTMEquations
from seq2seq.model.types import Tensor, at_least_float32


class PeepholeLSTMEquations(LSTMEquations):
    """An LSTM whose gates also see the cell state (Gers & Schmidhuber 2000).

    Input and forget gate see c before the step, the output gate sees c after it. The weights
    `peephole` `[3, U]`, in the order i, f, o, are diagonal: every unit sees only its own c. They
    change the factors of the backward pass, but not its form, so `backward` is that of the LSTM.
    """

    @staticmethod
    def forward(
        x: Tensor, recurrent: Tensor, states: States, weights: tuple[Tensor, ...]
    ) -> tuple[States, Saved]:
        """Input and product `[B, 4U]` → h and c; the gates `[B, 4U]` are saved."""
        _, c = states
        (peephole,) = weights
        see_i, see_f, see_o = tf.unstack(tf.cast(peephole, c.dtype))
        i, f, g, o = tf.split(tf.cast(x + recurrent, c.dtype), 4, axis=-1)
        i, f, g = tf.sigmoid(i + see_i * c), tf.sigmoid(f + see_f * c), tf.tanh(g)
        c = f * c + i * g
        o = tf.sigmoid(o + see_o * c)
        gates = tf.concat([i, f, g, o], axis=-1)
        return (tf.cast(o * tf.tanh(c), x.dtype), c), (tf.cast(gates, x.dtype),)

    @staticmethod
    def local_gradients(
        saved: Saved, before: States, after: States, weights: tuple[Tensor, ...]
    ) -> LocalGradients:
        """Those of the LSTM, with the paths through the peepholes added to both c."""
        of_i, of_f, of_g, of_o, of_c, f = LSTMEquations.local_gradients(saved, before, after, ())
        (peephole,) = weights
        see_i, see_f, see_o = tf.unstack(tf.cast(peephole, of_c.dtype))
        of_c_before = f + of_i * see_i + of_f * see_f
        return of_i, of_f, of_g, of_o, of_c + of_o * see_o, of_c_before

    @staticmethod
    def weight_gradients(gradients: Saved, before: States, after: States) -> tuple[Tensor, ...]:
        """That by `peephole` `[3, U]`: each gate's gradient times the c that the gate saw."""
        # T · B summands, too many for a sum in bfloat16.
        d_gates = tf.cast(gradients[0], at_least_float32(gradients[0].dtype))
        d_i, d_f, _, d_o = tf.split(d_gates, 4, axis=-1)  # [T, B, U] each
        seen = (d_i * before[1], d_f * before[1], d_o * after[1])
        d_peephole = tf.stack([tf.reduce_sum(one, axis=[0, 1]) for one in seen])
        return (tf.cast(d_peephole, gradients[0].dtype),)


@keras.saving.register_keras_serializable(package="seq2seq")
class PeepholeLSTMCell(keras.layers.Layer):
    """One step of an LSTM with peepholes (Gers & Schmidhuber 2000), see `PeepholeLSTMEquations`.

    The weights are those of `keras.layers.LSTMCell`, including its forget bias of 1, and
    `peephole`.
    """

    def __init__(self, units: int, **layer_arguments: Any) -> None:
        super().__init__(**layer_arguments)
        self.units = units
        self.state_size = [units, units]
        self.output_size = units

    def build(self, input_shape: Any) -> None:
        gates = 4 * self.units
        self.kernel = self.add_weight(
            shape=(input_shape[-1], gates), initializer="glorot_uniform", name="kernel"
        )
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, gates), initializer="orthogonal", name="recurrent_kernel"
        )
        self.bias = self.add_weight(shape=(gates,), initializer=_forget_bias_of_1, name="bias")
        self.peephole = self.add_weight(
            shape=(3, self.units), initializer="glorot_uniform", name="peephole"
        )

    def call(
        self, inputs: Tensor, states: Sequence[Tensor], training: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """One step: input `[B, F]`, h and c → h, and h and c, `[B, U]` each."""
        x = ops.matmul(inputs, self.kernel) + self.bias
        recurrent = ops.matmul(states[0], self.recurrent_kernel)
        weights = (self.peephole,)
        after, _ = PeepholeLSTMEquations.forward(x, recurrent, tuple(states), weights)
        return after[0], [*after]

    def get_initial_state(self, batch_size: Any = None) -> list[Tensor]:
        """Returns zeros for h and c."""
        return [ops.zeros((batch_size, self.units), self.compute_dtype) for _ in self.state_size]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


def _forget_bias_of_1(shape: Any, dtype: Any = None) -> Tensor:
    """Returns the bias `[4U]` of i, f, c, o that opens the forget gate (Gers et al. 2000)."""
    units = shape[0] // 4
    return ops.concatenate(
        [ops.zeros(units, dtype), ops.ones(units, dtype), ops.zeros(2 * units, dtype)]
    )


@keras.saving.register_keras_serializable(package="seq2seq")
class PeepholeLSTM(CellLayer):
    """The LSTM with peepholes (Gers & Schmidhuber 2000); called like `keras.layers.LSTM`."""

    equations = PeepholeLSTMEquations

    def __init__(self, units: int, **rnn_arguments: Any) -> None:
        cell = PeepholeLSTMCell(units, dtype=rnn_arguments.get("dtype"), name="cell")
        super().__init__(cell, **rnn_arguments)

    def _cell_weights(self) -> tuple[Tensor, ...]:
        return (self._tensor(self.cell.peephole),)


SPEC = CellSpec(
    layer=PeepholeLSTM,
    equations=PeepholeLSTMEquations,
    initializers={**KERNEL_INITIALIZERS, "peephole": keras.initializers.GlorotUniform},
)
