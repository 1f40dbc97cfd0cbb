"""Examples to padded batches of ids. A batch is a pure function of (seed, epoch, step).

Nothing is stored between batches, no shuffle buffer and no iterator state: a run that stopped at
step n goes on at step n + 1 with the batch it would have had.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from seq2seq.data.examples import Example
from seq2seq.vocabulary import BOS, EOS, PAD, Vocabulary

Ids = npt.NDArray[np.int32]

# Lengths between which buckets may be cut; finding the best cuts takes their number squared.
_MOST_CUTS = 256


class Batch(NamedTuple):
    """One padded batch, all int32: `source` [B, S], `target_in` [B, T], `target_out` [B, T].

    `target_out` is `target_in` one step later. Rows that only fill up a batch have nothing but
    padding in `target_out`, so no loss and no metric counts them.
    """

    source: tf.Tensor
    target_in: tf.Tensor
    target_out: tf.Tensor


@dataclass(frozen=True)
class Vocabularies:
    """The tables of a run; feature ids follow the source ids in one common range."""

    source: Vocabulary
    target: Vocabulary
    features: Vocabulary | None

    @classmethod
    def build(cls, examples: Sequence[Example], min_count: int) -> Vocabularies:
        """Collects the tokens of training examples."""
        has_features = any(example.features for example in examples)
        return cls(
            Vocabulary.build((example.source for example in examples), min_count),
            Vocabulary.build((example.target for example in examples), min_count),
            Vocabulary.build((example.features for example in examples), min_count)
            if has_features
            else None,
        )

    @property
    def source_size(self) -> int:
        """Number of ids that the encoder can be given."""
        return len(self.source) + (len(self.features) if self.features else 0)

    def encode_source(self, source: Sequence[str], features: Sequence[str]) -> list[int]:
        """Returns the encoder's ids: features first, like a prefix (Kann & Schütze 2016)."""
        ids = self.source.encode(source)
        if self.features is None:
            return ids
        return [len(self.source) + i for i in self.features.encode(features)] + ids

    def decode_source(self, ids: Iterable[int]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Returns source and feature tokens of the encoder's ids, up to the first padding."""
        first_feature = len(self.source)
        read = list(itertools.takewhile(lambda i: i != PAD, map(int, ids)))
        source = tuple(self.source.tokens[i] for i in read if i < first_feature)
        if self.features is None:
            return source, ()
        tags = self.features.tokens
        return source, tuple(tags[i - first_feature] for i in read if i >= first_feature)


class PaddedBucket(NamedTuple):
    """All examples of similar length, as matrices: `source` [N, S], `target` [N, T + 1]."""

    source: Ids
    target: Ids


class BatchPlan:
    """Length-bucketed batches of a data set.

    Each bucket is one static shape, so that a compiled step is compiled once per bucket.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        vocabularies: Vocabularies,
        batch_size: int,
        buckets: int,
    ) -> None:
        """Encodes the examples and sorts them into at most `buckets` buckets."""
        if not examples:
            raise ValueError("a batch plan needs at least one example")
        sources = [vocabularies.encode_source(e.source, e.features) for e in examples]
        targets = [[BOS, *vocabularies.target.encode(e.target), EOS] for e in examples]
        self.batch_size = batch_size
        self.buckets = [
            PaddedBucket(pad([sources[i] for i in rows]), pad([targets[i] for i in rows]))
            for rows in _split_by_length(sources, targets, buckets, batch_size)
        ]

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        """The static batch shapes (B, S, T), shortest first."""
        return [
            (self.batch_size, bucket.source.shape[1], bucket.target.shape[1] - 1)
            for bucket in self.buckets
        ]

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        return sum(-(-len(bucket.source) // self.batch_size) for bucket in self.buckets)

    def in_order(self) -> Iterator[Batch]:
        """Yields every example once, bucket by bucket."""
        for bucket in self.buckets:
            for rows in _chunks(np.arange(len(bucket.source)), self.batch_size):
                yield self._batch(bucket, rows)

    def epoch(self, seed: int, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields every example once, shuffled by (seed, epoch), from batch `start` on."""
        rng = np.random.default_rng((seed, epoch))
        plan = [
            (bucket, rows)
            for bucket in self.buckets
            for rows in _chunks(rng.permutation(len(bucket.source)), self.batch_size)
        ]
        for i in rng.permutation(len(plan))[start:]:
            yield self._batch(*plan[i])

    def epochs(self, seed: int, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields this epoch from batch `start` on, and all that follow, without end."""
        for number in itertools.count(epoch):
            yield from self.epoch(seed, number, start if number == epoch else 0)

    def _batch(self, bucket: PaddedBucket, rows: npt.NDArray[np.int64]) -> Batch:
        missing = self.batch_size - len(rows)
        # Filling rows repeat a real source (an empty one must not reach a recurrent kernel).
        source = bucket.source[np.pad(rows, (0, missing), mode="edge")]
        target = bucket.target[rows]
        if missing:
            filler = np.full((missing, target.shape[1]), PAD, np.int32)
            filler[:, 0] = BOS
            target = np.concatenate([target, filler])
        target_in = np.where(target[:, :-1] == EOS, PAD, target[:, :-1])
        return Batch(source, target_in, target[:, 1:])


def as_dataset(plan: BatchPlan, batches: Iterator[Batch]) -> tf.data.Dataset:
    """Wraps batches in a `tf.data.Dataset` that prepares some of them ahead of the consumer."""
    ids = tf.TensorSpec([plan.batch_size, None], tf.int32)
    dataset = tf.data.Dataset.from_generator(lambda: batches, output_signature=Batch(ids, ids, ids))
    return dataset.prefetch(tf.data.AUTOTUNE)


def pad(sequences: Sequence[Sequence[int]], length: int | None = None) -> Ids:
    """Returns the sequences as rows `[N, length]`, padded on the right; default: the longest."""
    lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
    matrix = np.full((len(sequences), length or int(lengths.max())), PAD, np.int32)
    is_token = np.arange(matrix.shape[1]) < lengths[:, None]
    matrix[is_token] = np.concatenate([np.asarray(s, np.int32) for s in sequences])
    return matrix


def _split_by_length(
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    buckets: int,
    batch_size: int,
) -> list[npt.NDArray[np.int64]]:
    """Returns the row numbers of each bucket, with the least padding that this order allows.

    Examples are sorted by the longer of their two sides, each relative to its mean, so that a long
    target does not end up with short ones. Where to cut is found by dynamic programming.
    """
    s, t = (np.fromiter(map(len, side), np.int64, len(side)) for side in (sources, targets))
    key = np.maximum(s / s.mean(), t / t.mean())
    order = np.argsort(key, kind="stable")
    # A cut never separates examples of equal length, so one common length gives one bucket.
    ends = np.flatnonzero(np.diff(key[order], append=np.inf)) + 1
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
    for _ in range(buckets):
        totals = least[:, None] + cost
        last_cuts.append(totals.argmin(axis=0))
        least = np.minimum(totals.min(axis=0), [0.0, *[np.inf] * len(ends)])
    cuts = [len(ends)]
    while cuts[-1] > 0 and last_cuts:
        cuts.append(last_cuts.pop()[cuts[-1]])
    return np.split(order, [ends[i - 1] for i in sorted(cuts[1:]) if i > 0])


def _chunks(rows: npt.NDArray[np.int64], size: int) -> Iterator[npt.NDArray[np.int64]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
