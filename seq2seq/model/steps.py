"""Recurrent cells in plain tensors, and their loop over time, forward and backward.

A cell is what one step computes and how its gradient goes back; `run_steps` calls it for every
step. The weights' gradients are taken in one product after the loop, where automatic
differentiation would add an outer product of the kernel's size at every step. Nothing here knows
Keras's layers or their weights; those are in `recurrent.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

Tensor = Any
States = tuple[Tensor, ...]  # (h,) or (h, c), each [B, U]
# What a cell writes down at every step beside its states, [B, …] each; `saved` and `gradients` of a
# cell say how many arrays.
Saved = tuple[Tensor, ...]
# The backward pass of a step is linear in the gradients that reach it. What it multiplies them by
# depends on the forward pass alone, so it is computed for all steps at once: [T, B, U] each.
Slopes = tuple[Tensor, ...]


class LSTMSteps:
    """Long short-term memory (Hochreiter & Schmidhuber 1997), gates in Keras's order i, f, c, o."""

    saved, gradients = 1, 1
    gate_names = ("input", "forget", "candidate", "output")

    @staticmethod
    def gates(saved: Saved) -> tuple[Tensor, ...]:
        """The gates `[T, B, U]` among what was saved, in the order of `gate_names`."""
        return tuple(tf.split(saved[0], 4, axis=-1))

    @staticmethod
    def forward(x: Tensor, recurrent: Tensor, states: States) -> tuple[States, Saved]:
        """One step: projected input and recurrent product `[B, 4U]` → new states, gates `[B, 4U]`.

        With sigmoid(x) = tanh(x / 2) / 2 + 1 / 2 all gates are one tanh: one pass over memory, and
        no concatenation. The cell state may be more precise than the rest, see `recurrent.LSTM`.
        """
        _, c = states
        units = x.shape[-1] // 4
        scale = tf.constant([0.5] * (2 * units) + [1.0] * units + [0.5] * units, c.dtype)
        gates = tf.tanh(tf.cast(x + recurrent, c.dtype) * scale) * scale + (1.0 - scale)
        i, f, g, o = tf.split(gates, 4, axis=-1)
        c = f * c + i * g
        return (tf.cast(o * tf.tanh(c), x.dtype), c), (tf.cast(gates, x.dtype),)

    @staticmethod
    def slopes(saved: Saved, before: States, after: States) -> Slopes:
        """Those of i, f, g and o, that of c, and f."""
        c_before, c = before[1], after[1]
        i, f, g, o = tf.split(tf.cast(saved[0], c.dtype), 4, axis=-1)
        tanh_c = tf.tanh(c)
        return (
            g * i * (1.0 - i),
            c_before * f * (1.0 - f),
            i * (1.0 - g * g),
            tanh_c * o * (1.0 - o),
            o * (1.0 - tanh_c * tanh_c),
            f,
        )

    @staticmethod
    def backward(slopes: Slopes, d_after: States) -> tuple[Saved, States]:
        """One step: gradients of the states → of the recurrent product, of the states before."""
        of_i, of_f, of_g, of_o, of_c, f = slopes
        d_h, d_c = tf.cast(d_after[0], d_after[1].dtype), d_after[1]
        d_c = d_c + d_h * of_c
        d_gates = tf.concat([d_c * of_i, d_c * of_f, d_c * of_g, d_h * of_o], axis=-1)
        return (tf.cast(d_gates, d_after[0].dtype),), (tf.zeros_like(d_after[0]), d_c * f)

    @staticmethod
    def input_gradient(gradients: Saved) -> Tensor:
        """The input is added to the recurrent product, so that their gradients are the same."""
        return gradients[0]


