"""Beam search with a length penalty, an n-best list, and a stop that provably loses nothing.

There is one beam of K slots. A hypothesis that reaches EOS keeps its slot. The free slots are
filled with the best extensions of the living hypotheses, so that the beam of living hypotheses
shrinks (Graves 2012; Bahdanau et al. 2015). It follows that K = 1 is greedy search whatever the
length penalty is, and that a beam that never prunes is exhaustive search.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from seq2seq.errors import UserError
from seq2seq.inference.search.hypotheses import (
    Hypotheses,
    SearchSpec,
    State,
    Step,
    forbid_impossible,
    keep_shapes,
    make_hypotheses,
    tile,
    write,
)
from seq2seq.special_ids import BOS, EOS, PAD


class BeamState(NamedTuple):
    """The loop variables. A slot with log-prob -inf is empty, as all but the first are at the
    start."""

    position: tf.Tensor  # [] int32: the position written next
    last_tokens: tf.Tensor  # [B, K] int32
    tokens: tf.Tensor  # [B, K, max_length] int32
    lengths: tf.Tensor  # [B, K] int32
    log_probs: tf.Tensor  # [B, K] float32
    is_finished: tf.Tensor  # [B, K] bool: reached EOS
    is_stopped: tf.Tensor  # [B] bool: the row's n-best list is final
    state: State  # leaves [B * K, ...]


class Extensions(NamedTuple):
    """The best extensions of the living hypotheses by one token, the best first."""

    log_probs: tf.Tensor  # [B, K] float32: of the whole hypothesis, -inf if there are fewer than K
    parents: tf.Tensor  # [B, K] int32: the slot that is extended
    tokens: tf.Tensor  # [B, K] int32


def beam(
    step: Step,
    state: State,
    batch_size: int | tf.Tensor,
    max_length: int,
    beam_size: int,
    length_penalty: float | tf.Tensor,
    n_best: int,
    stop_early: bool = True,
) -> Hypotheses:
    """Keeps the `beam_size` best hypotheses of each row at every step.

    Args:
        step: The model, one token at a time, for B * K rows.
        state: The state before the first token, leaves [B, ...]; it is tiled here.
        batch_size: B, a number or a scalar tensor.
        max_length: Maximum number of tokens of a hypothesis, EOS included.
        beam_size: K.
        length_penalty: 0 ranks by log-prob; above 0 favours long, below 0 short hypotheses.
        n_best: Number of hypotheses to return per row, at most `beam_size`.
        stop_early: Whether to stop as soon as the n-best list is final; the result is the same.

    Returns:
        Finished hypotheses before unfinished ones, then by falling score, the shorter on a tie.

    Raises:
        UserError: `n_best` or `beam_size` is out of range.
    """
    if not 1 <= n_best <= beam_size:
        raise UserError(f"n_best={n_best} must be at least 1 and at most beam_size={beam_size}")

    def continues(beams: BeamState) -> tf.Tensor:
        return (beams.position < max_length) & ~tf.reduce_all(beams.is_stopped)

    def advance(beams: BeamState) -> tuple[BeamState]:
        beams = _advance(step, beams)
        # Without the early stop a row is final once all K slots are.
        is_final = _is_final(beams, penalties, n_best if stop_early else beam_size)
        # A tuple of one, or the while loop would unpack the named tuple.
        return (beams._replace(is_stopped=beams.is_stopped | is_final),)

    penalties = length_penalties(max_length, length_penalty)
    start = _start(tile(state, beam_size), batch_size, max_length, beam_size)
    (final,) = tf.while_loop(continues, advance, (start,))
    return _n_best(final, penalties, n_best)


def _find(
    step: Step, state: State, batch_size: Any, max_length: int, settings: Any, seed: tf.Tensor
) -> Hypotheses:
    return beam(
        step,
        state,
        batch_size,
        max_length,
        beam_size=settings.beam_size,
        length_penalty=settings.length_penalty,
        n_best=settings.n_best,
    )


SPEC = SearchSpec(rows_per_source=lambda settings: settings.beam_size, find=_find)


def length_penalties(max_length: int, length_penalty: float | tf.Tensor) -> tf.Tensor:
    """Returns the divisors of log-probs by length [max_length + 1] (Wu et al. 2016, eq. 14)."""
    lengths = tf.range(max_length + 1, dtype=tf.float32)
    return ((5.0 + lengths) / 6.0) ** length_penalty


def _start(state: State, batch_size: int | tf.Tensor, max_length: int, beam_size: int) -> BeamState:
    # All beams of a row start equal. Only one may live, or all would remain copies of each other.
    first_row = [0.0] + [-float("inf")] * (beam_size - 1)
    return BeamState(
        position=tf.constant(0),
        last_tokens=tf.fill([batch_size, beam_size], BOS),
        tokens=tf.fill([batch_size, beam_size, max_length], PAD),
        lengths=tf.zeros([batch_size, beam_size], tf.int32),
        log_probs=tf.tile([first_row], [batch_size, 1]),
        is_finished=tf.zeros([batch_size, beam_size], tf.bool),
        is_stopped=tf.zeros([batch_size], tf.bool),
        state=state,
    )


def _advance(step: Step, now: BeamState) -> BeamState:
    """Extends the living hypotheses by one token."""
    # [B * K, V], leaves [B * K, ...]
    log_probs, state = step(tf.reshape(now.last_tokens, [-1]), now.state)
    # [B, K]: slots that do not change; all of them in a stopped row.
    is_kept = now.is_finished | now.is_stopped[:, None]
    best = _best_extensions(now, is_kept, forbid_impossible(log_probs))
    # [B, K]: the number of free slots before each slot. The r-th free slot takes the r-th best
    # extension, so that kept slots never move.
    rank = tf.cumsum(tf.cast(~is_kept, tf.int32), axis=1, exclusive=True)
    beam_size = rank.shape[1]
    parents = tf.where(is_kept, tf.range(beam_size), tf.gather(best.parents, rank, batch_dims=1))
    tokens = tf.where(is_kept, PAD, tf.gather(best.tokens, rank, batch_dims=1))
    totals = tf.where(is_kept, now.log_probs, tf.gather(best.log_probs, rank, batch_dims=1))
    # An empty slot never counts as finished: it is free for a later extension.
    ends_now = ~is_kept & (tokens == EOS) & (totals > -float("inf"))
    # A kept slot is its own parent.
    history = tf.gather(now.tokens, parents, batch_dims=1)  # [B, K, max_length]
    return BeamState(
        position=now.position + 1,
        last_tokens=tokens,
        tokens=write(history, now.position, tokens),
        # All living hypotheses are equally long, so lengths need no parents.
        lengths=tf.where(is_kept, now.lengths, now.position + 1),
        log_probs=totals,
        is_finished=now.is_finished | ends_now,
        is_stopped=now.is_stopped,
        state=keep_shapes(_gather_rows(state, parents), now.state),
    )


def _best_extensions(now: BeamState, is_kept: tf.Tensor, log_probs: tf.Tensor) -> Extensions:
    """Picks the K best extensions of each row among the log-probs [B * K, V]."""
    beam_size, vocabulary_size = is_kept.shape[1], log_probs.shape[-1]
    # No slot can contribute more than K extensions, so all but the best k of its V are dropped
    # first: the second top-k sorts K · k numbers instead of K · V. This order is that of the
    # log-probs themselves, as in greedy search, before any sum is rounded.
    k = min(beam_size, vocabulary_size)
    log_probs, tokens = tf.math.top_k(log_probs, k)  # [B * K, k]
    # A kept slot has no extensions.
    grown_from = tf.where(is_kept, -float("inf"), now.log_probs)  # [B, K]
    totals = tf.reshape(grown_from, [-1, 1]) + log_probs  # [B * K, k]
    # [B * K, k] -> [B, K * k] -> [B, K]; place p of a row is extension p % k of slot p // k.
    totals, places = tf.math.top_k(tf.reshape(totals, [-1, beam_size * k]), beam_size)
    tokens = tf.gather(tf.reshape(tokens, [-1, beam_size * k]), places, batch_dims=1)
    return Extensions(log_probs=totals, parents=places // k, tokens=tokens)


def _gather_rows(state: State, parents: tf.Tensor) -> State:
    """Returns the state of every slot's parent: leaves [B * K, ...], parents [B, K]."""
    batch_size, beam_size = tf.shape(parents)[0], parents.shape[1]
    # Slot s of batch row b is row b · K + s of the state.
    first_rows = tf.range(batch_size)[:, None] * beam_size  # [B, 1]
    rows = tf.reshape(first_rows + parents, [-1])  # [B * K]
    return tf.nest.map_structure(lambda leaf: tf.gather(leaf, rows), state)


