"""The LSTM with peepholes: a step in plain tensors, see `steps.py`, and as a Keras cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from seq2seq.model.rnn.equations import LSTMSteps
from seq2seq.model.rnn.loop import Saved, Slopes, States, at_least_float32
from seq2seq.model.types import Tensor


class PeepholeSteps:
    """An LSTM whose gates also see the cell state (Gers & Schmidhuber 2000).

    Input and forget gate see it as it was before the step, the output gate as it is after. Every
    unit sees its own only: the weights `peephole` are diagonal, `[3, U]` in the order i, f, o.
    """

    saved, gradients = LSTMSteps.saved, LSTMSteps.gradients
    state_names = LSTMSteps.state_names
    gate_names = LSTMSteps.gate_names
    gates = staticmethod(LSTMSteps.gates)
    # The peepholes change what the way back multiplies by, and nothing else in it.
    backward = staticmethod(LSTMSteps.backward)
    input_gradient = staticmethod(LSTMSteps.input_gradient)

    @staticmethod
    def forward(
        x: Tensor, recurrent: Tensor, states: States, peephole: Tensor
    ) -> tuple[States, Saved]:
        """One step, as for the LSTM."""
        _, c = states
        of_i, of_f, of_o = tf.unstack(tf.cast(peephole, c.dtype))
        i, f, g, o = tf.split(tf.cast(x + recurrent, c.dtype), 4, axis=-1)
        i, f, g = tf.sigmoid(i + of_i * c), tf.sigmoid(f + of_f * c), tf.tanh(g)
        c = f * c + i * g
        o = tf.sigmoid(o + of_o * c)
        gates = tf.concat([i, f, g, o], axis=-1)
        return (tf.cast(o * tf.tanh(c), x.dtype), c), (tf.cast(gates, x.dtype),)

    @staticmethod
    def slopes(saved: Saved, before: States, after: States, peephole: Tensor) -> Slopes:
        """Those of the LSTM; through the peepholes the gates' slopes add to those of c."""
        of_i, of_f, of_g, of_o, of_c, f = LSTMSteps.slopes(saved, before, after)
        see_i, see_f, see_o = tf.unstack(tf.cast(peephole, of_c.dtype))
        of_c_before = f + of_i * see_i + of_f * see_f
        return of_i, of_f, of_g, of_o, of_c + of_o * see_o, of_c_before

    @staticmethod
    def weight_gradients(gradients: Saved, before: States, after: States) -> tuple[Tensor, ...]:
        """That of `peephole`: what its gates were wanted to change, times what they saw."""
        d_gates = tf.cast(gradients[0], at_least_float32(gradients[0].dtype))
        d_i, d_f, _, d_o = tf.split(d_gates, 4, axis=-1)
        seen = (d_i * before[1], d_f * before[1], d_o * after[1])
        d_peephole = tf.stack([tf.reduce_sum(one, axis=[0, 1]) for one in seen])
        return (tf.cast(d_peephole, gradients[0].dtype),)


@keras.saving.register_keras_serializable(package="seq2seq")
class PeepholeLSTMCell(keras.layers.Layer):
    """One step of an LSTM with peepholes (Gers & Schmidhuber 2000), see `PeepholeSteps`.

    The weights are those of `keras.layers.LSTMCell`, forget bias of 1 included, and `peephole`.
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
        after, _ = PeepholeSteps.forward(x, recurrent, tuple(states), self.peephole)
        return after[0], [*after]

    def get_initial_state(self, batch_size: Any = None) -> list[Tensor]:
        """Returns zeros for h and c."""
        return [ops.zeros((batch_size, self.units), self.compute_dtype) for _ in self.state_size]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


def _forget_bias_of_1(shape: Any, dtype: Any = None) -> Tensor:
    """The bias `[4U]` of i, f, c, o that lets the cell remember at first (Gers et al. 2000)."""
    units = shape[0] // 4
    return ops.concatenate(
        [ops.zeros(units, dtype), ops.ones(units, dtype), ops.zeros(2 * units, dtype)]
    )
