"""Teacher forcing of given targets in compiled batches: the probability of each of their tokens.

The targets are references (`scoring.py`) or the model's own answers (`observation.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from seq2seq.data.buckets import pad
from seq2seq.inference.ensemble import Ensemble, longest, side_by_side
from seq2seq.inference.shapes import bucket
from seq2seq.model.rnn.compiled import compiled
from seq2seq.model.seq2seq import Seq2Seq
from seq2seq.special_ids import PAD

Source = Sequence[list[int]]
"""The ids of one source, as each member reads it."""

Forced = Callable[..., Sequence[tf.Tensor]]
"""(source ids `[B, S]`, target ids `[B, T + 1]`, further arguments) → tensors `[B, ...]`."""

_IDS = tf.TensorSpec([None, None], tf.int32)


def in_batches(
    function: Forced,
    sources: Sequence[Source],
    targets: Sequence[list[int]],
    batch_size: int,
    *arguments: tf.Tensor,
) -> list[list[Any]]:
    """Returns the results of a compiled function for each pair of source and target.

    Args:
        function: Is called with ids and `arguments`.
        sources: The sources.
        targets: Their ids, with BOS and EOS.
        batch_size: Rows of a batch.
        *arguments: Are passed on.
    """
    # Rows of similar length share a batch, so that little of it is padding.
    order = sorted(range(len(sources)), key=lambda i: (len(sources[i][0]), len(targets[i])))
    found: dict[int, list[Any]] = {}
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        blocks = [list(block) for block in zip(*(sources[i] for i in rows), strict=True)]
        filled = len(rows), batch_size
        shape = bucket(*filled, longest(blocks))
        _, target_length = bucket(*filled, max(len(targets[i]) for i in rows))
        # Filler rows of the bucket repeat the last row, as those of the sources do.
        missing = [(0, shape[0] - len(rows)), (0, 0)]
        target = np.pad(pad([targets[i] for i in rows], target_length + 1), missing, mode="edge")
        tensors = function(
            tf.constant(side_by_side(blocks, *shape)), tf.constant(target), *arguments
        )
        results = zip(*(tensor.numpy().tolist() for tensor in tensors), strict=True)
        found.update(zip(rows, map(list, results), strict=False))
    return [found[i] for i in range(len(sources))]


def compile_scoring(model: Seq2Seq | Ensemble, jit_compile: bool) -> Forced:
    """Returns the function whose only result is the log-probabilities `[B, T]` of the tokens."""

    def score(source: tf.Tensor, target: tf.Tensor) -> list[tf.Tensor]:
        memory, state = model.encode(source, training=False)
        log_probs, _ = model.decoder.log_probs(target[:, :-1], state, memory)  # [B, T, V]
        return [tf.gather(log_probs, target[:, 1:], axis=2, batch_dims=2)]

    return compiled(score, jit_compile, [_IDS, _IDS])


def compile_observation(model: Seq2Seq | Ensemble) -> Forced:
    """Returns the function that observes targets; its last argument is temperatures `[K]`.

    It is compiled without XLA, which would take seconds for each shape. Its results are:

    - the log-probabilities of the tokens `[B, T]`;
    - the source positions with the largest attention weights `[B, T]`, -1 without attention;
    - the log-probabilities of whole targets, their ends included, at each temperature `[B, K]`.
    """

    @tf.function(autograph=False, input_signature=[_IDS, _IDS, tf.TensorSpec([None], tf.float32)])
    def observe(
        source: tf.Tensor, target: tf.Tensor, temperatures: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        memory, state = model.encode(source, training=False)
        log_probs, seen = model.decoder.observe(target[:, :-1], state, memory)  # [B, T, V]
        written = target[:, 1:]  # [B, T]
        chosen = tf.gather(log_probs, written, axis=2, batch_dims=2)  # [B, T]

        def total(temperature: tf.Tensor) -> tf.Tensor:
            # log softmax(log_probs / temperature) of the chosen tokens, summed: [B].
            normalizer = tf.reduce_logsumexp(log_probs / temperature, axis=2)
            by_token = chosen / temperature - normalizer
            return tf.reduce_sum(tf.where(written == PAD, 0.0, by_token), axis=1)

        # One temperature at a time: the memory does not grow with K.
        totals = tf.map_fn(total, temperatures)  # [K, B]
        weights = seen.get("attention_weights")
        if weights is None:
            position = tf.fill(tf.shape(written), -1)
        else:
            position = tf.argmax(weights, axis=2, output_type=tf.int32)
        return chosen, position, tf.transpose(totals)

    return observe


def compile_attention(model: Seq2Seq) -> Forced:
    """Returns the function whose only result is the attention weights `[B, T, S]`.

    Without attention S is 0. Like `compile_observation`, it is compiled without XLA.
    """

    @tf.function(autograph=False, input_signature=[_IDS, _IDS])
    def attend(source: tf.Tensor, target: tf.Tensor) -> list[tf.Tensor]:
        memory, state = model.encode(source, training=False)
        _, _, seen = model.decoder(target[:, :-1], state, memory)
        rows = tf.shape(target)[0], tf.shape(target)[1] - 1
        return [seen.get("attention_weights", tf.zeros([*rows, 0]))]

    return attend
