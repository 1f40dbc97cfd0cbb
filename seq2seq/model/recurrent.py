"""Recurrent layers that are Keras's own in everything but the speed of their loop.

`LSTM`, `GRU` and `SimpleRNN` subclass the Keras layers: same weights, configuration, masks,
`Bidirectional`, `initial_state`, `return_sequences`, `return_state`. Only `inner_loop` is ours: it
projects the input of all time steps at once and runs the loop of `steps.py`. A GPU keeps Keras's
path, which is cuDNN there.

Nothing above this file knows that these are not the Keras layers, except that an integer input
`[B, T, 1]` may be read as one-hot vectors that are never made (`one_hot_depth`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from seq2seq.hardware import has_gpu
from seq2seq.model.steps import (
    GRUSteps,
    LSTMSteps,
    SimpleRNNSteps,
    States,
    at_least_float32,
    gather_rows,
    run_forward,
    run_steps,
)

Tensor = Any


class _FastLoop(keras.layers.RNN):
    """What the three layers share; stands before the Keras layer in their bases."""

    steps: Any

    def __init__(self, *args: Any, one_hot_depth: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if one_hot_depth is not None and self.dropout:
            raise ValueError("dropout on the input needs dense input, not one_hot_depth")
        self.one_hot_depth = one_hot_depth
        if not has_gpu():
            self.supports_jit = True  # Keras says False wherever cuDNN could be meant.

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        if self.one_hot_depth is not None:
            sequences_shape = (*sequences_shape[:2], self.one_hot_depth)
        super().build(sequences_shape)

    def inner_loop(
        self, sequences: Tensor, initial_state: Any, mask: Tensor | None, training: bool = False
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Returns the last output `[B, U]`, all outputs `[B, T, U]` and the final states."""
        if not self.is_fast:
            if self.one_hot_depth is not None:
                depth, dtype = self.one_hot_depth, self.compute_dtype
                sequences = ops.one_hot(sequences[..., 0], depth, dtype=dtype)
            return super().inner_loop(sequences, initial_state, mask, training=training)
        x, time_mask = self._in_time(sequences, mask, training)
        kernel = self._tensor(self.cell.recurrent_kernel)
        bias = self._recurrent_bias()
        initial = self._start(tuple(initial_state))
        if x.shape[0] == 1 and time_mask is None:
            # A single step, as in a search, needs no loop.
            recurrent = tf.matmul(initial[0], kernel) + bias
            final, _ = self.steps.forward(x[0], recurrent, initial)
            return final[0], final[0][:, None], [*final]
        sequence, final = run_steps(self.steps, x, initial, kernel, bias, time_mask)
        if time_mask is not None:
            # A masked step repeats the output before it, which is zero before the first real step.
            is_written = time_mask
            if not self.zero_output_for_mask:
                is_written = tf.cumsum(tf.cast(time_mask, tf.int32)) > 0
            sequence = tf.where(is_written, sequence, tf.zeros_like(sequence))
        return sequence[-1], tf.transpose(sequence, [1, 0, 2]), [*final]

    def trace(
        self, sequences: Tensor, initial_state: Sequence[Tensor], mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Returns what `call` keeps to itself: every state and gate at every step `[B, T, U]`.

        The steps are in the order of the input, with `go_backwards` too; a masked step shows the
        states before it. Dropout is off.

        Raises:
            ValueError: The layer has other than the standard activations.
        """
        if not self._is_standard:
            raise ValueError(
                f"the gates of {self.name} are not at hand: it has other than the standard "
                "activations, or reset_after=False"
            )
        x, time_mask = self._in_time(sequences, mask, training=False)
        kernel = self._tensor(self.cell.recurrent_kernel)
        initial = self._start(tuple(initial_state))
        states, saved = run_forward(
            self.steps, x, initial, kernel, self._recurrent_bias(), time_mask
        )
        names = ("state_h", "state_c")[: len(states)] + self.steps.gate_names
        found = dict(zip(names, (*states, *self.steps.gates(saved)), strict=True))
        order = [0] if self.go_backwards else []
        return {n: tf.transpose(tf.reverse(v, order), [1, 0, 2]) for n, v in found.items()}

    def _in_time(
        self, sequences: Tensor, mask: Tensor | None, training: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Returns the projected input `[T, B, G]` and the mask `[T, B, 1]`, in running order."""
        x = self._project(sequences, training)
        if mask is not None:
            mask = tf.transpose(tf.cast(keras.tree.flatten(mask)[0], tf.bool))[..., None]
        if self.go_backwards:
            x = tf.reverse(x, [0])
            mask = None if mask is None else tf.reverse(mask, [0])
        return x, mask

    @property
    def is_fast(self) -> bool:
        """Whether this layer runs our loop: on a CPU, with the standard activations.

        Recurrent dropout, unrolling and a GRU with `reset_after=False` are left to Keras.
        """
        return (
            self._is_standard and not self.recurrent_dropout and not self.unroll and not has_gpu()
        )

    @property
    def _is_standard(self) -> bool:
        """Whether our loop computes the same numbers as Keras's."""
        return (
            self.activation is keras.activations.tanh
            and getattr(self, "recurrent_activation", keras.activations.sigmoid)
            is keras.activations.sigmoid
            and getattr(self, "reset_after", True)
        )

    def _project(self, sequences: Tensor, training: bool) -> Tensor:
        """Returns the input's share of the gates for all steps `[T, B, G]`."""
        kernel = self._tensor(self.cell.kernel)
        if self.one_hot_depth is not None:
            if not sequences.dtype.is_integer:
                dtype = sequences.dtype.name
                raise ValueError(f"one_hot_depth reads integer class indices, not {dtype}")
            x = gather_rows(kernel, tf.transpose(sequences[..., 0]))
        else:
            if training and self.dropout:
                # Keras's mask: the same units at every step (Gal & Ghahramani 2016).
                sequences = sequences * self.cell.get_dropout_mask(sequences[:, 0])[:, None]
            x = tf.matmul(tf.transpose(sequences, [1, 0, 2]), kernel)
        return x + self._input_bias() if self.use_bias else x

    def _tensor(self, weight: keras.Variable) -> Tensor:
        # A plain tensor: tf.custom_gradient treats variables apart.
        return tf.cast(tf.identity(weight.value), self.compute_dtype)

    def _start(self, initial: States) -> States:
        return initial

    def _input_bias(self) -> Tensor:
        return self._tensor(self.cell.bias)

    def _recurrent_bias(self) -> Tensor:
        return tf.zeros([self.cell.recurrent_kernel.shape[1]], self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "one_hot_depth": self.one_hot_depth}


@keras.saving.register_keras_serializable(package="seq2seq")
class LSTM(_FastLoop, keras.layers.LSTM):
    """`keras.layers.LSTM`, faster on a CPU; `one_hot_depth`: see the module."""

    steps = LSTMSteps

    def _start(self, initial: States) -> States:
        # The cell state adds up over time, which bfloat16 is too coarse for.
        h, c = initial
        return h, ops.cast(c, at_least_float32(c.dtype))


@keras.saving.register_keras_serializable(package="seq2seq")
class GRU(_FastLoop, keras.layers.GRU):
    """`keras.layers.GRU`, faster on a CPU; `one_hot_depth`: see the module."""

    steps = GRUSteps

    def _input_bias(self) -> Tensor:
        return self._tensor(self.cell.bias)[0]

    def _recurrent_bias(self) -> Tensor:
        if not self.use_bias:
            return super()._recurrent_bias()
        return self._tensor(self.cell.bias)[1]


@keras.saving.register_keras_serializable(package="seq2seq")
class SimpleRNN(_FastLoop, keras.layers.SimpleRNN):
    """`keras.layers.SimpleRNN`, faster on a CPU; `one_hot_depth`: see the module."""

    steps = SimpleRNNSteps


RECURRENT_LAYERS: dict[str, type[keras.layers.RNN]] = {
    "lstm": LSTM,
    "gru": GRU,
    "simple_rnn": SimpleRNN,
}
STATE_NAMES = {"lstm": ("state_h", "state_c"), "gru": ("state_h",), "simple_rnn": ("state_h",)}
