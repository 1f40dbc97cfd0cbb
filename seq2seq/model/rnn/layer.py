"""A Keras recurrent layer with our loop over time in the place of Keras's.

`FastLayer` projects the input of all time steps at once and runs the loop of `loop.py`. All else,
weights, configuration, masks, `Bidirectional`, `initial_state`, is that of the Keras layer behind
it. It knows no cell in particular; the layers are in `recurrent.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from seq2seq.hardware import has_gpu
from seq2seq.model.rnn.loop import (
    States,
    Weights,
    gather_rows,
    run_forward,
    run_step,
    run_steps,
    states_before,
)
from seq2seq.model.types import Tensor


class FastLayer(keras.layers.RNN):
    """What the layers of `recurrent.py` share; stands before the Keras layer in their bases."""

    steps: Any
    has_cudnn = True  # A GPU has a loop for this cell that is faster than ours.
    # Returns the vectors [V, I] that an integer input stands for, unless that is one-hot. It is a
    # function, because Keras would take weights in an attribute for the layer's own.
    table: Callable[[], Tensor] | None = None

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
        elif self.table is not None:
            sequences_shape = (*sequences_shape[:2], self.table().shape[1])
        super().build(sequences_shape)

    def inner_loop(
        self, sequences: Tensor, initial_state: Any, mask: Tensor | None, training: bool = False
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Returns the last output `[B, U]`, all outputs `[B, T, U]` and the final states."""
        if not self.is_fast:
            vectors = self._vectors(sequences)
            return super().inner_loop(vectors, initial_state, mask, training=training)
        x, time_mask = self._in_time(sequences, mask, training)
        initial, weights = self._start(initial_state), self._weights()
        if x.shape[0] == 1 and time_mask is None:
            # A single step, as in a search, needs no loop.
            final, _ = run_step(self.steps, x[0], initial, weights)
            return final[0], final[0][:, None], [*final]
        sequence, final = run_steps(self.steps, x, initial, weights, time_mask)
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
        initial = self._start(initial_state)
        states, saved, _ = run_forward(self.steps, x, initial, self._weights(), time_mask)
        gates = self.steps.gates(saved, states_before(initial, states))
        names = self.steps.state_names + self.steps.gate_names
        found = dict(zip(names, (*states, *gates), strict=True))
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
        """Whether this layer runs our loop: with the standard activations, where cuDNN is not.

        Recurrent dropout, unrolling and a GRU with `reset_after=False` are left to Keras.
        """
        is_left_to_cudnn = self.has_cudnn and has_gpu()
        is_simple = not self.recurrent_dropout and not self.unroll
        return self._is_standard and is_simple and not is_left_to_cudnn

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
        elif self.table is not None and sequences.dtype.is_integer:
            x = _multiply_rows(self.table(), kernel, tf.transpose(sequences[..., 0]))
        else:
            if training and self.dropout:
                # Keras's mask: the same units at every step (Gal & Ghahramani 2016).
                sequences = sequences * self.cell.get_dropout_mask(sequences[:, 0])[:, None]
            x = tf.matmul(tf.transpose(sequences, [1, 0, 2]), kernel)
        return x + self._input_bias() if self.use_bias else x

    def _vectors(self, sequences: Tensor) -> Tensor:
        """Returns what the input stands for `[B, T, I]`."""
        if self.one_hot_depth is not None:
            return ops.one_hot(sequences[..., 0], self.one_hot_depth, dtype=self.compute_dtype)
        if self.table is not None and sequences.dtype.is_integer:
            return tf.gather(self.table(), sequences[..., 0])
        return sequences

    def _tensor(self, weight: keras.Variable) -> Tensor:
        # A plain tensor: tf.custom_gradient treats variables apart.
        return tf.cast(tf.identity(weight.value), self.compute_dtype)

    def _start(self, initial: Sequence[Tensor]) -> States:
        """Returns the initial states in the types that the loop keeps them in."""
        return tuple(ops.cast(state, self.compute_dtype) for state in initial)

    def _weights(self) -> Weights:
        kernel = self._tensor(self.cell.recurrent_kernel)
        return Weights(kernel, self._recurrent_bias(), self._cell_weights())

    def _cell_weights(self) -> tuple[Tensor, ...]:
        """Returns what `steps` weighs with besides the kernels and biases."""
        return ()

    def _input_bias(self) -> Tensor:
        return self._tensor(self.cell.bias)

    def _recurrent_bias(self) -> Tensor:
        return tf.zeros([self.cell.recurrent_kernel.shape[1]], self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "one_hot_depth": self.one_hot_depth}


def _multiply_rows(table: Tensor, kernel: Tensor, ids: Tensor) -> Tensor:
    """Returns the rows of `table` `[V, I]` with the ids `[T, B]`, times `kernel`: `[T, B, G]`.

    Where more rows are read than there are, each is multiplied once and read from the product. In a
    search XLA then makes this product before the loop.
    """
    return tf.cond(
        tf.size(ids) >= table.shape[0],
        lambda: gather_rows(tf.matmul(table, kernel), ids),
        lambda: tf.matmul(tf.gather(table, ids), kernel),
    )