class GRUSteps:
    """Gated recurrent unit (Cho et al. 2014) with the reset gate after the product, z, r, h."""

    saved, gradients = 3, 2
    gate_names = ("update", "reset", "candidate")

    @staticmethod
    def gates(saved: Saved) -> tuple[Tensor, ...]:
        """The gates `[T, B, U]` among what was saved, in the order of `gate_names`."""
        return (*tf.split(saved[0], 2, axis=-1), saved[1])

    @staticmethod
    def forward(x: Tensor, recurrent: Tensor, states: States) -> tuple[States, Saved]:
        """One step, `[B, 3U]` → state; z and r `[B, 2U]`, candidate, and its recurrent part."""
        (h,) = states
        units = h.shape[-1]
        gates = 0.5 * tf.tanh(0.5 * (x + recurrent)[:, : 2 * units]) + 0.5
        z, r = tf.split(gates, 2, axis=-1)
        candidate = tf.tanh(x[:, 2 * units :] + r * recurrent[:, 2 * units :])
        saved = (gates, candidate, recurrent[:, 2 * units :])
        return (z * h + (1.0 - z) * candidate,), saved

    @staticmethod
    def slopes(saved: Saved, before: States, after: States) -> Slopes:
        """Those of z, r, the candidate and its recurrent part, and z."""
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
    def backward(slopes: Slopes, d_after: States) -> tuple[Saved, States]:
        """One step, as for the LSTM; the candidate's gradient besides."""
        (d_h,) = d_after
        of_z, of_r, of_candidate, of_recurrent, z = slopes
        d_recurrent = tf.concat([d_h * of_z, d_h * of_r, d_h * of_recurrent], axis=-1)
        return (d_recurrent, d_h * of_candidate), (d_h * z,)

    @staticmethod
    def input_gradient(gradients: Saved) -> Tensor:
        """The candidate's input does not pass the reset gate."""
        d_recurrent, d_candidate = gradients
        units = d_candidate.shape[-1]
        return tf.concat([d_recurrent[..., : 2 * units], d_candidate], axis=-1)


class SimpleRNNSteps:
    """The simple recurrent network (Elman 1990)."""

    saved, gradients = 0, 1
    gate_names = ()

    @staticmethod
    def gates(saved: Saved) -> tuple[Tensor, ...]:
        """There are none."""
        return ()

    @staticmethod
    def forward(x: Tensor, recurrent: Tensor, states: States) -> tuple[States, Saved]:
        """One step; the new state is all that the way back needs."""
        return (tf.tanh(x + recurrent),), ()

    @staticmethod
    def slopes(saved: Saved, before: States, after: States) -> Slopes:
        """That of tanh."""
        return (1.0 - after[0] * after[0],)

    @staticmethod
    def backward(slopes: Slopes, d_after: States) -> tuple[Saved, States]:
        """One step, as for the LSTM."""
        (d_h,) = d_after
        return (d_h * slopes[0],), (tf.zeros_like(d_h),)

    @staticmethod
    def input_gradient(gradients: Saved) -> Tensor:
        """The input is added to the recurrent product, so that their gradients are the same."""
        return gradients[0]


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
        states, saved = run_forward(cell, x, initial, kernel, bias, mask)  # [T, B, …]

        def gradient(*d_outputs: Tensor) -> tuple[Tensor, ...]:
            before = tuple(
                tf.concat([start[None], state[:-1]], axis=0)
                for start, state in zip(initial, states, strict=True)
            )
            slopes = cell.slopes(saved, before, states)
            gradients, d_initial = _run_backward(cell, slopes, kernel, mask, d_outputs)
            # One product over all T · B rows instead of one per step.
            d_kernel = tf.matmul(_rows(before[0]), _rows(gradients[0]), transpose_a=True)
            d_bias = tf.reduce_sum(gradients[0], axis=[0, 1])
            return cell.input_gradient(gradients), d_kernel, d_bias, *d_initial

        return (states[0], *(state[-1] for state in states)), gradient

    sequence, *final = differentiable(x, kernel, bias, *initial)
    return sequence, tuple(final)


