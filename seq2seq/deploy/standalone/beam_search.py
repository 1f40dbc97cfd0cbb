"""Beam search: from source ids to the ids of the best answers."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from seq2seq.deploy.standalone.arithmetic import IMPOSSIBLE, MANY, log_softmax
from seq2seq.deploy.standalone.request import BOS, EOS, PAD, Found, Search, pad


class Steps(Protocol):
    """A model whose decoder is called step by step.

    Its states have a method `rows`, which returns the states of other rows by their numbers.
    """

    def encode(self, source: np.ndarray) -> tuple[Any, Any]:
        """Returns the memory and the decoder's first state of source ids `[B, S]`."""

    def step(self, tokens: np.ndarray, state: Any, memory: Any) -> tuple[np.ndarray, Any]:
        """Returns the log-probabilities `[B, K, V]` of what follows tokens `[B, K]`."""


class StepEngine:
    """Answers with a model whose decoder is called step by step."""

    def __init__(self, steps: Steps) -> None:
        """Keeps the model."""
        self.steps = steps

    def search(self, source: np.ndarray, search: Search) -> Found:
        """Returns the best answers to source ids `[B, S]`."""
        return beam_search(self.steps, source, search)

    def confidences(
        self, source: np.ndarray, answers: Found, search: Search, temperature: float
    ) -> np.ndarray:
        """Returns the probabilities `[B]` of the best answers, their ends included."""
        best = [[i for i in own[0][0] if i not in (PAD, EOS)] if own else [] for own in answers]
        total = self.log_probs(source, pad([[*ids, EOS] for ids in best]), temperature)
        return np.exp(np.minimum(total, 0.0))

    def log_probs(self, source: np.ndarray, target: np.ndarray, temperature: float) -> np.ndarray:
        """Returns the log-probabilities `[B]` of target ids `[B, T]`, each closed by EOS."""
        memory, state = self.steps.encode(source)
        total, last = np.zeros(len(source)), np.full((len(source), 1), BOS)
        for t in range(target.shape[1]):
            log_probs, state = self.steps.step(last, state, memory)
            log_probs = log_softmax(log_probs[:, 0] / np.float32(temperature))
            chosen = np.take_along_axis(log_probs, target[:, t, None], 1)[:, 0]
            total += np.where(target[:, t] == PAD, 0.0, chosen)
            last = target[:, t, None]
        return total


def beam_search(steps: Steps, source: np.ndarray, search: Search) -> Found:
    """Keeps the best hypotheses of each source `[B, S]` at every step.

    A hypothesis that ends keeps its slot of the beam. A row stops when no living hypothesis can
    enter its n-best list any more.
    """
    batch, size, length = len(source), search.beam_size, search.max_length
    memory, state = steps.encode(source)
    state = state.rows(np.repeat(np.arange(batch), size))
    first_rows = np.arange(batch)[:, None] * size
    # Divisors of log-probabilities by length (Wu et al. 2016, eq. 14).
    penalties = ((np.arange(length + 1, dtype=np.float32) + 5) / 6) ** search.length_penalty
    tokens = np.full((batch, size, length), PAD)
    last, lengths = np.full((batch, size), BOS), np.zeros((batch, size), int)
    totals = np.full((batch, size), -np.inf, np.float32)  # An empty slot has -inf.
    totals[:, 0] = 0.0
    is_finished, is_stopped = np.zeros((batch, size), bool), np.zeros(batch, bool)
    for position in range(length):
        log_probs, state = steps.step(last, state, memory)
        is_ruled_out = ~(log_probs > IMPOSSIBLE)  # also what is not a number
        is_ruled_out[..., [PAD, BOS]] = True
        if position < search.min_length:
            is_ruled_out[..., EOS] = True
        log_probs[is_ruled_out] = -np.inf
        is_kept = is_finished | is_stopped[:, None]
        best, parents, added = best_extensions(np.where(is_kept, -np.inf, totals), log_probs)
        # The r-th free slot takes the r-th best extension. Kept slots are their own parents.
        rank: np.ndarray = np.cumsum(~is_kept, axis=1) - ~is_kept
        parents = np.where(is_kept, np.arange(size), np.take_along_axis(parents, rank, 1))
        last = np.where(is_kept, PAD, np.take_along_axis(added, rank, 1))
        totals = np.where(is_kept, totals, np.take_along_axis(best, rank, 1))
        tokens = np.take_along_axis(tokens, parents[..., None], 1)
        tokens[..., position] = last
        lengths = np.where(is_kept, lengths, position + 1)
        is_finished = is_finished | (~is_kept & (last == EOS) & (totals > -np.inf))
        state = state.rows((first_rows + parents).reshape(-1))
        # A log-probability only falls: a living hypothesis can at best keep its own, and be divided
        # by the largest penalty ahead.
        finished = np.where(is_finished, totals / penalties[lengths], -np.inf)
        bound = np.where(is_finished, -np.inf, totals).max(axis=1)
        bound = bound / penalties[min(position + 1, length - 1) + 1 :].max()
        is_stopped = is_stopped | (np.sort(finished, axis=1)[:, -search.n_best] >= bound)
        if is_stopped.all():
            break
    scores = totals / penalties[lengths]
    # Finished hypotheses first, then by falling score; of equal ones, the shorter.
    order = np.lexsort((lengths, -scores, ~is_finished), axis=-1)[:, : search.n_best]
    return [
        [(tokens[b, k].tolist(), float(scores[b, k])) for k in order[b] if scores[b, k] > -np.inf]
        for b in range(batch)
    ]


def best_extensions(
    totals: np.ndarray, log_probs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the K best log-probabilities, their slots and their tokens, `[B, K]` each."""
    batch, size, vocabulary = log_probs.shape
    k = min(size, vocabulary)
    tokens = top(log_probs, k)  # [B, K, k]
    grown = totals[..., None] + np.take_along_axis(log_probs, tokens, -1)
    grown, tokens = grown.reshape(batch, -1), tokens.reshape(batch, -1)
    places = top(grown, size)
    return (
        np.take_along_axis(grown, places, 1),
        places // k,
        np.take_along_axis(tokens, places, 1),
    )


def top(values: np.ndarray, k: int) -> np.ndarray:
    """Returns the places of the k largest values of the last axis, the largest first.

    Of equal values, the one at the lower place comes first.
    """
    if k == 1:
        return np.argmax(values, axis=-1)[..., None]
    if values.shape[-1] < MANY:
        return np.argsort(-values, axis=-1, kind="stable")[..., :k]
    # The k largest in any order, then only those are sorted.
    some = np.sort(np.argpartition(-values, k - 1, axis=-1)[..., :k], axis=-1)
    last = np.take_along_axis(values, some, -1).min(axis=-1, keepdims=True)
    if (np.count_nonzero(values >= last, axis=-1) > k).any():  # Of those like the last, the first.
        is_larger, is_last = values > last, values == last
        left = k - is_larger.sum(axis=-1, keepdims=True)
        is_among = is_larger | (is_last & (np.cumsum(is_last, axis=-1) <= left))
        some = np.nonzero(is_among)[-1].reshape(some.shape)
    order = np.argsort(-np.take_along_axis(values, some, -1), axis=-1, kind="stable")
    return np.take_along_axis(some, order, -1)
