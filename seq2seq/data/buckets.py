"""Buckets: examples of similar length, padded to one static shape.

XLA compiles a training step once per shape, so there are few buckets. Their limits are chosen such
that the batches contain as little padding as possible.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seq2seq.data.examples import Example
from seq2seq.data.large_file import IndexedFiles, Lengths
from seq2seq.data.vocabulary import Vocabularies
from seq2seq.special_ids import PAD

Numbers = npt.NDArray[np.int64]

# Lengths between which buckets may be cut. Finding the best cuts takes time and memory quadratic in
# their number; 256 take milliseconds.
_MAX_CUTS = 256


class Rows(NamedTuple):
    """Examples of one bucket as matrices: `source` [N, S], `target` [N, T + 1]."""

    source: Ids
    target: Ids


@dataclass(frozen=True)
class Bucket:
    """Examples of similar length, numbered from 0 to N - 1.

    Attributes:
        size: The number of examples, N.
        shape: The shape that a source and a target are padded to: (S, T + 1).
        take: Returns the ids of the examples with the given numbers.
    """

    size: int
    shape: tuple[int, int]
    take: Callable[[Numbers], Rows]


def make_buckets(
    examples: Sequence[Example], vocabularies: Vocabularies, max_buckets: int, batch_size: int
) -> list[Bucket]:
    """Sorts the examples into at most `max_buckets` buckets, shortest first.

    The ids of a list are held in memory. Those of `IndexedFiles` are read when they are taken.
    """
    if isinstance(examples, IndexedFiles):
        return _from_file(examples, vocabularies, max_buckets, batch_size)
    return _held(examples, vocabularies, max_buckets, batch_size)


def _held(
    examples: Sequence[Example], vocabularies: Vocabularies, max_buckets: int, batch_size: int
) -> list[Bucket]:
    """Returns buckets that hold the ids of all examples."""
    sources = [vocabularies.encode_source(e.source, e.features) for e in examples]
    targets = [vocabularies.encode_target(e.target) for e in examples]
    s, t = (np.fromiter(map(len, side), np.int32, len(side)) for side in (sources, targets))

    def bucket(numbers: Numbers) -> Bucket:
        source, target = (pad([side[i] for i in numbers]) for side in (sources, targets))
        shape = source.shape[1], target.shape[1]
        return Bucket(len(numbers), shape, lambda rows: Rows(source[rows], target[rows]))

    return [bucket(numbers) for numbers in _split_by_length(s, t, max_buckets, batch_size)]


def _from_file(
    examples: IndexedFiles, vocabularies: Vocabularies, max_buckets: int, batch_size: int
) -> list[Bucket]:
    """Returns buckets that hold the lengths of all examples, and encode those that are taken."""
    source, target, features = examples.lengths
    if vocabularies.features is not None:
        source = source + features
    target = target + 2  # BOS and EOS

    def bucket(numbers: Numbers) -> Bucket:
        shape = int(source[numbers].max()), int(target[numbers].max())

        def take(rows: Numbers) -> Rows:
            read = examples.read(numbers[rows])
            sources = [vocabularies.encode_source(e.source, e.features) for e in read]
            targets = [vocabularies.encode_target(e.target) for e in read]
            return Rows(pad(sources, shape[0]), pad(targets, shape[1]))

        return Bucket(len(numbers), shape, take)

    return [
        bucket(numbers) for numbers in _split_by_length(source, target, max_buckets, batch_size)
    ]


def _split_by_length(s: Lengths, t: Lengths, max_buckets: int, batch_size: int) -> list[Numbers]:
    """Returns the numbers of each bucket's examples.

    Examples are sorted by the longer of their two sides, each relative to its mean, so that a long
    target does not end up with short ones. The cuts are those with the least padding for this
    order; they are found by dynamic programming.

    Args:
        s: Lengths of the sources [N].
        t: Lengths of the targets [N].
        max_buckets: The largest number of buckets.
        batch_size: Filler rows complete every bucket to a multiple of it; they count as padding.
    """
    key = s / s.mean()
    np.maximum(key, t / t.mean(), out=key)
    order = np.argsort(key, kind="stable")
    key = key[order]
    # Positions after which a cut is possible, G of them: a cut never separates examples of equal
    # key, so one common length gives one bucket.
    ends = np.append(np.flatnonzero(key[1:] != key[:-1]) + 1, len(key))
    if len(ends) > _MAX_CUTS:
        ends = ends[np.linspace(0, len(ends) - 1, _MAX_CUTS).round().astype(int)]
    # A group is a range of positions without a cut inside; its longest source and target: [G] each.
    starts = np.concatenate([[0], ends[:-1]])
    longest = [np.maximum.reduceat(lengths[order], starts) for lengths in (s, t)]
    # cost[i, j]: padded positions of a bucket of the groups from i to before j, [G + 1, G + 1]. It
    # is infinite where i >= j, because no bucket is empty.
    cost = np.full([len(ends) + 1] * 2, np.inf)
    for i, start in enumerate(starts):
        rows = -(-(ends[i:] - start) // batch_size) * batch_size
        cost[i, i + 1 :] = rows * sum(np.maximum.accumulate(side[i:]) for side in longest)
    # min_cost[j]: padded positions of the groups before j in the best buckets so far. Each pass
    # allows one more bucket, and notes its best start for every end j.
    min_cost, last_cuts = np.array([0.0, *[np.inf] * len(ends)]), []
    for _ in range(max_buckets):
        totals = min_cost[:, None] + cost
        last_cuts.append(totals.argmin(axis=0))
        # Zero groups cost 0 in every pass, so the first bucket may begin in any of them, and fewer
        # buckets than allowed may be used.
        min_cost = np.minimum(totals.min(axis=0), [0.0, *[np.inf] * len(ends)])
    # Walks back from the end over the last cut of each pass.
    cuts = [len(ends)]
    while cuts[-1] > 0 and last_cuts:
        cuts.append(last_cuts.pop()[cuts[-1]])
    return np.split(order, [ends[i - 1] for i in sorted(cuts[1:]) if i > 0])


Ids = npt.NDArray[np.int32]


def pad(sequences: Sequence[Sequence[int]], length: int | None = None) -> Ids:
    """Returns the sequences as rows [N, length], padded on the right.

    Args:
        sequences: N sequences of ids.
        length: The width of the matrix; None: the length of the longest sequence.
    """
    lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
    matrix = np.full((len(sequences), length or int(lengths.max())), PAD, np.int32)
    # One assignment for all rows: the mask [N, length] is filled in the order of the ids.
    is_token = np.arange(matrix.shape[1]) < lengths[:, None]
    matrix[is_token] = np.fromiter(itertools.chain.from_iterable(sequences), np.int32)
    return matrix
