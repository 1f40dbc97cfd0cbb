"""Long short-term memory, with the initial forget bias of 1 of Gers et al. (2000)."""

from __future__ import annotations

from typing import ClassVar

import keras
import tensorflow as tf

from seq2seq.model.rnn.cells import CellSpec
from seq2seq.model.rnn.equations import (
    SHARE,
    SIGNED,
    Bounds,
    Equations,
    LocalGradients,
    Saved,
    States,
)
from seq2seq.model.rnn.layer import FastLayer
from seq2seq.model.types import Tensor


class LSTMEquations(Equations):
    """Long short-term memory (Hochreiter & Schmidhuber 1997), gates in Keras's order i, f, c, o.

    c' = f c + i g, h' = o tanh(c').
    """

    saved_count, gradient_count = 1, 1
    state_names = ("state_h", "state_c")
    gate_names = ("input", "forget", "candidate", "output")
    precise_states = frozenset({"state_c"})
    tanh_states = frozenset({"state_c"})
    bounds: ClassVar[Bounds] = {
        "state_h": SIGNED,
        "input": SHARE,
        "forget": SHARE,
        "candidate": SIGNED,
        "output": SHARE,
    }

    @staticmethod
    def forward(
        x: Tensor, recurrent: Tensor, states: States, weights: tuple[Tensor, ...]
    ) -> tuple[States, Saved]:
        """Input and product `[B, 4U]` → h and c; the gates `[B, 4U]` are saved."""
        _, c = states
        units = x.shape[-1] // 4
        # sigmoid(x) = tanh(x / 2) / 2 + 1 / 2, so all four gates are one tanh: a single pass over
        # memory and no concatenation. The candidate's scale of 1 leaves it a plain tanh.
        scale = tf.constant([0.5] * (2 * units) + [1.0] * units + [0.5] * units, c.dtype)
        # In the type of c, which may be more precise than that of x.
        gates = tf.tanh(tf.cast(x + recurrent, c.dtype) * scale) * scale + (1.0 - scale)
        i, f, g, o = tf.split(gates, 4, axis=-1)
        c = f * c + i * g
        return (tf.cast(o * tf.tanh(c), x.dtype), c), (tf.cast(gates, x.dtype),)

    @staticmethod
    def local_gradients(
        saved: Saved, before: States, after: States, weights: tuple[Tensor, ...]
    ) -> LocalGradients:
        """Those of i, f, g and o, of c' through h', and f, the gradient of c' by c."""
        c_before, c = before[1], after[1]
        i, f, g, o = tf.split(tf.cast(saved[0], c.dtype), 4, axis=-1)
        tanh_c = tf.tanh(c)
        # A sigmoid s has the derivative s (1 - s), a tanh t the derivative 1 - t².
        return (
            g * i * (1.0 - i),
            c_before * f * (1.0 - f),
            i * (1.0 - g * g),
            tanh_c * o * (1.0 - o),
            o * (1.0 - tanh_c * tanh_c),
            f,
        )

    @staticmethod
    def backward(local: LocalGradients, d_after: States) -> tuple[Saved, States]:
        """Gradient by the recurrent product `[B, 4U]`; h has no path but the product."""
        of_i, of_f, of_g, of_o, of_c, f = local
        d_h, d_c = tf.cast(d_after[0], d_after[1].dtype), d_after[1]
        # c' reaches the loss through later steps and through h'.
        d_c = d_c + d_h * of_c
        d_gates = tf.concat([d_c * of_i, d_c * of_f, d_c * of_g, d_h * of_o], axis=-1)
        return (tf.cast(d_gates, d_after[0].dtype),), (tf.zeros_like(d_after[0]), d_c * f)

    @staticmethod
    def input_gradient(gradients: Saved) -> Tensor:
        """That by the recurrent product: input and product are added."""
        return gradients[0]

    @staticmethod
    def gates(saved: Saved, before: States) -> tuple[Tensor, ...]:
        """The saved array `[T, B, 4U]`, split."""
        return tuple(tf.split(saved[0], 4, axis=-1))


@keras.saving.register_keras_serializable(package="seq2seq")
class LSTM(FastLayer, keras.layers.LSTM):
    """`keras.layers.LSTM` with the faster loop of `FastLayer`."""

    equations = LSTMEquations
    has_cudnn = True


SPEC = CellSpec(layer=LSTM, equations=LSTMEquations, keras_layer=keras.layers.LSTM)
