"""The gated recurrent unit."""

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


class GRUEquations(Equations):
    """Gated recurrent unit (Cho et al. 2014), in Keras's order z (update), r (reset), candidate.

    The reset gate applies after the recurrent product (`reset_after` of Keras), which lets all
    three products be one: g = tanh(x_g + r (h U_g)), h' = z h + (1 - z) g.
    """

    saved_count, gradient_count = 3, 2
    state_names = ("state_h",)
    gate_names = ("update", "reset", "candidate")
    bounds: ClassVar[Bounds] = {
        "state_h": SIGNED,
        "update": SHARE,
        "reset": SHARE,
        "candidate": SIGNED,
    }

    @staticmethod
    def forward(
        x: Tensor, recurrent: Tensor, states: States, weights: tuple[Tensor, ...]
    ) -> tuple[States, Saved]:
        """Input and product `[B, 3U]` → h; saves z and r `[B, 2U]`, g, and g's share of the product
        before the reset gate."""
        (h,) = states
        units = h.shape[-1]
        # Both sigmoids as one tanh, see `LSTMEquations.forward`.
        gates = 0.5 * tf.tanh(0.5 * (x + recurrent)[:, : 2 * units]) + 0.5
        z, r = tf.split(gates, 2, axis=-1)
        candidate = tf.tanh(x[:, 2 * units :] + r * recurrent[:, 2 * units :])
        saved = (gates, candidate, recurrent[:, 2 * units :])
        return (z * h + (1.0 - z) * candidate,), saved

    @staticmethod
    def local_gradients(
        saved: Saved, before: States, after: States, weights: tuple[Tensor, ...]
    ) -> LocalGradients:
        """Those of z, r, the candidate's input and its recurrent part; and z, that of h' by h."""
        gates, candidate, recurrent = saved
        z, r = tf.split(gates, 2, axis=-1)
        of_candidate = (1.0 - z) * (1.0 - candidate * candidate)
        return (
            (before[0] - candidate) * z * (1.0 - z),
            of_candidate * recurrent * r * (1.0 - r),
            of_candidate,
            of_candidate * r,
            z,
        )

    @staticmethod
    def backward(local: LocalGradients, d_after: States) -> tuple[Saved, States]:
        """Gradients by the recurrent product `[B, 3U]` and by the candidate's input `[B, U]`."""
        (d_h,) = d_after
        of_z, of_r, of_candidate, of_recurrent, z = local
        d_recurrent = tf.concat([d_h * of_z, d_h * of_r, d_h * of_recurrent], axis=-1)
        return (d_recurrent, d_h * of_candidate), (d_h * z,)

    @staticmethod
    def input_gradient(gradients: Saved) -> Tensor:
        """That by the product for z and r; the candidate's input does not pass the reset gate."""
        d_recurrent, d_candidate = gradients
        units = d_candidate.shape[-1]
        return tf.concat([d_recurrent[..., : 2 * units], d_candidate], axis=-1)

    @staticmethod
    def gates(saved: Saved, before: States) -> tuple[Tensor, ...]:
        """The saved z and r, split, and the candidate."""
        return (*tf.split(saved[0], 2, axis=-1), saved[1])


@keras.saving.register_keras_serializable(package="seq2seq")
class GRU(FastLayer, keras.layers.GRU):
    """`keras.layers.GRU` with the faster loop of `FastLayer`."""

    equations = GRUEquations
    has_cudnn = True

    def _input_bias(self) -> Tensor:
        # With reset_after Keras keeps two biases [2, 3U]: of the input, and of the product.
        return self._tensor(self.cell.bias)[0]

    def _recurrent_bias(self) -> Tensor:
        if not self.use_bias:
            return super()._recurrent_bias()
        return self._tensor(self.cell.bias)[1]


SPEC = CellSpec(layer=GRU, equations=GRUEquations, keras_layer=keras.layers.GRU)
