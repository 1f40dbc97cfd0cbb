"""Recurrent layers that are Keras's own in everything but the speed of their loop.

`LSTM`, `GRU` and `SimpleRNN` subclass the Keras layers: same weights, configuration, masks,
`Bidirectional`, `initial_state`, `return_sequences`, `return_state`. Only `inner_loop` is ours. It
projects the input of all time steps before the loop, and takes the weights' gradients in one
product after it, where automatic differentiation would add an outer product of the kernel's size
at every step. A GPU keeps Keras's path, which is cuDNN there.

Nothing above this file knows that these are not the Keras layers, except that an integer input
`[B, T, 1]` may be read as one-hot vectors that are never made (`one_hot_depth`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

Tensor = Any
States = tuple[Tensor, ...]  # (h,) or (h, c), each [B, U]

# Up to this depth the gradient of one-hot input is one product with small one-hot rows, which is
# faster than adding up rows one by one; beyond it the rows would be mostly zeros.
_SMALL_DEPTH = 512


class LSTMSteps:
    """Long short-term memory (Hochreiter & Schmidhuber 1997), gates in Keras's order i, f, c, o."""

    @staticmethod
    def forward(x: Tensor, recurrent: Tensor, states: States) -> tuple[States, Tensor]:
        """One step: projected input and recurrent input `[B, 4U]` → new states, gates `[B, 4U]`."""
        _, c = states
        i, f, g, o = tf.split(x + recurrent, 4, axis=-1)
        i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
        c = f * c + i * g
        return (o * tf.tanh(c), c), tf.concat([i, f, g, o], axis=-1)

    @staticmethod
    def backward(
        gates: Tensor, before: States, after: States, d_after: States
    ) -> tuple[Tensor, States]:
        """Gradients of one step: d_x `[B, 4U]`, and of the states but for the recurrent product."""
        i, f, g, o = tf.split(gates, 4, axis=-1)
        d_h, d_c = d_after
        tanh_c = tf.tanh(after[1])
        d_c = d_c + d_h * o * (1.0 - tanh_c * tanh_c)
        d_x = tf.concat(
            [
                d_c * g * i * (1.0 - i),
                d_c * before[1] * f * (1.0 - f),
                d_c * i * (1.0 - g * g),
                d_h * tanh_c * o * (1.0 - o),
            ],
            axis=-1,
        )
        return d_x, (tf.zeros_like(d_h), d_c * f)

    @staticmethod
    def recurrent_gradient(d_x: Tensor, gates: Tensor) -> Tensor:
        """Gradient of the recurrent input, which is added to the projected input."""
        return d_x


class GRUSteps:
    """Gated recurrent unit (Cho et al. 2014) with the reset gate after the product, z, r, h."""

    @staticmethod
    def forward(x: Tensor, recurrent: Tensor, states: States) -> tuple[States, Tensor]:
        """One step; saves z, r, the candidate and its recurrent part `[B, 4U]`."""
        (h,) = states
        x_z, x_r, x_h = tf.split(x, 3, axis=-1)
        r_z, r_r, r_h = tf.split(recurrent, 3, axis=-1)
        z, r = tf.sigmoid(x_z + r_z), tf.sigmoid(x_r + r_r)
        candidate = tf.tanh(x_h + r * r_h)
        return (z * h + (1.0 - z) * candidate,), tf.concat([z, r, candidate, r_h], axis=-1)

    @staticmethod
    def backward(
        gates: Tensor, before: States, after: States, d_after: States
    ) -> tuple[Tensor, States]:
        """Gradients of one step, as for the LSTM; d_x is `[B, 3U]`."""
        z, r, candidate, r_h = tf.split(gates, 4, axis=-1)
        (d_h,) = d_after
        d_candidate = d_h * (1.0 - z) * (1.0 - candidate * candidate)
        d_x = tf.concat(
            [
                d_h * (before[0] - candidate) * z * (1.0 - z),
                d_candidate * r_h * r * (1.0 - r),
                d_candidate,
            ],
            axis=-1,
        )
        return d_x, (d_h * z,)

    @staticmethod
    def recurrent_gradient(d_x: Tensor, gates: Tensor) -> Tensor:
        """The candidate's recurrent part passes the reset gate."""
        d_z, d_r, d_candidate = tf.split(d_x, 3, axis=-1)
        _, r, _, _ = tf.split(gates, 4, axis=-1)
        return tf.concat([d_z, d_r, d_candidate * r], axis=-1)


