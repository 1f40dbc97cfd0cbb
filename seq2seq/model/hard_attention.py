"""Exact hard attention: every token is aligned with one source position, and all are summed.

Soft attention averages the memory and makes one distribution. Hard attention makes a distribution
over the target ids *per source position* and averages those, weighted with the distribution of the
alignment: p(y_t) = Σ_s p(a_t = s) · p(y_t | a_t = s). The sum over alignments is exact, so that no
sampling is needed. It replaces attention and the projection at once, hence it is an output head.

The logits of these heads are log-probabilities.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from seq2seq.config.schema import ModelConfig
from seq2seq.model.copying import with_copies
from seq2seq.model.output import NEVER, OutputHead
from seq2seq.model.types import Carried, Encoded, Hidden, Memory, Seen, Tensor


class HardAttention(OutputHead):
    """A mixture over source positions, each step aligned independently of the others.

    The order 0 of Wu, Shapiro & Cotterell (2018, "Hard Non-Monotonic Attention for Character-Level
    Transduction"), without input feeding: all T steps are scored at once. It holds `[B, T, S, V]`
    numbers in training, so that it suits vocabularies of characters or phones.
    """

    DTYPE = "float32"  # A softmax in bfloat16 loses the small probabilities.

    def make_layers(self, config: ModelConfig, embedding: keras.layers.Layer | None) -> None:
        """Makes the layers; `attention.units` is the size A of a mixed vector."""
        assert config.attention.units is not None
        assert config.decoder.units is not None
        size, query_size = config.attention.units, config.decoder.units
        float32 = {"dtype": "float32"}
        self.key = keras.layers.Dense(query_size, use_bias=False, name="key", **float32)
        self.source_part = keras.layers.Dense(size, use_bias=False, name="source_part", **float32)
        self.target_part = keras.layers.Dense(size, name="target_part", **float32)
        self.words = keras.layers.Dense(self.target_size, name="words", **float32)
        self.gate = keras.layers.Dense(1, name="gate", **float32) if config.copy else None

    def memory(self, encoded: Encoded) -> Memory:
        """Returns projections of the encoder's sequence, computed once per source, and its mask."""
        return {
            "keys": self.key(encoded.sequence),  # [B, S, U]
            "source_part": self.source_part(encoded.sequence),  # [B, S, A]
            "mask": encoded.mask,  # [B, S]
        }

    def call(
        self, hidden: Hidden, memory: Memory, state: Carried, training: bool | None = None
    ) -> tuple[Tensor, Carried, Seen]:
        """Returns log-probabilities `[B, T, V]`, the state after the T steps, and the alignment.

        `attention_weights` `[B, T, S]` are p(a_t = s) before the token of step t is known.
        """
        tokens = self.token_log_probs(hidden, memory)
        alignment, state = self.align(hidden, memory, state, tokens)
        # log Σ_s p(a_t = s) · p(y_t | a_t = s), over the S of [B, T, S, V].
        logits = tf.reduce_logsumexp(alignment[..., None] + tokens, axis=2)
        return logits, state, {"attention_weights": tf.exp(alignment)}

    def align(
        self, hidden: Hidden, memory: Memory, state: Carried, tokens: Tensor
    ) -> tuple[Tensor, Carried]:
        """Returns log p(a_t = s) `[B, T, S]`, and the state after the T steps.

        `tokens` are those of `token_log_probs`.
        """
        return tf.nn.log_softmax(self.scores(hidden, memory)), state

    def scores(self, hidden: Hidden, memory: Memory) -> Tensor:
        """Returns the scores `[B, T, S]` of the positions: query · (W memory)."""
        query = ops.cast(hidden.vectors, "float32")
        scores = tf.matmul(query, memory["keys"], transpose_b=True)
        return tf.where(memory["mask"][:, None], scores, NEVER)

    def token_log_probs(self, hidden: Hidden, memory: Memory) -> Tensor:
        """Returns log p(y_t | a_t = s) `[B, T, S, V]`."""
        query = self.target_part(hidden.vectors)  # [B, T, A]
        vectors = tf.tanh(query[:, :, None] + memory["source_part"][:, None])  # [B, T, S, A]
        # As rows: outside XLA, a tensor of four axes times a matrix corrupts the heap in the oneDNN
        # kernels of TensorFlow 2.21.
        rows = tf.reshape(vectors, [-1, vectors.shape[-1]])  # [B · T · S, A]
        shape = tf.concat([tf.shape(vectors)[:3], [self.target_size]], axis=0)
        words = tf.nn.log_softmax(tf.reshape(self.words(rows), shape))
        if self.gate is None:
            return words
        return with_copies(words, tf.reshape(self.gate(rows), shape[:3]), memory["copies"])


class MonotonicAttention(HardAttention):
    """A mixture over alignments that never go back.

    The monotonic model of order 1 of Wu & Cotterell (2019, "Exact Hard Monotonic Attention for
    Character-Level Transduction"): the alignment of a step is chosen among the positions from that
    of the step before on, p(a_t = s | a_t-1 = r) = exp(score_t,s) / Σ_{q ≥ r} exp(score_t,q).

    A forward recursion sums over all alignments. It is carried from step to step as the joint
    log-probabilities of alignment and token `[B, S, V]`: the next token picks a column, which is
    the distribution of the alignment that the token leaves.
    """

    def start(self, encoded: Encoded) -> Carried:
        """Returns the state that leaves the first source position, whatever the first token is."""
        # Keras's operations, because this one also runs on symbolic tensors.
        position = ops.cumsum(ops.ones_like(encoded.source), axis=1)  # [B, S], from 1
        log_prob = ops.where(ops.equal(position, 1), 0.0, NEVER)
        return ops.repeat(log_prob[:, :, None], self.target_size, axis=2)

    def align(
        self, hidden: Hidden, memory: Memory, state: Carried, tokens: Tensor
    ) -> tuple[Tensor, Carried]:
        """Returns log p(a_t = s | the tokens before step t) `[B, T, S]`, and the state."""
        written = hidden.target_in  # [B, T]: the token that every step follows
        # [B, S, V] -> [B, S]
        before = tf.gather(state, written[:, 0], axis=2, batch_dims=1)
        # The last step's token is not known here. [B, T, S, V] -> [B, T, S]
        follows = tf.concat([written[:, 1:], tf.zeros_like(written[:, :1])], axis=1)
        likelihood = tf.gather(tokens, follows, axis=3, batch_dims=2)
        scores = self.scores(hidden, memory)
        by_time = (tf.transpose(x, [1, 0, 2]) for x in (scores, likelihood))
        alignment = tf.transpose(forward_recursion(before, *by_time), [1, 0, 2])
        return alignment, alignment[:, -1, :, None] + tokens[:, -1]


def forward_recursion(before: Tensor, scores: Tensor, likelihood: Tensor) -> Tensor:
    """Returns log p(a_t = s | y_1 … y_t-1) `[T, B, S]` of alignments that never go back.

    Args:
        before: log p(a_0 = s), up to a constant `[B, S]`.
        scores: Of the positions at every step `[T, B, S]`.
        likelihood: log p(y_t | a_t = s) `[T, B, S]`; that of the last step is not read.
    """
    # Under XLA a loop cannot be differentiated unless the number of steps is static, and not
    # well even then: the loop below goes back itself, and each step is differentiated alone.
    steps = scores.shape[0]
    if steps == 1:
        return _recursion_step(before, scores[0], likelihood[0])[0][None]
    return _differentiable_recursion(before, scores, likelihood)


@tf.custom_gradient
def _differentiable_recursion(
    before: Tensor, scores: Tensor, likelihood: Tensor
) -> tuple[Tensor, Any]:
    steps = tf.shape(scores)[0]

    def forward(t: Tensor, left: Tensor, arrays: Any) -> Any:
        alignment, after = _recursion_step(left, scores[t], likelihood[t])
        # In a graph, the static shapes of the two may differ: a 1 is kept where None is not.
        after.set_shape(left.shape)
        values = (left, alignment)
        return t + 1, after, [a.write(t, v) for a, v in zip(arrays, values, strict=True)]

    arrays = [tf.TensorArray(tf.float32, steps) for _ in range(2)]
    _, _, arrays = tf.while_loop(
        lambda t, *_: t < steps, forward, (0, before, arrays), parallel_iterations=1
    )
    lefts, alignments = (array.stack() for array in arrays)

    def gradient(d_alignments: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        def backward(t: Tensor, d_after: Tensor, arrays: Any) -> Any:
            given = [lefts[t], scores[t], likelihood[t]]
            with tf.GradientTape() as tape:
                tape.watch(given)
                found = _recursion_step(*given)
            d_left, *d_others = tape.gradient(found, given, [d_alignments[t], d_after])
            d_left.set_shape(d_after.shape)
            return t - 1, d_left, [a.write(t, d) for a, d in zip(arrays, d_others, strict=True)]

        arrays = [tf.TensorArray(tf.float32, steps) for _ in range(2)]
        _, d_before, arrays = tf.while_loop(
            lambda t, *_: t >= 0,
            backward,
            (steps - 1, tf.zeros_like(before), arrays),
            parallel_iterations=1,
        )
        return d_before, *(array.stack() for array in arrays)

    return alignments, gradient


def _recursion_step(left: Tensor, scores: Tensor, likelihood: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the alignment of a step before and after its token is known, `[B, S]` each.

    Args:
        left: The alignment of the step before, log-probabilities up to a constant `[B, S]`.
        scores: `[B, S]`.
        likelihood: The log-probability of the step's token at each position `[B, S]`.
    """
    size = scores.shape[-1] or tf.shape(scores)[-1]
    # [S, S]: whether position s (column) can be reached from r (row).
    is_ahead = tf.range(size)[:, None] <= tf.range(size)[None]
    # log Σ_{q ≥ r} exp(score_q) [B, S], by r.
    total = tf.reduce_logsumexp(tf.where(is_ahead, scores[:, None], NEVER), axis=2)
    # log Σ_{r ≤ s} p(a = r) / total_r [B, S], by s.
    share = tf.nn.log_softmax(left) - total  # [B, S], by r
    reached = tf.reduce_logsumexp(tf.where(is_ahead, share[:, :, None], NEVER), axis=1)
    alignment = scores + reached
    return alignment, alignment + likelihood
