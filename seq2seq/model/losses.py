"""Teacher-forced measures of one batch, over real tokens only."""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from seq2seq.vocabulary import PAD


class TokenSums(NamedTuple):
    """Sums over the real target tokens of a batch, scalars float32; padding adds nothing.

    They are sums, not means, so that batches, steps and replicas can be added up before the one
    division by the number of tokens. `objective` is what training lowers: `loss` with label
    smoothing; without it the two are the same.
    """

    objective: tf.Tensor
    loss: tf.Tensor
    correct: tf.Tensor
    tokens: tf.Tensor


def token_sums(logits: tf.Tensor, target_out: tf.Tensor, label_smoothing: float = 0.0) -> TokenSums:
    """Compares logits `[B, T, V]` with the next tokens `[B, T]`.

    The loss is the cross-entropy in nats. With label smoothing e the true token weighs 1 - e and
    all V tokens share e (Szegedy et al. 2016, section 7).
    """
    weights = tf.cast(tf.not_equal(target_out, PAD), tf.float32)  # [B, T]
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(target_out, logits)  # [B, T]
    objective = losses
    if label_smoothing:
        uniform = tf.reduce_logsumexp(logits, axis=-1) - tf.reduce_mean(logits, axis=-1)
        objective = (1.0 - label_smoothing) * losses + label_smoothing * uniform
    is_correct = tf.equal(tf.argmax(logits, axis=-1, output_type=tf.int32), target_out)
    return TokenSums(
        objective=tf.reduce_sum(objective * weights),
        loss=tf.reduce_sum(losses * weights),
        correct=tf.reduce_sum(tf.cast(is_correct, tf.float32) * weights),
        tokens=tf.reduce_sum(weights),
    )


def teacher_forced_metrics(sums: TokenSums) -> dict[str, float]:
    """Returns `loss` per token, `token_accuracy` (0 to 1) and `perplexity`."""
    _, loss, correct, tokens = (float(value) for value in sums)
    mean = loss / max(tokens, 1.0)
    return {
        "loss": mean,
        "token_accuracy": correct / max(tokens, 1.0),
        # exp overflows beyond 709 nats; such a model has no use for the digits.
        "perplexity": math.exp(min(mean, 700.0)),
    }