class SimpleRNNSteps:
    """The simple recurrent network (Elman 1990)."""

    @staticmethod
    def forward(x: Tensor, recurrent: Tensor, states: States) -> tuple[States, Tensor]:
        """One step; the new state is all there is to save."""
        h = tf.tanh(x + recurrent)
        return (h,), h

    @staticmethod
    def backward(
        gates: Tensor, before: States, after: States, d_after: States
    ) -> tuple[Tensor, States]:
        """Gradients of one step, as for the LSTM; d_x is `[B, U]`."""
        (d_h,) = d_after
        return d_h * (1.0 - gates * gates), (tf.zeros_like(d_h),)

    @staticmethod
    def recurrent_gradient(d_x: Tensor, gates: Tensor) -> Tensor:
        """Gradient of the recurrent input, which is added to the projected input."""
        return d_x


def run_steps(
    cell: Any,
    x: Tensor,
    initial: States,
    kernel: Tensor,
    bias: Tensor,
    mask: Tensor | None,
) -> tuple[Tensor, States]:
    """Runs a cell over time.

    Args:
        cell: One of the three classes above.
        x: Projected input `[T, B, G]` (G = gates × U), bias included.
        initial: The states to start from.
        kernel: Recurrent kernel `[U, G]`.
        bias: What is added to the recurrent product `[G]`; zeros for all but the GRU.
        mask: `[T, B, 1]` bool, or None; a masked step leaves the states as they are.

    Returns:
        Every step's h `[T, B, U]`, and the final states.
    """

    @tf.custom_gradient
    def differentiable(
        x: Tensor, kernel: Tensor, bias: Tensor, *initial: Tensor
    ) -> tuple[tuple[Tensor, ...], Any]:
        states, gates = _run_forward(cell, x, initial, kernel, bias, mask)  # [T, B, …]

        def gradient(*d_outputs: Tensor) -> tuple[Tensor, ...]:
            before = tuple(
                tf.concat([start[None], state[:-1]], axis=0)
                for start, state in zip(initial, states, strict=True)
            )
            d_x, d_initial = _run_backward(cell, gates, before, states, kernel, mask, d_outputs)
            d_recurrent = cell.recurrent_gradient(d_x, gates)
            # One product over all T · B rows instead of one per step.
            d_kernel = tf.matmul(_rows(before[0]), _rows(d_recurrent), transpose_a=True)
            d_bias = tf.reduce_sum(d_recurrent, axis=[0, 1])
            return d_x, d_kernel, d_bias, *d_initial

        return (states[0], *(state[-1] for state in states)), gradient

    sequence, *final = differentiable(x, kernel, bias, *initial)
    return sequence, tuple(final)


def _run_forward(
    cell: Any, x: Tensor, initial: States, kernel: Tensor, bias: Tensor, mask: Tensor | None
) -> tuple[States, Tensor]:
    """Returns the states after every step, each `[T, B, U]`, and the gates `[T, B, …]`."""
    steps = tf.shape(x)[0]

    def body(t: Tensor, states: States, arrays: Any) -> Any:
        after, gates = cell.forward(x[t], tf.matmul(states[0], kernel) + bias, states)
        if mask is not None:
            after = tuple(tf.where(mask[t], a, b) for a, b in zip(after, states, strict=True))
        written = [
            array.write(t, value) for array, value in zip(arrays, (*after, gates), strict=True)
        ]
        return t + 1, after, written

    arrays = [tf.TensorArray(x.dtype, steps) for _ in range(len(initial) + 1)]
    _, _, arrays = tf.while_loop(
        lambda t, *_: t < steps, body, (0, tuple(initial), arrays), parallel_iterations=1
    )
    *states, gates = (array.stack() for array in arrays)
    return tuple(states), gates


def _run_backward(
    cell: Any,
    gates: Tensor,
    before: States,
    after: States,
    kernel: Tensor,
    mask: Tensor | None,
    d_outputs: Sequence[Tensor],
) -> tuple[Tensor, States]:
    """Returns the gradients of the projected input `[T, B, G]` and of the initial states."""
    d_sequence, *d_final = d_outputs
    steps = tf.shape(d_sequence)[0]

    def body(i: Tensor, d_states: States, array: Any) -> Any:
        t = steps - 1 - i
        d_states = (d_states[0] + d_sequence[t], *d_states[1:])
        kept = d_states
        if mask is not None:
            d_states = tuple(tf.where(mask[t], d, tf.zeros_like(d)) for d in d_states)
        states = tuple(s[t] for s in before), tuple(s[t] for s in after)
        d_x, d_before = cell.backward(gates[t], *states, d_states)
        d_recurrent = cell.recurrent_gradient(d_x, gates[t])
        d_h = d_before[0] + tf.matmul(d_recurrent, kernel, transpose_b=True)
        d_before = (d_h, *d_before[1:])
        if mask is not None:
            d_before = tuple(tf.where(mask[t], d, k) for d, k in zip(d_before, kept, strict=True))
        return i + 1, d_before, array.write(t, d_x)

    _, d_initial, array = tf.while_loop(
        lambda i, *_: i < steps,
        body,
        (0, tuple(d_final), tf.TensorArray(gates.dtype, steps)),
        parallel_iterations=1,
    )
    return array.stack(), d_initial


