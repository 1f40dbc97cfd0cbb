"""Beam search and confidence as ONNX loops over the steps of a decoder.

The search is that of `inference/search/beam.py`, and greedy search is a beam of one.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from seq2seq.deploy.onnx_graph.attention import Memory
from seq2seq.deploy.onnx_graph.builder import BOOL, FLOAT, INT64, Builder, Values
from seq2seq.special_ids import BOS, EOS, PAD

# A lower log-probability is a mask, not a probability.
IMPOSSIBLE = -1e4
NOTHING = -np.inf
"""The log-probability of an empty slot of a beam, and of what cannot be written."""

KINDS = {"tokens": INT64, "last": INT64, "lengths": INT64, "is_finished": BOOL, "is_kept": BOOL}


class Network(Protocol):
    """What a search calls, see `network.py`; `size` is the number of target ids."""

    size: int

    def encode(self, g: Builder, source: str, beams: str) -> tuple[Memory, Values]: ...

    def step(
        self, g: Builder, tokens: str, state: Values, memory: Memory
    ) -> tuple[str, Values]: ...

    def follow(
        self, g: Builder, after: Values, memory: Memory, rows: str, tokens: str
    ) -> Values: ...


class Options(NamedTuple):
    """The inputs that set the search, numbers all: see `model.py`."""

    beam_size: str
    n_best: str
    length_penalty: str
    max_length: str
    min_length: str


class Beam:
    """A beam search; `start`, `step` and `best` add its nodes.

    Its values: `tokens` `[N, 1 + steps]`, BOS first; `last` `[N]`; and `[B, K]` each: `totals`, the
    log-probabilities; `lengths`; `is_finished`, whether EOS was written; `is_kept`, whether the
    slot does not change any more, as it is finished or its row's n-best list is final. The others
    are the state of the decoder.
    """

    def __init__(self, g: Builder, network: Network, memory: Memory, options: Options) -> None:
        """Computes what is the same at every step."""
        self.network, self.memory, self.options = network, memory, options
        self.size = g.Reshape(options.beam_size, [1])
        self.n_best = g.Reshape(options.n_best, [1])
        self.batch = g.Shape(memory.source, start=0, end=1)
        self.shape = g.Concat(self.batch, self.size, axis=0)  # [B, K]
        # Divisors of log-probabilities by length (Wu et al. 2016, eq. 14).
        lengths = g.Cast(g.Range(0, g.Add(options.max_length, 1), 1), to=FLOAT)
        self.penalties = g.Pow(g.Div(g.Add(lengths, 5.0), 6.0), options.length_penalty)
        # The largest divisor that a hypothesis of each length can still get: they rise or fall.
        self.ahead = g.Max(self.penalties, g.Gather(self.penalties, options.max_length))
        self.extensions = g.Min(self.size, [network.size])
        self.slots = g.Range(0, options.beam_size, 1)  # [K]
        first = g.Mul(g.Range(0, g.Squeeze(self.batch), 1), options.beam_size)
        self.first_rows = g.Unsqueeze(first, [1])  # [B, 1]: the rows of the slots 0
        # What a log-probability must exceed; answers that are too short do not end.
        self.bounds = np.full((2, network.size), IMPOSSIBLE, np.float32)
        self.bounds[:, [PAD, BOS]] = self.bounds[1, EOS] = np.inf

    def start(self, g: Builder, state: Values) -> Values:
        """Returns the values before the first step, with the state of the decoder."""
        rows = g.Mul(self.batch, self.size)
        is_first = g.Expand(g.Equal(self.slots, 0), self.shape)
        nowhere = g.Expand(np.array(False), self.shape)
        return {
            "tokens": g.Expand(BOS, g.Concat(rows, [1], axis=0)),
            "last": g.Expand(BOS, rows),
            # Only the first slot lives, or all would remain copies of each other.
            "totals": g.Where(is_first, 0.0, NOTHING),
            "lengths": g.Expand(0, self.shape),
            "is_finished": nowhere,
            "is_kept": nowhere,
            **state,
        }

    def step(self, g: Builder, position: str, now: Values) -> tuple[str, Values]:
        """Extends the living hypotheses by one token; returns whether the search goes on."""
        log_probs, after = self.network.step(g, now["last"], now, self.memory)
        # The r-th free slot takes the r-th best extension. Kept slots are their own parents.
        is_kept, is_free = now["is_kept"], g.Cast(g.Not(now["is_kept"]), to=INT64)
        rank = g.CumSum(is_free, 1, exclusive=1)
        best, parents, added = self._best_extensions(g, position, now, log_probs, rank)
        parents = g.Where(is_kept, self.slots, parents)
        tokens = g.Where(is_kept, PAD, added)
        totals = g.Where(is_kept, now["totals"], best)
        rows = g.Reshape(g.Add(self.first_rows, parents), [-1])
        last = g.Reshape(tokens, [-1])
        # An empty slot never counts as finished: it is free for a later extension.
        ends = g.And(g.Equal(tokens, EOS), g.Greater(totals, NOTHING))
        changed = {
            "tokens": g.Concat(g.Gather(now["tokens"], rows), g.Unsqueeze(last, [1]), axis=1),
            "last": last,
            "totals": totals,
            "lengths": g.Add(now["lengths"], is_free),
            "is_finished": g.Or(now["is_finished"], ends),
        }
        is_kept = g.Or(g.Or(is_kept, ends), self._is_final(g, position, changed))
        goes_on = g.Equal(g.ReduceMin(g.Cast(is_kept, to=INT64), keepdims=0), 0)
        state = self.network.follow(g, after, self.memory, rows, last)
        return goes_on, {**changed, "is_kept": is_kept, **state}

    def _best_extensions(
        self, g: Builder, position: str, now: Values, log_probs: str, rank: str
    ) -> tuple[str, str, str]:
        """Returns log-probabilities, parents and tokens of the extension of each rank `[B, K]`.

        `TopK` puts the lower place first where values are equal.
        """
        is_short = g.Less(position, self.options.min_length)
        bounds = g.Where(is_short, self.bounds[1], self.bounds[0])
        # What is not a number exceeds nothing.
        log_probs = g.Where(g.Greater(log_probs, bounds), log_probs, NOTHING)
        log_probs, tokens = g.TopK(log_probs, self.extensions, outputs=2)  # [B, K, k]
        living = g.Where(now["is_kept"], NOTHING, now["totals"])
        grown = g.Reshape(g.Add(g.Unsqueeze(living, [2]), log_probs), [0, -1])  # [B, K · k]
        best, places = g.TopK(grown, self.size, outputs=2)
        best, places = (g.GatherElements(one, rank, axis=1) for one in (best, places))
        added = g.GatherElements(g.Reshape(tokens, [0, -1]), places, axis=1)
        return best, g.Div(places, self.extensions), added

    def _is_final(self, g: Builder, position: str, now: Values) -> str:
        """Returns whether each row's n-best list is final `[B, 1]`.

        A log-probability only falls: a living hypothesis can at best keep its own, and be divided
        by the largest penalty ahead.
        """
        finished = g.Where(now["is_finished"], self._scores(g, now), NOTHING)
        worst = g.ReduceMin(g.TopK(finished, self.n_best, outputs=2)[0], [1])
        living = g.Where(now["is_finished"], NOTHING, now["totals"])
        ahead = g.Gather(self.ahead, g.Min(g.Add(position, 2), self.options.max_length))
        return g.GreaterOrEqual(worst, g.Div(g.ReduceMax(living, [1]), ahead))

    def _scores(self, g: Builder, now: Values) -> str:
        return g.Div(now["totals"], g.Gather(self.penalties, now["lengths"]))

    def best(self, g: Builder, final: Values) -> tuple[str, str]:
        """Returns tokens `[B, n_best, steps]` and scores `[B, n_best]`, the best first.

        Finished hypotheses come first, then the higher score; of equal ones, the shorter. Slots
        that are empty have the score NOTHING and padding alone.
        """
        scores = self._scores(g, final)
        order = None
        # Stable sorts, the most important key last.
        for key in (
            g.Neg(g.Cast(final["lengths"], to=FLOAT)),
            scores,
            g.Cast(final["is_finished"], to=FLOAT),
        ):
            values = key if order is None else g.GatherElements(key, order, axis=1)
            _, places = g.TopK(values, self.size, outputs=2)
            order = places if order is None else g.GatherElements(order, places, axis=1)
        order = g.Slice(order, [0], self.n_best, [1])
        scores = g.GatherElements(scores, order, axis=1)
        tokens = g.Slice(final["tokens"], [1], [np.iinfo(np.int64).max], [1])
        tokens = g.Gather(tokens, g.Add(self.first_rows, order))  # [B, n_best, steps]
        is_empty = g.Unsqueeze(g.Equal(scores, NOTHING), [2])
        return g.Where(is_empty, PAD, tokens), scores


def beam_search(g: Builder, network: Network, source: str, options: Options) -> tuple[str, str]:
    """Adds a beam search over sources `[B, S]`; see `Beam.best`."""
    memory, state = network.encode(g, source, g.Reshape(options.beam_size, [1]))
    with g.scope("search"):
        beam = Beam(g, network, memory, options)
        final = g.loop(options.max_length, beam.start(g, state), KINDS, beam.step)
        return beam.best(g, final)


def confidence(g: Builder, network: Network, source: str, tokens: str, temperature: str) -> str:
    """Adds the probability `[B]` of answers `[B, steps]`, their ends included, at a temperature."""
    # The end of an answer that was cut off counts, too.
    has_end = g.ReduceMax(g.Cast(g.Equal(tokens, EOS), to=INT64), [1])
    target = g.Concat(tokens, g.Where(g.Equal(has_end, 1), PAD, EOS), axis=1)
    by_time = g.Transpose(target, perm=[1, 0])  # [steps + 1, B]
    memory, state = network.encode(g, source, g.constant([1]))
    batch = g.Shape(source, start=0, end=1)
    rows = g.Range(0, g.Squeeze(batch), 1)
    start = {"last": g.Expand(BOS, batch), "total": g.Expand(0.0, batch), **state}

    def step(inner: Builder, position: str, now: Values) -> tuple[str, Values]:
        log_probs, after = network.step(inner, now["last"], now, memory)  # [B, 1, V]
        log_probs = inner.LogSoftmax(inner.Div(log_probs, temperature))
        last = inner.Gather(by_time, position)
        chosen = inner.GatherElements(log_probs, inner.Reshape(last, [-1, 1, 1]), axis=2)
        added = inner.Where(inner.Equal(last, PAD), 0.0, inner.Reshape(chosen, [-1]))
        total = inner.Add(now["total"], added)
        state = network.follow(inner, after, memory, rows, last)
        return inner.constant(np.array(True)), {"last": last, "total": total, **state}

    steps = g.Squeeze(g.Shape(target, start=1))
    final = g.loop(steps, start, {"last": INT64}, step)
    return g.Exp(g.Min(final["total"], 0.0))
