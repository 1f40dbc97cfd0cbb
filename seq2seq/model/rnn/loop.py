"""The loop of a recurrent cell over time, forward and backward, in plain tensors.

`run_steps` calls a cell's `Equations` for every step. The weights' gradients are one matrix product
after the backward loop; automatic differentiation would add an outer product of the kernel's size
at every step. Keras's layers and their weights are the business of `layer.py`.

Time is the first axis here, `[T, B, …]`, so that a step reads and writes contiguous memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from seq2seq.hardware import has_gpu
from seq2seq.model.rnn.equations import Equations, LocalGradients, Saved, States
from seq2seq.model.types import Tensor


class Span(NamedTuple):
    """The steps from `first` to before `end`, scalars; at all others every row is masked."""

    first: Tensor
    end: Tensor


class Weights(NamedTuple):
    """The weights of a step, without the input's.

    Attributes:
        kernel: Recurrent kernel `[U, R]` (R = gates that look at h × U).
        bias: Bias of the recurrent product `[R]`; zeros for all cells but the GRU.
        others: Further weights of some cells, such as peepholes.
    """

    kernel: Tensor
    bias: Tensor
    others: tuple[Tensor, ...] = ()


def run_steps(
    cell: type[Equations], x: Tensor, initial: States, weights: Weights, mask: Tensor | None
) -> tuple[Tensor, States]:
    """Runs a cell over time.

    Args:
        cell: The cell's equations.
        x: Projected input `[T, B, G]` (G = gates × U), bias included.
        initial: The states before the first step `[B, U]`.
        weights: The cell's weights.
        mask: `[T, B, 1]` bool, or None; a masked step leaves the states as they are.

    Returns:
        state_h after every step `[T, B, U]`, of no meaning before the first step at which some row
        is not masked; and the final states `[B, U]`.
    """

    # Weights and states are arguments, not captured: a custom gradient returns gradients only for
    # its arguments.
    @tf.custom_gradient
    def differentiable(
        x: Tensor, kernel: Tensor, bias: Tensor, *more: Tensor
    ) -> tuple[tuple[Tensor, ...], Any]:
        others, initial = more[:count], more[count:]
        weights = Weights(kernel, bias, others)
        states, saved, final = run_forward(cell, x, initial, weights, mask, span)  # [T, B, …]

        def gradient(*d_outputs: Tensor) -> tuple[Tensor, ...]:
            before = states_before(initial, states, span)
            local = cell.local_gradients(saved, before, states, others)
            gradients, d_initial = _run_backward(cell, local, kernel, mask, d_outputs, span)
            # One product over all T · B rows instead of one per step. Rows that no step wrote are
            # zero in `gradients`, so that it does not matter what `before` holds there.
            d_kernel = tf.matmul(_rows(before[0]), _rows(gradients[0]), transpose_a=True)
            d_bias = tf.reduce_sum(gradients[0], axis=[0, 1])
            d_others = cell.weight_gradients(gradients, before, states)
            return cell.input_gradient(gradients), d_kernel, d_bias, *d_others, *d_initial

        return (states[0], *final), gradient

    count, span = len(weights.others), None if has_gpu() else _span(mask)
    sequence, *final = differentiable(x, weights.kernel, weights.bias, *weights.others, *initial)
    if span is not None:
        # The loop ends with the last real step. From there on all rows are masked, and a masked
        # row repeats its state.
        is_written = tf.range(tf.shape(x)[0]) < span.end  # [T]
        sequence = tf.where(is_written[:, None, None], sequence, final[0])
    return sequence, tuple(final)


def _span(mask: Tensor | None) -> Span | None:
    """Returns the steps at which some row of the mask `[T, B, 1]` is real; all steps if none is.

    This saves steps on a CPU. On a GPU all T steps are run: of a loop whose number of steps it does
    not know XLA asks after each step whether there is another, and the GPU waits for the answer.
    """
    if mask is None:
        return None
    is_real = tf.cast(tf.reduce_any(mask, axis=[1, 2]), tf.int32)  # [T]
    # argmax returns the first of equal values: 0 for a mask without any real step, so that the span
    # is then all T steps, each of them masked.
    last = tf.argmax(tf.reverse(is_real, [0]), output_type=tf.int32)
    return Span(tf.argmax(is_real, output_type=tf.int32), tf.size(is_real) - last)


def run_forward(
    cell: type[Equations],
    x: Tensor,
    initial: States,
    weights: Weights,
    mask: Tensor | None,
    span: Span | None = None,
) -> tuple[States, Saved, States]:
    """Runs the steps of `span`, or all T.

    Returns:
        The states after every step and the saved arrays, `[T, B, …]` each, zeros outside the span;
        and the final states `[B, U]`.
    """

    def step(t: Tensor, states: States) -> tuple[States, Saved]:
        after, saved = run_step(cell, x[t], states, weights)
        if mask is not None:
            after = tuple(tf.where(mask[t], a, b) for a, b in zip(after, states, strict=True))
        return after, (*after, *saved)

    dtypes = [*(state.dtype for state in initial), *[x.dtype] * cell.saved_count]
    final, written = _loop(step, initial, dtypes, tf.shape(x)[0], span)
    return written[: len(initial)], written[len(initial) :], final


def run_step(
    cell: type[Equations], x: Tensor, states: States, weights: Weights
) -> tuple[States, Saved]:
    """Returns the states after one step with the input `[B, G]`, and the saved arrays."""
    recurrent = tf.matmul(states[0], weights.kernel) + weights.bias  # [B, R]
    return cell.forward(x, recurrent, states, weights.others)


def states_before(initial: States, states: States, span: Span | None = None) -> States:
    """Returns the states before every step, or every step of `span`, `[T, B, U]` each."""
    # Shifted by one step: [initial, states of steps 0 … T - 2].
    before = (
        tf.concat([start[None], state[:-1]], axis=0)
        for start, state in zip(initial, states, strict=True)
    )
    if span is None:
        return tuple(before)
    # No step before the span wrote its states: the first step of the span starts from `initial`.
    is_first = (tf.range(tf.shape(states[0])[0]) == span.first)[:, None, None]  # [T, 1, 1]
    return tuple(
        tf.where(is_first, start, state) for start, state in zip(initial, before, strict=True)
    )


def _run_backward(
    cell: type[Equations],
    local: LocalGradients,
    kernel: Tensor,
    mask: Tensor | None,
    d_outputs: Sequence[Tensor],
    span: Span | None,
) -> tuple[Saved, States]:
    """Runs the steps in reverse order.

    Args:
        cell: The cell's equations.
        local: Local gradients `[T, B, U]`.
        kernel: Recurrent kernel `[U, R]`.
        mask: `[T, B, 1]`, or None.
        d_outputs: Gradients by the sequence `[T, B, U]` and by the final states `[B, U]`.
        span: The steps to run; None: all.

    Returns:
        The gradients that the cell's `backward` returns, for every step `[T, B, …]`; and those by
        the initial states.
    """
    d_sequence, *d_final = d_outputs
    # Transposed once: a product with `transpose_b` is slower, above all outside XLA.
    kernel_transposed = tf.transpose(kernel)  # [R, U]

    def step(t: Tensor, d_states: States) -> tuple[States, Saved]:
        # state_h of a step reaches the loss through the output and through the next step.
        d_states = (d_states[0] + d_sequence[t], *d_states[1:])
        kept = d_states
        if mask is not None:
            # Zeros, so that a masked step adds nothing to the gradients of the weights.
            d_states = tuple(tf.where(mask[t], d, tf.zeros_like(d)) for d in d_states)
        gradients, d_before = cell.backward(tuple(one[t] for one in local), d_states)
        d_h = d_before[0] + tf.matmul(gradients[0], kernel_transposed)  # [B, U]
        d_before = (d_h, *d_before[1:])
        if mask is not None:
            # A masked step is the identity: its gradient passes through unchanged.
            d_before = tuple(tf.where(mask[t], d, k) for d, k in zip(d_before, kept, strict=True))
        return d_before, gradients

    dtypes = [kernel.dtype] * cell.gradient_count
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
    """Calls `step(t, states)` for every t; returns the last states and the written `[T, …]`."""
    first, end = span or (0, steps)
    start, stop, by = (end - 1, first - 1, -1) if backwards else (first, end, 1)

    # t itself is the loop's counter. Where an index is computed from a value outside the loop, as
    # in `first + i`, XLA compiles the program anew for each of its values.
    def body(t: Tensor, states: States, arrays: Any) -> Any:
        states, values = step(t, states)
        return t + by, states, [a.write(t, v) for a, v in zip(arrays, values, strict=True)]

    # Elements that no step writes are zeros.
    arrays = [tf.TensorArray(dtype, steps) for dtype in dtypes]
    _, states, arrays = tf.while_loop(
        lambda t, *_: t != stop, body, (start, states, arrays), parallel_iterations=1
    )
    return states, tuple(array.stack() for array in arrays)


def _rows(sequence: Tensor) -> Tensor:
    """Returns `[T, B, N]` as `[T · B, N]`."""
    return tf.reshape(sequence, [-1, sequence.shape[-1]])