def _rows(sequence: Tensor) -> Tensor:
    """`[T, B, N]` → `[T · B, N]`."""
    return tf.reshape(sequence, [-1, sequence.shape[-1]])


@tf.custom_gradient
def gather_rows(kernel: Tensor, ids: Tensor) -> tuple[Tensor, Any]:
    """Returns kernel rows `[T, B, G]` for ids `[T, B]`: one-hot vectors times the kernel."""

    def gradient(d_rows: Tensor) -> tuple[Tensor, None]:
        depth = kernel.shape[0]
        flat_ids, flat = tf.reshape(ids, [-1]), _rows(d_rows)
        if depth <= _SMALL_DEPTH:
            one_hot = tf.one_hot(flat_ids, depth, dtype=flat.dtype)  # [T · B, V]
            return tf.matmul(one_hot, flat, transpose_a=True), None
        return tf.math.unsorted_segment_sum(flat, flat_ids, depth), None

    return tf.gather(kernel, ids), gradient


class _FastLoop(keras.layers.RNN):
    """What the three layers share; stands before the Keras layer in their bases."""

    steps: Any

    def __init__(self, *args: Any, one_hot_depth: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if one_hot_depth is not None and self.dropout:
            raise ValueError("dropout on the input needs dense input, not one_hot_depth")
        self.one_hot_depth = one_hot_depth
        self.supports_jit = not _has_gpu()

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
        mask = keras.tree.flatten(mask)[0] if mask is not None else None
        x = self._project(sequences, training)  # [T, B, G]
        time_mask = None if mask is None else tf.transpose(mask)[..., None]  # [T, B, 1]
        if self.go_backwards:
            x = tf.reverse(x, [0])
            time_mask = None if time_mask is None else tf.reverse(time_mask, [0])
        kernel = self._tensor(self.cell.recurrent_kernel)
        bias = self._recurrent_bias()
        if x.shape[0] == 1 and mask is None:
            # A single step, as in a search, needs no loop.
            recurrent = tf.matmul(initial_state[0], kernel) + bias
            final, _ = self.steps.forward(x[0], recurrent, tuple(initial_state))
            return final[0], final[0][:, None], [*final]
        sequence, final = run_steps(self.steps, x, tuple(initial_state), kernel, bias, time_mask)
        if time_mask is not None:
            # A masked step repeats the output before it, which is zero before the first real step.
            is_written = time_mask
            if not self.zero_output_for_mask:
                is_written = tf.cumsum(tf.cast(time_mask, tf.int32)) > 0
            sequence = tf.where(is_written, sequence, tf.zeros_like(sequence))
        return sequence[-1], tf.transpose(sequence, [1, 0, 2]), [*final]

    @property
    def is_fast(self) -> bool:
        """Whether this layer runs our loop: on a CPU, with the standard activations.

        Recurrent dropout, unrolling and a GRU with `reset_after=False` are left to Keras.
        """
        standard = self.activation is keras.activations.tanh
        if hasattr(self, "recurrent_activation"):
            standard &= self.recurrent_activation is keras.activations.sigmoid
        return (
            standard
            and not self.recurrent_dropout
            and not self.unroll
            and getattr(self, "reset_after", True)
            and not _has_gpu()
        )

    def _project(self, sequences: Tensor, training: bool) -> Tensor:
        """Returns the input's share of the gates for all steps `[T, B, G]`."""
        kernel = self._tensor(self.cell.kernel)
        if self.one_hot_depth is not None:
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

    def _input_bias(self) -> Tensor:
        return self._tensor(self.cell.bias)

    def _recurrent_bias(self) -> Tensor:
        return tf.zeros([self.cell.recurrent_kernel.shape[1]], self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "one_hot_depth": self.one_hot_depth}


def _has_gpu() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))


@keras.saving.register_keras_serializable(package="seq2seq")
class LSTM(_FastLoop, keras.layers.LSTM):
    """`keras.layers.LSTM`, faster on a CPU; `one_hot_depth`: see the module."""

    steps = LSTMSteps


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
