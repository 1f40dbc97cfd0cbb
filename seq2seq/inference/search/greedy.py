"""Greedy search, and the rollout loop that it shares with sampling."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from seq2seq.inference.search.hypotheses import (
    Hypotheses,
    SearchSpec,
    State,
    Step,
    forbid_impossible,
    keep_shapes,
    make_hypotheses,
    write,
)
from seq2seq.special_ids import BOS, EOS, PAD

Choose = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""(log_probs [N, V], position []) -> tokens [N] int32."""


class RolloutState(NamedTuple):
    """The loop variables of a rollout."""

    position: tf.Tensor  # [] int32: the position written next
    last_tokens: tf.Tensor  # [N] int32
    tokens: tf.Tensor  # [N, max_length] int32
    lengths: tf.Tensor  # [N] int32
    scores: tf.Tensor  # [N] float32: sums of log-probs
    is_finished: tf.Tensor  # [N] bool: reached EOS, or a dead end
    state: State  # leaves [N, ...]


def greedy(step: Step, state: State, batch_size: int | tf.Tensor, max_length: int) -> Hypotheses:
    """Chooses the most probable token at every step.

    Args:
        step: The model, one token at a time.
        state: The state before the first token, leaves [B, ...].
        batch_size: B, a number or a scalar tensor.
        max_length: Maximum number of tokens of a hypothesis, EOS included.

    Returns:
        One hypothesis per row; its score is the sum of its log-probs.
    """
    final = roll_out(step, state, batch_size, max_length, most_probable)
    return make_hypotheses(final.tokens[:, None], final.lengths[:, None], final.scores[:, None])


def most_probable(log_probs: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """Returns the ids with the highest log-prob; of several, the lowest id."""
    del position
    return tf.argmax(log_probs, axis=-1, output_type=tf.int32)


def roll_out(
    step: Step, state: State, rows: int | tf.Tensor, max_length: int, choose: Choose
) -> RolloutState:
    """Chooses one token per row and step until every row has finished."""

    def continues(rollout: RolloutState) -> tf.Tensor:
        return (rollout.position < max_length) & ~tf.reduce_all(rollout.is_finished)

    start = RolloutState(
        position=tf.constant(0),
        last_tokens=tf.fill([rows], BOS),
        tokens=tf.fill([rows, max_length], PAD),
        lengths=tf.zeros([rows], tf.int32),
        scores=tf.zeros([rows]),
        is_finished=tf.zeros([rows], tf.bool),
        state=state,
    )
    # The extra parentheses keep the while loop from unpacking the named tuple.
    final: tuple[RolloutState]
    final = tf.while_loop(continues, lambda rollout: (_advance(step, choose, rollout),), (start,))
    return final[0]


def _find(
    step: Step, state: State, batch_size: Any, max_length: int, settings: Any, seed: tf.Tensor
) -> Hypotheses:
    return greedy(step, state, batch_size, max_length)


SPEC = SearchSpec(rows_per_source=lambda settings: 1, find=_find)


def _advance(step: Step, choose: Choose, now: RolloutState) -> RolloutState:
    # [N, V], leaves [N, ...]
    log_probs, state = step(now.last_tokens, now.state)
    log_probs = forbid_impossible(log_probs)
    # [N]; a finished row is filled up with PAD, at log-prob -inf, hence the second `where`.
    tokens = tf.where(now.is_finished, PAD, choose(log_probs, now.position))
    scores = now.scores + tf.gather(log_probs, tokens, batch_dims=1)
    scores = tf.where(now.is_finished, now.scores, scores)
    return RolloutState(
        position=now.position + 1,
        last_tokens=tokens,
        tokens=write(now.tokens, now.position, tokens),
        lengths=tf.where(now.is_finished, now.lengths, now.position + 1),
        scores=scores,
        is_finished=now.is_finished | (tokens == EOS) | (scores == -float("inf")),
        state=keep_shapes(state, now.state),
    )
