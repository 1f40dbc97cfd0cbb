"""The recurrent weighted average: a step in plain tensors, see `steps.py`, and as a Keras cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from seq2seq.model.rnn.loop import Saved, Slopes, States, at_least_float32
from seq2seq.model.types import Tensor

# The log weight of an average of nothing: its exponential is 0 whatever is added to it, and it is
# still a number in bfloat16.
NOTHING = -1e9


class RWASteps:
    """Recurrent weighted average (Ostmeyer & Cowell 2017).

    Every step makes a candidate z and a weight exp(a); h is tanh of the weighted average of all
    candidates so far. The paper keeps a numerator n and a denominator d, which overflow. Kept here
    are the average m = n / d and w = log d, from which the same average follows:

        w' = log(exp(w) + exp(a)),  s = exp(a - w'),  m' = m + s (z - m),  h' = tanh(m').

    Any m and w are a state: m is what was averaged, with the total weight exp(w).
    """

    saved, gradients = 3, 2
    state_names: tuple[str, ...] = ("state_h", "state_m", "state_w")
    gate_names = ("candidate", "log_weight", "share")

    @staticmethod
    def gates(saved: Saved, before: States) -> tuple[Tensor, ...]:
        """The candidate z, a, and s: the share of the new candidate in the average."""
        u, g, a = saved
        a = tf.cast(a, before[2].dtype)
        return u * g, a, tf.sigmoid(a - before[2])

    @staticmethod
    def forward(x: Tensor, recurrent: Tensor, states: States) -> tuple[States, Saved]:
        """One step: input `[B, 3U]` of u, g, a and product `[B, 2U]` of g, a → new states."""
        _, m, w = states
        units = m.shape[-1]
        u = x[:, :units]
        g, a = tf.split(x[:, units:] + recurrent, 2, axis=-1)
        g = tf.tanh(g)
        saved = (u, g, a)
        u, g, a = (tf.cast(one, m.dtype) for one in saved)
        # This form of log(exp(w) + exp(a)) neither overflows nor loses the smaller one.
        total = tf.maximum(w, a) + tf.math.softplus(-tf.abs(w - a))
        m = m + tf.sigmoid(a - w) * (u * g - m)
        return (tf.cast(tf.tanh(m), x.dtype), m, total), saved

    @staticmethod
    def slopes(saved: Saved, before: States, after: States) -> Slopes:
        """That of tanh, those of m towards u, g and a, and s."""
        _, m, w = before
        u, g, a = (tf.cast(one, m.dtype) for one in saved)
        s = tf.sigmoid(a - w)
        h = tf.cast(after[0], m.dtype)
        return 1.0 - h * h, s * g, s * u * (1.0 - g * g), s * (1.0 - s) * (u * g - m), s

    @staticmethod
    def backward(slopes: Slopes, d_after: States) -> tuple[Saved, States]:
        """One step, as for the LSTM; the gradient of u besides."""
        d_h, d_m, d_w = d_after
        of_h, of_u, of_g, of_a, s = slopes
        d_m = d_m + tf.cast(d_h, d_m.dtype) * of_h
        d_recurrent = tf.concat([d_m * of_g, d_m * of_a + d_w * s], axis=-1)
        gradients = (tf.cast(d_recurrent, d_h.dtype), tf.cast(d_m * of_u, d_h.dtype))
        return gradients, (tf.zeros_like(d_h), d_m * (1.0 - s), d_w * (1.0 - s) - d_m * of_a)

    @staticmethod
    def input_gradient(gradients: Saved) -> Tensor:
        """Only g and a look at h."""
        d_recurrent, d_u = gradients
        return tf.concat([d_u, d_recurrent], axis=-1)


@keras.saving.register_keras_serializable(package="seq2seq")
class RWACell(keras.layers.Layer):
    """One step of a recurrent weighted average (Ostmeyer & Cowell 2017), see `RWASteps`.

    The states are `state_h`, `state_m`, the average, and `state_w`, the logarithm of its total
    weight. By itself it starts from h = tanh(start), with `start` trained, and an average of
    nothing. Three states of zero mean something else: one candidate of 0 was seen with weight 1.

    Average and weight stay float32 in mixed precision, because they grow by ever smaller steps.
    """

    def __init__(self, units: int, learned_start: bool = True, **layer_arguments: Any) -> None:
        """Says what is needed to make the weights.

        Args:
            units: U.
            learned_start: Whether there is a `start`; without it h starts from 0. A cell that is
                always given its first state needs none.
            **layer_arguments: Those of `keras.layers.Layer`.
        """
        # Keras would cast the states to bfloat16 on their way in.
        super().__init__(autocast=False, **layer_arguments)
        self.units = units
        self.learned_start = learned_start
        self.state_size = [units, units, units]
        self.output_size = units

    def build(self, input_shape: Any) -> None:
        units = self.units
        self.kernel = self.add_weight(
            shape=(input_shape[-1], 3 * units), initializer="glorot_uniform", name="kernel"
        )
        self.recurrent_kernel = self.add_weight(
            shape=(units, 2 * units), initializer="orthogonal", name="recurrent_kernel"
        )
        # Of u and g only: a bias of a would change numerator and denominator alike.
        self.bias = self.add_weight(shape=(2 * units,), initializer="zeros", name="bias")
        self.start = None
        if self.learned_start:
            normal = keras.initializers.RandomNormal(stddev=1.0)
            self.start = self.add_weight(shape=(units,), initializer=normal, name="start")

    def call(
        self, inputs: Tensor, states: Sequence[Tensor], training: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """One step: input `[B, F]` and the three states → h, and the states, `[B, U]` each."""
        inputs, kernel, recurrent_kernel, bias = (
            ops.cast(tensor, self.compute_dtype)
            for tensor in (inputs, self.kernel, self.recurrent_kernel, self.padded_bias())
        )
        before = self.precise(states)
        recurrent = ops.matmul(before[0], recurrent_kernel)
        after, _ = RWASteps.forward(ops.matmul(inputs, kernel) + bias, recurrent, before)
        return after[0], [*after]

    def padded_bias(self) -> Tensor:
        """Returns the bias of u, g and a `[3U]`."""
        return ops.pad(self.bias, [(0, self.units)])

    def precise(self, states: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Returns the states in their types: h as layers compute, m and w in float32 at least."""
        precise = at_least_float32(self.compute_dtype)
        dtypes = (self.compute_dtype, precise, precise)
        return tuple(ops.cast(state, d) for state, d in zip(states, dtypes, strict=True))

    def get_initial_state(self, batch_size: Any = None) -> list[Tensor]:
        """Returns h = tanh(start), and the average of nothing."""
        zeros = ops.zeros((batch_size, self.units), at_least_float32(self.compute_dtype))
        h = zeros if self.start is None else zeros + ops.tanh(ops.cast(self.start, zeros.dtype))
        return [*self.precise([h, zeros, zeros + NOTHING])]

    def get_config(self) -> dict[str, Any]:
        own = {"units": self.units, "learned_start": self.learned_start}
        return {**super().get_config(), **own}
