"""The simple recurrent network."""

from __future__ import annotations

from typing import ClassVar

import keras
import tensorflow as tf

from seq2seq.model.rnn.cells import CellSpec
from seq2seq.model.rnn.equations import SIGNED, Bounds, Equations, LocalGradients, Saved, States
from seq2seq.model.rnn.layer import FastLayer
from seq2seq.model.types import Tensor


class SimpleRNNEquations(Equations):
    """Simple recurrent network (Elman 1990): h' = tanh(x + h U)."""

    saved_count, gradient_count = 0, 1
    state_names = ("state_h",)
    gate_names = ()
    bounds: ClassVar[Bounds] = {"state_h": SIGNED}

    @staticmethod
    def forward(
        x: Tensor, recurrent: Tensor, states: States, weights: tuple[Tensor, ...]
    ) -> tuple[States, Saved]:
        """Input and product `[B, U]` → h, from which the backward pass follows."""
        return (tf.tanh(x + recurrent),), ()

    @staticmethod
    def local_gradients(
        saved: Saved, before: States, after: States, weights: tuple[Tensor, ...]
    ) -> LocalGradients:
        """The derivative of tanh."""
        return (1.0 - after[0] * after[0],)

    @staticmethod
    def backward(local: LocalGradients, d_after: States) -> tuple[Saved, States]:
        """Gradient by the recurrent product `[B, U]`."""
        (d_h,) = d_after
        return (d_h * local[0],), (tf.zeros_like(d_h),)

    @staticmethod
    def input_gradient(gradients: Saved) -> Tensor:
        """That by the recurrent product: input and product are added."""
        return gradients[0]

    @staticmethod
    def gates(saved: Saved, before: States) -> tuple[Tensor, ...]:
        """The cell has none."""
        return ()


@keras.saving.register_keras_serializable(package="seq2seq")
class SimpleRNN(FastLayer, keras.layers.SimpleRNN):
    """`keras.layers.SimpleRNN` with the faster loop of `FastLayer`."""

    equations = SimpleRNNEquations


SPEC = CellSpec(layer=SimpleRNN, equations=SimpleRNNEquations, keras_layer=keras.layers.SimpleRNN)
