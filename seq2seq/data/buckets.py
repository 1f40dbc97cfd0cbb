"""Buckets: examples of similar length, which are padded to one static shape."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from seq2seq.data.examples import Example
from seq2seq.data.large_file import IndexedFile, Lengths
from seq2seq.data.vocabulary import Vocabularies
from seq2seq.special_ids import PAD

Numbers = npt.NDArray[np.int64]

# Lengths between which buckets may be cut; finding the best cuts takes their number squared.
_MOST_CUTS = 256


class Rows(NamedTuple):
    """Examples of one bucket as matrices: `source` [N, S], `target` [N, T + 1]."""

    source: Ids
    target: Ids


@dataclass(frozen=True)
class Bucket:
    """The examples of similar length, known by their numbers, and how to get at their ids.

    Attributes:
        size: How many they are, N.
        shape: What they are padded to (S, T + 1).
        take: Numbers from 0 to N - 1 → their ids.
    """

    size: int
    shape: tuple[int, int]
    take: Callable[[Numbers], Rows]


def make_buckets(
    examples: Sequence[Example], vocabularies: Vocabularies, most: int, batch_size: int
) -> list[Bucket]:
    """Sorts the examples into at most `most` buckets, shortest first.

    The ids of a list are held; those of an `IndexedFile` are read whenever they are taken.
    """
    if isinstance(examples, IndexedFile):
        return _from_file(examples, vocabularies, most, batch_size)
    return _held(examples, vocabularies, most, batch_size)


def _held(
    examples: Sequence[Example], vocabularies: Vocabularies, most: int, batch_size: int
) -> list[Bucket]:
    """Encodes all examples."""
    sources = [vocabularies.encode_source(e.source, e.features) for e in examples]
    targets = [vocabularies.encode_target(e.target) for e in examples]
    s, t = (np.fromiter(map(len, side), np.int32, len(side)) for side in (sources, targets))

    def bucket(numbers: Numbers) -> Bucket:
        source, target = (pad([side[i] for i in numbers]) for side in (sources, targets))
        shape = source.shape[1], target.shape[1]
        return Bucket(len(numbers), shape, lambda rows: Rows(source[rows], target[rows]))

    return [bucket(numbers) for numbers in _split_by_length(s, t, most, batch_size)]


def _from_file(
    examples: IndexedFile, vocabularies: Vocabularies, most: int, batch_size: int
) -> list[Bucket]:
    """Knows the lengths of all examples, and encodes those that are asked for."""
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

    return [bucket(numbers) for numbers in _split_by_length(source, target, most, batch_size)]


def _split_by_length(s: Lengths, t: Lengths, most: int, batch_size: int) -> list[Numbers]:
    """Returns the numbers of each bucket's examples, with the least padding this order allows.

    Examples are sorted by the longer of their two sides, each relative to its mean, so that a long
    target does not end up with short ones. Where to cut is found by dynamic programming.

    Args:
        s: The lengths of the sources.
        t: The lengths of the targets.
        most: Buckets there may be.
        batch_size: What every bucket is filled up to a multiple of.
    """
    key = s / s.mean()
    np.maximum(key, t / t.mean(), out=key)
    order = np.argsort(key, kind="stable")
    key = key[order]
    # A cut never separates examples of equal length, so one common length gives one bucket.
    ends = np.append(np.flatnonzero(key[1:] != key[:-1]) + 1, len(key))
    if len(ends) > _MOST_CUTS:
        ends = ends[np.linspace(0, len(ends) - 1, _MOST_CUTS).round().astype(int)]
    starts = np.concatenate([[0], ends[:-1]])
    longest = [np.maximum.reduceat(lengths[order], starts) for lengths in (s, t)]
    # cost[i, j]: positions in a bucket of the groups from i to before j
    cost = np.full([len(ends) + 1] * 2, np.inf)
    for i, start in enumerate(starts):
        rows = -(-(ends[i:] - start) // batch_size) * batch_size
        cost[i, i + 1 :] = rows * sum(np.maximum.accumulate(side[i:]) for side in longest)
    # least[j]: of the groups before j, in one more bucket with every pass
    least, last_cuts = np.array([0.0, *[np.inf] * len(ends)]), []
    for _ in range(most):
        totals = least[:, None] + cost
        last_cuts.append(totals.argmin(axis=0))
        least = np.minimum(totals.min(axis=0), [0.0, *[np.inf] * len(ends)])
    cuts = [len(ends)]
    while cuts[-1] > 0 and last_cuts:
        cuts.append(last_cuts.pop()[cuts[-1]])
    return np.split(order, [ends[i - 1] for i in sorted(cuts[1:]) if i > 0])


Ids = npt.NDArray[np.int32]


def pad(sequences: Sequence[Sequence[int]], length: int | None = None) -> Ids:
    """Returns the sequences as rows `[N, length]`, padded on the right; default: the longest."""
    lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
    matrix = np.full((len(sequences), length or int(lengths.max())), PAD, np.int32)
    is_token = np.arange(matrix.shape[1]) < lengths[:, None]
    matrix[is_token] = np.fromiter(itertools.chain.from_iterable(sequences), np.int32)
    return matrix
