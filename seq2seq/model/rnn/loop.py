"""The loop of a recurrent cell over time, forward and backward, in plain tensors.

A cell says what one step computes and how its gradient goes back, see `steps.py`; `run_steps` calls
it for every step. The weights' gradients are taken in one product after the loop, where automatic
differentiation would add an outer product of the kernel's size at every step. Nothing here knows
Keras's layers or their weights; those are in `recurrent.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from seq2seq.model.types import Tensor

States = tuple[Tensor, ...]  # each [B, U], h first
# What a cell writes down at every step beside its states, [B, …] each; `saved` and `gradients` of a
# cell say how many arrays.
Saved = tuple[Tensor, ...]
# The backward pass of a step is linear in the gradients that reach it. What it multiplies them by
# depends on the forward pass alone, so it is computed for all steps at once: [T, B, U] each.
Slopes = tuple[Tensor, ...]


class Span(NamedTuple):
    """The steps from `first` to before `end`, scalars; at all others every row is masked."""

    first: Tensor
    end: Tensor


class Weights(NamedTuple):
    """What a cell weighs the past with.

    Attributes:
        kernel: Recurrent kernel `[U, R]` (R = gates that look at h × U).
        bias: What is added to the recurrent product `[R]`; zeros for all but the GRU.
        others: Of some cells, such as peepholes.
    """

    kernel: Tensor
    bias: Tensor
    others: tuple[Tensor, ...] = ()


def run_steps(
    cell: Any, x: Tensor, initial: States, weights: Weights, mask: Tensor | None
) -> tuple[Tensor, States]:
    """Runs a cell over time.

    Args:
        cell: Its steps, see `steps.py`.
        x: Projected input `[T, B, G]` (G = gates × U), bias included.
        initial: The states to start from.
        weights: Those of the cell, but for the input's.
        mask: `[T, B, 1]` bool, or None; a masked step leaves the states as they are.

    Returns:
        Every step's h `[T, B, U]`, zeros before the first step at which some row is not masked;
        and the final states.
    """

    @tf.custom_gradient
    def differentiable(
        x: Tensor, kernel: Tensor, bias: Tensor, *more: Tensor
    ) -> tuple[tuple[Tensor, ...], Any]:
        others, initial = more[:count], more[count:]
        weights = Weights(kernel, bias, others)
        states, saved, final = run_forward(cell, x, initial, weights, mask, span)  # [T, B, …]

        def gradient(*d_outputs: Tensor) -> tuple[Tensor, ...]:
            before = states_before(initial, states, span)
            slopes = cell.slopes(saved, before, states, *others)
            gradients, d_initial = _run_backward(cell, slopes, kernel, mask, d_outputs, span)
            # One product over all T · B rows instead of one per step.
            d_kernel = tf.matmul(_rows(before[0]), _rows(gradients[0]), transpose_a=True)
            d_bias = tf.reduce_sum(gradients[0], axis=[0, 1])
            d_others = cell.weight_gradients(gradients, before, states) if others else ()
            return cell.input_gradient(gradients), d_kernel, d_bias, *d_others, *d_initial

        return (states[0], *final), gradient

    count, span = len(weights.others), _span(mask)
    sequence, *final = differentiable(x, weights.kernel, weights.bias, *weights.others, *initial)
    if span is not None:
        # What no step wrote at the end: where a row is masked, its state stays as it was.
        is_written = tf.range(tf.shape(x)[0]) < span.end
        sequence = tf.where(is_written[:, None, None], sequence, final[0])
    return sequence, tuple(final)


def _span(mask: Tensor | None) -> Span | None:
    """Returns the steps at which some row of the mask `[T, B, 1]` is real; of none: all steps."""
    if mask is None:
        return None
    is_real = tf.cast(tf.reduce_any(mask, axis=[1, 2]), tf.int32)  # [T]
    last = tf.argmax(tf.reverse(is_real, [0]), output_type=tf.int32)
    return Span(tf.argmax(is_real, output_type=tf.int32), tf.size(is_real) - last)


def run_forward(
    cell: Any,
    x: Tensor,
    initial: States,
    weights: Weights,
    mask: Tensor | None,
    span: Span | None = None,
) -> tuple[States, Saved, States]:
    """Returns the states after every step and what the cell saved, `[T, B, …]`; the last states.

    Only the steps of `span` are made, if it is given; at others there are zeros.
    """

    def step(t: Tensor, states: States) -> tuple[States, Saved]:
        after, saved = run_step(cell, x[t], states, weights)
        if mask is not None:
            after = tuple(tf.where(mask[t], a, b) for a, b in zip(after, states, strict=True))
        return after, (*after, *saved)

    dtypes = [*(state.dtype for state in initial), *[x.dtype] * cell.saved]
    final, written = _loop(step, initial, dtypes, tf.shape(x)[0], span)
    return written[: len(initial)], written[len(initial) :], final


def run_step(cell: Any, x: Tensor, states: States, weights: Weights) -> tuple[States, Saved]:
    """Returns the states after one step with the input `[B, G]`, and what the cell saved."""
    recurrent = tf.matmul(states[0], weights.kernel) + weights.bias
    return cell.forward(x, recurrent, states, *weights.others)


def states_before(initial: States, states: States, span: Span | None = None) -> States:
    """Returns what every step, or every step of `span`, starts from, `[T, B, U]` each."""
    before = (
        tf.concat([start[None], state[:-1]], axis=0)
        for start, state in zip(initial, states, strict=True)
    )
    if span is None:
        return tuple(before)
    is_first = (tf.range(tf.shape(states[0])[0]) == span.first)[:, None, None]
    return tuple(
        tf.where(is_first, start, state) for start, state in zip(initial, before, strict=True)
    )


def _run_backward(
    cell: Any,
    slopes: Slopes,
    kernel: Tensor,
    mask: Tensor | None,
    d_outputs: Sequence[Tensor],
    span: Span | None,
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
    d_initial, gradients = _loop(step, tuple(d_final), dtypes, steps, span, backwards=True)
    return gradients, d_initial


def _loop(
    step: Callable[[Tensor, States], tuple[States, Saved]],
    states: States,
    dtypes: Sequence[tf.DType],
    steps: Tensor,
    span: Span | None,
    backwards: bool = False,
) -> tuple[States, Saved]:
    """Calls `step(t, states)` for every t; returns the last states, and what it wrote `[T, …]`."""
    first, end = span or (0, steps)
    start, stop, by = (end - 1, first - 1, -1) if backwards else (first, end, 1)

    # XLA compiles anew for every value that a place to read at is computed from outside the loop: t
    # itself has to be what the loop counts.
    def body(t: Tensor, states: States, arrays: Any) -> Any:
        states, values = step(t, states)
        return t + by, states, [a.write(t, v) for a, v in zip(arrays, values, strict=True)]

    arrays = [tf.TensorArray(dtype, steps) for dtype in dtypes]
    _, states, arrays = tf.while_loop(
        lambda t, *_: t != stop, body, (start, states, arrays), parallel_iterations=1
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
