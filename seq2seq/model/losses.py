"""Loss and accuracy under teacher forcing, over real tokens only.

`token_sums` takes logits. `projected_token_sums` takes the two sides of the product that makes
them, and gives the same numbers in less memory.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import tensorflow as tf

from seq2seq.special_ids import PAD

# Logits of one part of the rows: 64 MiB of float32.
_LOGITS_AT_ONCE = 2**24


class TokenSums(NamedTuple):
    """Sums over the real target tokens of a batch, scalars float32; padding adds nothing.

    They are sums and not means, so that batches, steps and replicas can be added before the one
    division by the number of tokens.

    Attributes:
        objective: The training objective: the loss with label smoothing.
        loss: The cross-entropy in nats.
        correct: Number of tokens whose logit is the largest.
        tokens: Number of real tokens.
    """

    objective: tf.Tensor
    loss: tf.Tensor
    correct: tf.Tensor
    tokens: tf.Tensor


def token_sums(logits: tf.Tensor, target_out: tf.Tensor, label_smoothing: float = 0.0) -> TokenSums:
    """Compares logits with the next tokens.

    With label smoothing e the true token weighs 1 - e and all V tokens share e (Szegedy et al.
    2016, section 7).

    Args:
        logits: `[B, T, V]`, or any leading axes.
        target_out: Ids `[B, T]`, the leading axes of `logits`.
        label_smoothing: e, from 0 to below 1.
    """
    weights = tf.cast(tf.not_equal(target_out, PAD), tf.float32)  # [B, T]
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(target_out, logits)  # [B, T]
    objective = losses
    if label_smoothing:
        # Cross-entropy against the uniform distribution: log Z - mean of the logits, [B, T].
        uniform = tf.reduce_logsumexp(logits, axis=-1) - tf.reduce_mean(logits, axis=-1)
        objective = (1.0 - label_smoothing) * losses + label_smoothing * uniform
    is_correct = tf.equal(tf.argmax(logits, axis=-1, output_type=tf.int32), target_out)
    return TokenSums(
        objective=tf.reduce_sum(objective * weights),
        loss=tf.reduce_sum(losses * weights),
        correct=tf.reduce_sum(tf.cast(is_correct, tf.float32) * weights),
        tokens=tf.reduce_sum(weights),
    )


def projected_token_sums(
    sequence: tf.Tensor,
    kernel: tf.Tensor,
    bias: tf.Tensor,
    target_out: tf.Tensor,
    label_smoothing: float = 0.0,
    has_gradient: bool = True,
) -> TokenSums:
    """Returns `token_sums` of the logits `sequence · kernel + bias` without holding all of them.

    The rows are multiplied in parts, and each part's gradient is taken right after its forward
    pass, so that its logits can go before the next part. Memory grows with V and with T, but not
    with V · T. Only `objective` has a gradient. The idea is that of the fused linear cross-entropy
    of Hsu et al. (2024, "Liger Kernel").

    Args:
        sequence: The left side of the product `[B, T, U]`.
        kernel: `[U, V]`.
        bias: `[V]`.
        target_out: The next tokens `[B, T]`.
        label_smoothing: As for `token_sums`.
        has_gradient: False saves the time of the gradient.
    """
    rows, units = tf.size(target_out), sequence.shape[-1]
    # At least 64 rows, however large V is: a smaller product wastes the machine.
    parts = -(-rows // max(64, _LOGITS_AT_ONCE // kernel.shape[1]))  # rounded up
    # Parts of equal size, so that XLA has one static shape.
    rows_at_once = -(-rows // parts)
    missing = parts * rows_at_once - rows
    # [B, T] -> [N], filled up with PAD, which adds nothing to any sum.
    targets = tf.pad(tf.reshape(target_out, [-1]), [(0, missing)])
    padded = tf.pad(tf.reshape(sequence, [-1, units]), [(0, missing), (0, 0)])  # [N, U]
    zeros = TokenSums(*(tf.constant(0.0) for _ in TokenSums._fields))

    def sums_of(part: tf.Tensor, i: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> TokenSums:
        part_targets = tf.slice(targets, [i * rows_at_once], [rows_at_once])
        # [rows of a part, U] · [U, V]; the softmax needs float32.
        logits = tf.cast(tf.matmul(tf.cast(part, kernel.dtype), kernel), tf.float32) + bias
        return token_sums(logits, part_targets, label_smoothing)

    def part_of(sequence: tf.Tensor, i: tf.Tensor) -> tf.Tensor:
        return tf.slice(sequence, [i * rows_at_once, 0], [rows_at_once, units])

    if not has_gradient:

        def add_sums(i: tf.Tensor, totals: TokenSums) -> Any:
            sums = sums_of(part_of(padded, i), i, kernel, bias)
            return i + 1, tf.nest.map_structure(tf.add, totals, sums)

        loop = tf.while_loop(lambda i, _: i < parts, add_sums, (0, zeros), parallel_iterations=1)
        return loop[1]

    # The gradient is computed in the forward pass and only scaled in the backward pass, which knows
    # nothing but the gradient of the objective.
    @tf.custom_gradient
    def sums_and_gradients(
        sequence: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor
    ) -> tuple[tuple[tf.Tensor, ...], Any]:
        def add_part(i: tf.Tensor, totals: TokenSums, d_weights: Any, arrays: Any) -> Any:
            part = part_of(sequence, i)
            with tf.GradientTape() as tape:
                tape.watch([part, kernel, bias])
                sums = sums_of(part, i, kernel, bias)
            totals = tf.nest.map_structure(tf.add, totals, sums)
            # d_part [rows of a part, U]; d_more: [U, V] and [V].
            d_part, *d_more = tape.gradient(sums.objective, [part, kernel, bias])
            for n, d_weight in enumerate(d_more):
                # In float32: many parts add up.
                d_weights[n] += tf.cast(d_weight, tf.float32)
            return i + 1, totals, d_weights, arrays.write(i, d_part)

        d_weights = [tf.zeros(kernel.shape), tf.zeros(bias.shape)]
        _, sums, d_weights, arrays = tf.while_loop(
            lambda i, *_: i < parts,
            add_part,
            (0, zeros, d_weights, tf.TensorArray(sequence.dtype, parts)),
            parallel_iterations=1,
        )
        d_sequence = tf.reshape(arrays.stack(), [-1, units])  # [parts, rows, U] -> [N, U]

        def gradient(d_objective: tf.Tensor, *_: tf.Tensor) -> list[tf.Tensor]:
            computed = zip([d_sequence, *d_weights], [sequence, kernel, bias], strict=True)
            return [tf.cast(d * tf.cast(d_objective, d.dtype), of.dtype) for d, of in computed]

        return tuple(sums), gradient

    return TokenSums(*sums_and_gradients(padded, kernel, bias))


def teacher_forced_metrics(sums: TokenSums) -> dict[str, float]:
    """Returns `loss` per token, `token_accuracy` (0 to 1) and `perplexity`."""
    _, loss, correct, tokens = (float(value) for value in sums)
    mean = loss / max(tokens, 1.0)
    return {
        "loss": mean,
        "token_accuracy": correct / max(tokens, 1.0),
        # exp overflows above 709 nats.
        "perplexity": math.exp(min(mean, 700.0)),
    }
