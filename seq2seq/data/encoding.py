"""Examples to ids, and ids to padded matrices."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seq2seq.data import Example
from seq2seq.vocabulary import BOS, EOS, PAD, Vocabulary

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Vocabularies:
    """The tables of a run; feature ids follow the source ids in one common range."""

    source: Vocabulary
    target: Vocabulary
    features: Vocabulary | None

    @classmethod
    def build(cls, examples: Sequence[Example], min_count: int) -> Vocabularies:
        """Collects the tokens of training examples, in one pass over them."""
        counts = source, target, features = Counter[str](), Counter[str](), Counter[str]()
        rows = iter(examples)
        while some := list(itertools.islice(rows, 1024)):  # counted faster than one by one
            for counter, side in zip(counts, zip(*some, strict=True), strict=True):
                counter.update(itertools.chain.from_iterable(side))
        return cls(
            Vocabulary.of_counts(source, min_count),
            Vocabulary.of_counts(target, min_count),
            Vocabulary.of_counts(features, min_count) if features else None,
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

    def encode_target(self, target: Sequence[str]) -> list[int]:
        """Returns the decoder's ids, from BOS to EOS."""
        return [BOS, *self.target.encode(target), EOS]


def pad(sequences: Sequence[Sequence[int]], length: int | None = None) -> Ids:
    """Returns the sequences as rows `[N, length]`, padded on the right; default: the longest."""
    lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
    matrix = np.full((len(sequences), length or int(lengths.max())), PAD, np.int32)
    is_token = np.arange(matrix.shape[1]) < lengths[:, None]
    matrix[is_token] = np.fromiter(itertools.chain.from_iterable(sequences), np.int32)
    return matrix