def run_forward(
    cell: Any, x: Tensor, initial: States, kernel: Tensor, bias: Tensor, mask: Tensor | None
) -> tuple[States, Saved]:
    """Returns the states after every step and what the cell saved, each `[T, B, …]`."""

    def step(t: Tensor, states: States) -> tuple[States, Saved]:
        after, saved = cell.forward(x[t], tf.matmul(states[0], kernel) + bias, states)
        if mask is not None:
            after = tuple(tf.where(mask[t], a, b) for a, b in zip(after, states, strict=True))
        return after, (*after, *saved)

    dtypes = [*(state.dtype for state in initial), *[x.dtype] * cell.saved]
    _, written = _loop(step, initial, dtypes, tf.shape(x)[0])
    return written[: len(initial)], written[len(initial) :]


def _run_backward(
    cell: Any,
    slopes: Slopes,
    kernel: Tensor,
    mask: Tensor | None,
    d_outputs: Sequence[Tensor],
) -> tuple[Saved, States]:
    """Returns what the cell's backward pass gives for each step, and d_initial."""
    d_sequence, *d_final = d_outputs
    # Turned once: a product with a transposed kernel is slower, above all outside XLA.
    kernel_transposed = tf.transpose(kernel)  # [G, U]

    def step(t: Tensor, d_states: States) -> tuple[States, Saved]:
        d_states = (d_states[0] + d_sequence[t], *d_states[1:])
        kept = d_states
        if mask is not None:
            d_states = tuple(tf.where(mask[t], d, tf.zeros_like(d)) for d in d_states)
        gradients, d_before = cell.backward(tuple(slope[t] for slope in slopes), d_states)
        d_h = d_before[0] + tf.matmul(gradients[0], kernel_transposed)
        d_before = (d_h, *d_before[1:])
        if mask is not None:
            d_before = tuple(tf.where(mask[t], d, k) for d, k in zip(d_before, kept, strict=True))
        return d_before, gradients

    dtypes = [kernel.dtype] * cell.gradients
    steps = tf.shape(d_sequence)[0]
    d_initial, gradients = _loop(step, tuple(d_final), dtypes, steps, backwards=True)
    return gradients, d_initial


def _loop(
    step: Callable[[Tensor, States], tuple[States, Saved]],
    states: States,
    dtypes: Sequence[tf.DType],
    steps: Tensor,
    backwards: bool = False,
) -> tuple[States, Saved]:
    """Calls `step(t, states)` for every t; returns the last states, and what it wrote `[T, …]`."""

    def body(i: Tensor, states: States, arrays: Any) -> Any:
        t = steps - 1 - i if backwards else i
        states, values = step(t, states)
        return i + 1, states, [a.write(t, v) for a, v in zip(arrays, values, strict=True)]

    arrays = [tf.TensorArray(dtype, steps) for dtype in dtypes]
    _, states, arrays = tf.while_loop(
        lambda i, *_: i < steps, body, (0, states, arrays), parallel_iterations=1
    )
    return states, tuple(array.stack() for array in arrays)


def _rows(sequence: Tensor) -> Tensor:
    """`[T, B, N]` → `[T · B, N]`."""
    return tf.reshape(sequence, [-1, sequence.shape[-1]])


@tf.custom_gradient
def gather_rows(kernel: Tensor, ids: Tensor) -> tuple[Tensor, Any]:
    """Returns kernel rows `[T, B, G]` for ids `[T, B]`: one-hot vectors times the kernel."""

    def gradient(d_rows: Tensor) -> tuple[Tensor, None]:
        depth = kernel.shape[0]
        # Many rows fall on one class: a sum in bfloat16 would soon stop growing. Adding them up
        # beats a product with one-hot rows under XLA, whatever the depth.
        rows = tf.cast(_rows(d_rows), at_least_float32(d_rows.dtype))
        sums = tf.math.unsorted_segment_sum(rows, tf.reshape(ids, [-1]), depth)
        return tf.cast(sums, kernel.dtype), None

    return tf.gather(kernel, ids), gradient


def at_least_float32(dtype: Any) -> str:
    """Returns the type to add up in: bfloat16 stops growing in long sums."""
    return keras.backend.result_type(dtype, "float32")