def _is_final(beams: BeamState, penalties: tf.Tensor, n_best: int) -> tf.Tensor:
    """Returns whether each row's n-best list is final [B]: no living hypothesis can enter it.

    A log-prob is never positive and only falls. The best possible future of a living hypothesis is
    therefore to lose nothing and to be divided by the largest penalty ahead of it. Its score is
    bounded by log-prob / max(penalties ahead). Without a living hypothesis the bound is -inf, which
    every score reaches.
    """
    max_length = beams.tokens.shape[2]
    finished = beams.log_probs / tf.gather(penalties, beams.lengths)  # [B, K]
    finished = tf.where(beams.is_finished, finished, -float("inf"))
    n_th_best = tf.math.top_k(finished, n_best).values[:, -1]  # [B]
    alive = tf.reduce_max(tf.where(beams.is_finished, -float("inf"), beams.log_probs), axis=1)
    # Lengths that a living hypothesis can still reach. After the last position there is none; the
    # last penalty then avoids 0 / 0.
    is_ahead = tf.range(max_length + 1) > tf.minimum(beams.position, max_length - 1)
    bound = alive / tf.reduce_max(tf.where(is_ahead, penalties, 0.0))  # [B]
    # Equality suffices: a hypothesis that finishes later is longer, and the shorter wins a tie.
    return n_th_best >= bound


def _n_best(beams: BeamState, penalties: tf.Tensor, n_best: int) -> Hypotheses:
    """Ranks the slots and returns the first `n_best`."""
    scores = beams.log_probs / tf.gather(penalties, beams.lengths)  # [B, K]
    # Stable sorts, the most important key last: finished before unfinished, then score, then
    # length. A later finisher cannot come between those that were in the list when the row stopped.
    order = tf.argsort(beams.lengths, stable=True)
    for key in (-scores, tf.cast(~beams.is_finished, tf.int32)):
        by_key = tf.argsort(tf.gather(key, order, batch_dims=1), stable=True)
        order = tf.gather(order, by_key, batch_dims=1)
    order = order[:, :n_best]
    best_first = (tf.gather(x, order, batch_dims=1) for x in (beams.tokens, beams.lengths, scores))
    return make_hypotheses(*best_first)
