"""A Keras recurrent layer with this project's loop over time.

`FastLayer` projects the input of all time steps in one product and runs the loop of `loop.py`.
Everything else is inherited from the Keras layer behind it: weights, configuration, masks,
`Bidirectional`, `initial_state`, `return_sequences`, `return_state`. On a GPU, Keras's path is
cuDNN; `compiled.py` says when it is taken. The cells' layers are in the files of the cells.

Above this file the only difference to a Keras layer is the input. An integer input `[B, T, 1]` may
stand for vectors that are never made: one-hot vectors (`one_hot_depth`), or rows of a table
(`table`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from seq2seq.hardware import has_gpu
from seq2seq.model.rnn.compiled import can_call_cudnn
from seq2seq.model.rnn.equations import Equations, States
from seq2seq.model.rnn.input_rows import gather_rows, multiply_rows
from seq2seq.model.rnn.loop import (
    Weights,
    run_forward,
    run_step,
    run_steps,
    states_before,
)
from seq2seq.model.types import Tensor, at_least_float32

# The last output, all outputs, the final states.
Outputs = tuple[Tensor, Tensor, list[Tensor]]


class FastLayer(keras.layers.RNN):
    """The base of all recurrent layers; stands before the Keras layer in their bases.

    Attributes:
        equations: The cell's equations.
        has_cudnn: Whether a GPU has a faster loop for this cell.
        table: Returns the vectors `[V, I]` that an integer input stands for; None: one-hot vectors.
            It is a function, because Keras would count weights in an attribute as the layer's own.
    """

    equations: type[Equations]
    has_cudnn = False
    table: Callable[[], Tensor] | None = None

    def __init__(self, *args: Any, one_hot_depth: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if one_hot_depth is not None and self.dropout:
            raise ValueError("dropout on the input needs dense input, not one_hot_depth")
        self.one_hot_depth = one_hot_depth
        if not has_gpu():
            # Keras says False for every layer that could be cuDNN's.
            self.supports_jit = True

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        if self.one_hot_depth is not None:
            sequences_shape = (*sequences_shape[:2], self.one_hot_depth)
        elif self.table is not None:
            sequences_shape = (*sequences_shape[:2], self.table().shape[1])
        super().build(sequences_shape)

    def inner_loop(
        self, sequences: Tensor, initial_state: Any, mask: Tensor | None, training: bool = False
    ) -> Outputs:
        """Returns the last output `[B, U]`, all outputs `[B, T, U]` and the final states."""
        arguments = sequences, initial_state, mask, training
        if self.is_fast:
            return self._run_steps(*arguments)
        if mask is None or not self._is_left_to_cudnn:
            return self._run_keras(*arguments)
        # cuDNN takes padding on the right alone, and no row of padding.
        is_real = tf.cast(keras.tree.flatten(mask)[0], tf.bool)  # [B, T]
        is_padded_right = tf.reduce_all(is_real[:, 0]) & tf.reduce_all(
            is_real[:, :-1] | ~is_real[:, 1:]
        )
        return tf.cond(
            is_padded_right,
            lambda: self._run_cudnn(sequences, initial_state, is_real, training),
            lambda: self._run_steps(*arguments),
        )

    def _run_keras(
        self, sequences: Tensor, initial_state: Any, mask: Tensor | None, training: bool
    ) -> Outputs:
        last, sequence, final = super().inner_loop(
            self._vectors(sequences), initial_state, mask, training
        )
        return last, sequence, [*final]

    def _run_cudnn(
        self, sequences: Tensor, initial_state: Any, is_real: Tensor, training: bool
    ) -> Outputs:
        last, sequence, final = self._run_keras(sequences, initial_state, is_real, training)
        if not self.zero_output_for_mask and not self.go_backwards:
            # cuDNN writes zeros. In a backward layer they come first, where zeros belong.
            sequence = tf.where(is_real[..., None], sequence, last[:, None])
        return last, sequence, final

    def _run_steps(
        self, sequences: Tensor, initial_state: Any, mask: Tensor | None, training: bool
    ) -> Outputs:
        x, time_mask = self._in_time(sequences, mask, training)  # [T, B, G], [T, B, 1]
        initial, weights = self._start(initial_state), self._weights()
        if x.shape[0] == 1 and time_mask is None:
            # A single step, as in a search, needs no loop.
            # x[0] [B, G], final[0] [B, U] -> [B, 1, U]
            final, _ = run_step(self.equations, x[0], initial, weights)
            return final[0], final[0][:, None], [*final]
        sequence, final = run_steps(self.equations, x, initial, weights, time_mask)  # [T, B, U]
        if time_mask is not None:
            # Keras's contract: a masked step repeats the output before it, and the output is zero
            # before a row's first real step (whatever the initial state).
            is_written = time_mask
            if not self.zero_output_for_mask:
                is_written = tf.cumsum(tf.cast(time_mask, tf.int32)) > 0
            sequence = tf.where(is_written, sequence, tf.zeros_like(sequence))
        return sequence[-1], tf.transpose(sequence, [1, 0, 2]), [*final]

    def trace(
        self, sequences: Tensor, initial_state: Sequence[Tensor], mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Returns every state and gate at every step `[B, T, U]`, by name.

        The steps are in the order of the input, also with `go_backwards`. A masked step shows the
        states before it. Dropout is off.

        Raises:
            ValueError: The layer has activations other than the standard ones.
        """
        if not self._is_standard:
            raise ValueError(
                f"the gates of {self.name} cannot be traced: its activations are not the standard "
                "activations of its cell, or it has reset_after=False"
            )
        x, time_mask = self._in_time(sequences, mask, training=False)
        initial = self._start(initial_state)
        states, saved, _ = run_forward(self.equations, x, initial, self._weights(), time_mask)
        gates = self.equations.gates(saved, states_before(initial, states))
        names = self.equations.state_names + self.equations.gate_names
        found = dict(zip(names, (*states, *gates), strict=True))
        order = [0] if self.go_backwards else []  # [T, B, U] -> [B, T, U]
        return {n: tf.transpose(tf.reverse(v, order), [1, 0, 2]) for n, v in found.items()}

    def _in_time(
        self, sequences: Tensor, mask: Tensor | None, training: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Returns the projected input `[T, B, G]` and the mask `[T, B, 1]`, in running order."""
        x = self._project(sequences, training)
        if mask is not None:
            # [B, T] -> [T, B, 1], which broadcasts over U.
            mask = tf.transpose(tf.cast(keras.tree.flatten(mask)[0], tf.bool))[..., None]
        if self.go_backwards:
            x = tf.reverse(x, [0])
            mask = None if mask is None else tf.reverse(mask, [0])
        return x, mask

    @property
    def is_fast(self) -> bool:
        """Whether this layer runs the loop of `loop.py`.

        Keras runs layers on cuDNN, other activations, recurrent dropout, unrolled layers, and a GRU
        with `reset_after=False`.
        """
        return self._can_run_steps and not self._is_left_to_cudnn

    @property
    def _is_left_to_cudnn(self) -> bool:
        return self._can_run_steps and self.has_cudnn and can_call_cudnn(self.compute_dtype)

    @property
    def _can_run_steps(self) -> bool:
        return self._is_standard and not self.recurrent_dropout and not self.unroll

    @property
    def _is_standard(self) -> bool:
        """Whether the cell's equations are those of the Keras layer."""
        return (
            self.activation is keras.activations.tanh
            and getattr(self, "recurrent_activation", keras.activations.sigmoid)
            is keras.activations.sigmoid
            and getattr(self, "reset_after", True)
        )

    def _project(self, sequences: Tensor, training: bool) -> Tensor:
        """Returns the projected input of all steps `[T, B, G]`, bias included."""
        kernel = self._tensor(self.cell.kernel)
        if self.one_hot_depth is not None:
            if not sequences.dtype.is_integer:
                dtype = sequences.dtype.name
                raise ValueError(f"one_hot_depth reads integer class indices, not {dtype}")
            # [B, T, 1] -> ids [T, B] -> rows of the kernel [T, B, G]
            x = gather_rows(kernel, tf.transpose(sequences[..., 0]))
        elif self.table is not None and sequences.dtype.is_integer:
            x = multiply_rows(self.table(), kernel, tf.transpose(sequences[..., 0]))
        else:
            if training and self.dropout:
                # Keras's mask: the same units at every step (Gal & Ghahramani 2016).
                sequences = sequences * self.cell.get_dropout_mask(sequences[:, 0])[:, None]
            x = tf.matmul(tf.transpose(sequences, [1, 0, 2]), kernel)  # [T, B, I] · [I, G]
        return x + self._input_bias() if self.use_bias else x

    def _vectors(self, sequences: Tensor) -> Tensor:
        """Returns the vectors that the input stands for `[B, T, I]`."""
        if self.one_hot_depth is not None:
            return ops.one_hot(sequences[..., 0], self.one_hot_depth, dtype=self.compute_dtype)
        if self.table is not None and sequences.dtype.is_integer:
            return tf.gather(self.table(), sequences[..., 0])
        return sequences

    def _tensor(self, weight: keras.Variable) -> Tensor:
        # A plain tensor, because tf.custom_gradient handles variables separately.
        return tf.cast(tf.identity(weight.value), self.compute_dtype)

    def _start(self, initial: Sequence[Tensor]) -> States:
        """Returns the initial states `[B, U]` in the types in which the loop keeps them."""
        dtype, names = self.compute_dtype, self.equations.state_names
        precise, in_float32 = at_least_float32(dtype), self.equations.precise_states
        if len(initial) != len(names):
            expected = f"{len(names)} initial states ({', '.join(names)})"
            raise ValueError(f"{self.name} takes {expected}, in each direction; got {len(initial)}")
        return tuple(
            ops.cast(state, precise if name in in_float32 else dtype)
            for name, state in zip(names, initial, strict=True)
        )

    def _weights(self) -> Weights:
        kernel = self._tensor(self.cell.recurrent_kernel)
        return Weights(kernel, self._recurrent_bias(), self._cell_weights())

    def _cell_weights(self) -> tuple[Tensor, ...]:
        """Returns the further weights of `equations`, beside kernels and biases."""
        return ()

    def _input_bias(self) -> Tensor:
        return self._tensor(self.cell.bias)

    def _recurrent_bias(self) -> Tensor:
        return tf.zeros([self.cell.recurrent_kernel.shape[1]], self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "one_hot_depth": self.one_hot_depth}


class CellLayer(FastLayer):
    """The base of layers over a cell that Keras lacks: no choice of activations, no dropout."""

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
    def from_config(cls, config: dict[str, Any]) -> CellLayer:
        return cls(**config)
