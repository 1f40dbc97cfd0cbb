"""Padded batches of ids. A batch is a pure function of (seed, epoch, step).

Nothing is stored between batches, neither a shuffle buffer nor the state of an iterator. A run that
was stopped at step n resumes at step n + 1 with the same batch as without the stop.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from seq2seq.data.buckets import Bucket, Numbers, make_buckets
from seq2seq.data.examples import Example
from seq2seq.data.vocabulary import Vocabularies
from seq2seq.special_ids import BOS, EOS, PAD

_PREPARED = 16  # batches ahead of the consumer


class Batch(NamedTuple):
    """Padded batch of int32 ids: `source` [B, S], `target_in` [B, T], `target_out` [B, T].

    `target_out` is `target_in` one step later. Filler rows, which complete a batch, have only
    padding in `target_out`, so that no loss and no metric counts them.
    """

    source: tf.Tensor
    target_in: tf.Tensor
    target_out: tf.Tensor


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
        worker: int = 0,
        workers: int = 1,
    ) -> None:
        """Sorts the examples into at most `buckets` buckets.

        The plan of one of several workers has its rows of the same batches; `workers` divides
        `batch_size`.

        Raises:
            ValueError: There are no examples.
        """
        if not examples:
            raise ValueError("a batch plan needs at least one example")
        self.batch_size, self.rows = batch_size, batch_size // workers
        self.buckets = make_buckets(examples, vocabularies, buckets, batch_size)
        self._first_row = worker * self.rows

    def of_all_workers(self) -> BatchPlan:
        """Returns the plan of whole batches, of which a worker's has its rows."""
        whole = copy.copy(self)
        whole.rows, whole._first_row = self.batch_size, 0
        return whole

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        """The static shapes (B, S, T) of a worker's rows, shortest first."""
        # A row of the targets has T + 1 ids: `target_in` and `target_out` are its two ends.
        shapes = (bucket.shape for bucket in self.buckets)
        return [(self.rows, source, target - 1) for source, target in shapes]

    @property
    def steps(self) -> int:
        """The number of batches per epoch."""
        return sum(-(-bucket.size // self.batch_size) for bucket in self.buckets)

    def in_order(self) -> Iterator[Batch]:
        """Yields batches of every example once, bucket by bucket."""
        for bucket in self.buckets:
            for rows in _chunks(np.arange(bucket.size), self.batch_size):
                yield self._batch(bucket, rows)

    def epoch(self, seed: int, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields batches of every example once, shuffled by (seed, epoch), from `start` on."""
        for number, rows in self._order(seed, epoch)[start:]:
            yield self._batch(self.buckets[number], rows)

    def epochs(self, seed: int, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields the batches of this epoch from `start` on, then those of all later epochs."""
        for number in itertools.count(epoch):
            yield from self.epoch(seed, number, start if number == epoch else 0)

    def shape_numbers(self, seed: int, epoch: int, start: int = 0) -> Iterator[int]:
        """Yields the number in `shapes` of each batch of `epochs`."""
        for number in itertools.count(epoch):
            # Without the numbers of the examples, which a large file has many of.
            shapes = [shape for shape, _ in self._order(seed, number)]
            yield from shapes[start if number == epoch else 0 :]

    def _order(self, seed: int, epoch: int) -> list[tuple[int, Numbers]]:
        """Returns the bucket's number and the examples of each batch of an epoch."""
        rng = np.random.default_rng((seed, epoch))
        # First the examples inside each bucket are shuffled, then the batches of all buckets. Both
        # permutations are drawn whole, wherever an epoch starts, so that a batch stays the same.
        batches = [
            (number, rows)
            for number, bucket in enumerate(self.buckets)
            for rows in _chunks(rng.permutation(bucket.size), self.batch_size)
        ]
        return [batches[i] for i in rng.permutation(len(batches))]

    def _batch(self, bucket: Bucket, numbers: Numbers) -> Batch:
        # Filler rows repeat a real source: an empty source must not reach cuDNN's kernels.
        filled = np.pad(numbers, (0, self.batch_size - len(numbers)), mode="edge")
        own = slice(self._first_row, self._first_row + self.rows)
        source, target = bucket.take(filled[own])
        real = max(0, len(numbers) - self._first_row)
        target[real:] = PAD
        target[real:, 0] = BOS
        # The decoder does not read the end of a sequence, only writes it.
        target_in = np.where(target[:, :-1] == EOS, PAD, target[:, :-1])
        return Batch(source, target_in, target[:, 1:])


def as_dataset(plan: BatchPlan, batches: Iterator[Batch]) -> tf.data.Dataset:
    """Wraps batches in a `tf.data.Dataset` that prepares some of them ahead of the consumer."""
    ids = tf.TensorSpec([plan.rows, None], tf.int32)
    dataset = tf.data.Dataset.from_generator(lambda: batches, output_signature=Batch(ids, ids, ids))
    options = tf.data.Options()
    # Its thread sleeps for ever longer, up to a minute, and a process that ends waits for it.
    options.autotune.enabled = False
    return dataset.prefetch(_PREPARED).with_options(options)


class BatchStream:
    """An iterator of `tf.data` over batches, and the error of the thread that makes them.

    TensorFlow replaces an exception in that thread by an error of its own, which says neither the
    file nor the line. The stream keeps the original, see `own_error`.

    Attributes:
        iterator: Yields `Batch`; can be given to a compiled function.
    """

    def __init__(self, plan: BatchPlan, batches: Iterator[Batch]) -> None:
        """Starts preparing batches."""
        self._error: Exception | None = None
        self.iterator = iter(as_dataset(plan, self._watched(batches)))

    def _watched(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        try:
            yield from batches
        except Exception as error:
            self._error = error
            raise

    @contextmanager
    def own_error(self) -> Iterator[None]:
        """Raises the error in making a batch, in place of TensorFlow's error about it."""
        try:
            yield
        except tf.errors.OpError:
            if self._error is not None:
                raise self._error from None
            raise


def _chunks(numbers: Numbers, size: int) -> Iterator[Numbers]:
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]
