"""Tokenizer and vocabularies: text to tokens to ids, and back. No example files, no TensorFlow."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from seq2seq.data.examples import Example
from seq2seq.errors import UserError, visible
from seq2seq.files import read_text, write_text
from seq2seq.special_ids import BOS, EOS, PAD, SPECIAL_TOKENS, UNK

_MAX_BYTES = 2**26  # of a vocabulary file: room for millions of tokens


class Tokenizer:
    """Splits lines into tokens and joins tokens into lines.

    Args:
        tokens: `char` (every code point), `word` (separated by white space), or any other string,
            which is then the separator.

    Raises:
        UserError: `tokens` is empty, or contains a tab or a line feed.
    """

    def __init__(self, tokens: str) -> None:
        if not tokens:
            raise UserError("tokens='': use char, word, or a separator such as ';'")
        if "\t" in tokens or "\n" in tokens:
            raise UserError(
                f"tokens={visible(tokens, 20)}: tabs and line feeds separate columns and lines; "
                "use another separator"
            )
        self.tokens = tokens

    def split(self, text: str) -> tuple[str, ...]:
        """Returns the tokens of `text`; no token is empty."""
        if self.tokens == "char":
            return tuple(text)
        pieces = text.split() if self.tokens == "word" else text.split(self.tokens)
        return tuple(piece for piece in pieces if piece)

    def join(self, tokens: Iterable[str]) -> str:
        """Returns one line of text, the inverse of `split`."""
        return {"char": "", "word": " "}.get(self.tokens, self.tokens).join(tokens)


class Vocabulary:
    """Two-way table of tokens and ids. Ids 0 to 3 are padding, unknown, begin and end.

    A token of the data that is spelled like a special token is unknown. Otherwise data could put
    an end of sequence into the middle of a sequence.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        """Creates the table from the ordinary tokens, in the order of their ids from 4 on.

        Raises:
            ValueError: A token contains a line feed, or occurs twice.
        """
        if any("\n" in token for token in tokens):
            raise ValueError("a token of a vocabulary is one line")
        self.tokens = (*SPECIAL_TOKENS, *tokens)
        self._ids = {token: i for i, token in enumerate(self.tokens) if i >= len(SPECIAL_TOKENS)}
        if len(set(self.tokens)) != len(self.tokens):
            raise ValueError("a vocabulary lists every token once")

    @classmethod
    def build(cls, sequences: Iterable[Sequence[str]], min_count: int) -> Vocabulary:
        """Returns the vocabulary of the tokens in `sequences`; see `of_counts`."""
        return cls.of_counts(Counter(itertools.chain.from_iterable(sequences)), min_count)

    @classmethod
    def of_counts(cls, counts: Counter[str], min_count: int) -> Vocabulary:
        """Returns the vocabulary of the tokens counted at least `min_count` times.

        The most frequent token comes first; equally frequent tokens are in alphabetical order, so
        that ids depend on the data alone.
        """
        frequent = [
            token
            for token, count in counts.items()
            if count >= min_count and token not in SPECIAL_TOKENS
        ]
        return cls(sorted(frequent, key=lambda token: (-counts[token], token)))

    def __len__(self) -> int:
        return len(self.tokens)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.tokens == other.tokens

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Returns one id per token, `UNK` for a token that is not in the table."""
        return [self._ids.get(token, UNK) for token in tokens]

    def unknown(self, tokens: Iterable[str]) -> tuple[str, ...]:
        """Returns the different tokens that are not in the table, in the order first seen."""
        return tuple(dict.fromkeys(token for token in tokens if token not in self._ids))

    def decode(self, ids: Iterable[int]) -> tuple[str, ...]:
        """Returns the tokens up to the first `EOS` or padding; `BOS` is left out."""
        written = itertools.takewhile(lambda i: i not in (EOS, PAD), ids)
        return tuple(self.tokens[i] for i in written if i != BOS)

    def extended(self, other: Vocabulary) -> Vocabulary:
        """Returns this vocabulary, followed by the tokens of the other one that it lacks."""
        own, others = (one.tokens[len(SPECIAL_TOKENS) :] for one in (self, other))
        return Vocabulary([*own, *(token for token in others if token not in self._ids)])

    def to_text(self) -> str:
        """Returns the content of a vocabulary file: one token per line, the special ones first."""
        return "".join(f"{token}\n" for token in self.tokens)

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Reads a vocabulary file.

        Raises:
            UserError: The file is missing, too long or not UTF-8, does not begin with the special
                tokens, or lists a token twice.
        """
        text = read_text(path, _MAX_BYTES)
        # Only "\n" ends a line: characters such as U+2028 are tokens like any other.
        tokens = text.removesuffix("\n").split("\n")
        if tuple(tokens[: len(SPECIAL_TOKENS)]) != SPECIAL_TOKENS:
            raise UserError(f"{path}:1: a vocabulary begins with {', '.join(SPECIAL_TOKENS)}")
        ordinary = tokens[len(SPECIAL_TOKENS) :]
        if repeated := [token for token, count in Counter(tokens).items() if count > 1]:
            token = visible(repeated[0], 40)
            raise UserError(f"{path}: lists the token '{token}' twice")
        return cls(ordinary)


@dataclass(frozen=True)
class Vocabularies:
    """Vocabularies of a run. The encoder's ids are source ids, followed by feature ids.

    With `reverse_target` the decoder writes the last token of a target first.
    """

    source: Vocabulary
    target: Vocabulary
    features: Vocabulary | None
    reverse_target: bool = False

    @classmethod
    def build(
        cls, examples: Sequence[Example], min_count: int, reverse_target: bool = False
    ) -> Vocabularies:
        """Returns the vocabularies of training examples, in one pass over them."""
        counts = source, target, features = Counter[str](), Counter[str](), Counter[str]()
        rows = iter(examples)
        # Counting 1,024 examples at once is faster than one by one.
        while some := list(itertools.islice(rows, 1024)):
            for counter, side in zip(counts, zip(*some, strict=True), strict=True):
                counter.update(itertools.chain.from_iterable(side))
        return cls(
            Vocabulary.of_counts(source, min_count),
            Vocabulary.of_counts(target, min_count),
            Vocabulary.of_counts(features, min_count) if features else None,
            reverse_target,
        )

    def extended(self, other: Vocabularies) -> Vocabularies:
        """Returns these vocabularies, each followed by the other's tokens that it lacks."""
        features = self.features or other.features
        if self.features is not None and other.features is not None:
            features = self.features.extended(other.features)
        source, target = self.source.extended(other.source), self.target.extended(other.target)
        return Vocabularies(source, target, features, self.reverse_target)

    @classmethod
    def load(
        cls, source: Path, target: Path, features: Path, reverse_target: bool = False
    ) -> Vocabularies:
        """Reads the three vocabulary files. A run without features has no third file.

        Raises:
            UserError: A file is missing or damaged.
        """
        # lexists: a link to a missing file is a damaged run, not a run without features.
        has_features = os.path.lexists(features)
        return cls(
            Vocabulary.load(source),
            Vocabulary.load(target),
            Vocabulary.load(features) if has_features else None,
            reverse_target,
        )

    def save(self, source: Path, target: Path, features: Path) -> None:
        """Writes a text file per vocabulary, with one token per line.

        Raises:
            DiskError: A file cannot be written.
        """
        write_text(source, self.source.to_text())
        write_text(target, self.target.to_text())
        if self.features is not None:
            write_text(features, self.features.to_text())

    @property
    def source_size(self) -> int:
        """The number of different ids of the encoder's input."""
        return len(self.source) + self.feature_size

    @property
    def feature_size(self) -> int:
        """The number of ids of features, the last ones of the encoder's input."""
        return len(self.features) if self.features else 0

    @property
    def copies(self) -> list[int]:
        """The target id of the same token, by the encoder's ids; the number of targets: none."""
        nothing = len(self.target)
        ids = self.target.encode(self.source.tokens)
        ids = [nothing if i == UNK else i for i in ids]
        return ids + [nothing] * (self.source_size - len(self.source))

    def encode_source(self, source: Sequence[str], features: Sequence[str]) -> list[int]:
        """Returns the encoder's ids: features first, as a prefix (Kann & Schütze 2016)."""
        ids = self.source.encode(source)
        if self.features is None:
            return ids
        return [len(self.source) + i for i in self.features.encode(features)] + ids

    def unknown_in_source(self, source: Sequence[str], features: Sequence[str]) -> tuple[str, ...]:
        """Returns the different source tokens, then features, that are not in the tables."""
        unknown = self.source.unknown(source)
        return unknown if self.features is None else unknown + self.features.unknown(features)

    def decode_source(self, ids: Iterable[int]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Returns the source and feature tokens of the encoder's ids, up to the first padding."""
        first_feature = len(self.source)
        read = list(itertools.takewhile(lambda i: i != PAD, map(int, ids)))
        source = tuple(self.source.tokens[i] for i in read if i < first_feature)
        if self.features is None:
            return source, ()
        tags = self.features.tokens
        return source, tuple(tags[i - first_feature] for i in read if i >= first_feature)

    def encode_target(self, target: Sequence[str]) -> list[int]:
        """Returns the decoder's ids, with BOS and EOS."""
        return [BOS, *self.target.encode(target[::-1] if self.reverse_target else target), EOS]

    def decode_target(self, ids: Iterable[int]) -> tuple[str, ...]:
        """Returns the target of written ids, up to the first `EOS` or padding."""
        tokens = self.target.decode(ids)
        return tokens[::-1] if self.reverse_target else tokens

    def steps(self, length: int) -> list[int]:
        """Returns the steps that write the tokens of a target, in reading order, and the end."""
        return [*(range(length)[::-1] if self.reverse_target else range(length)), length]
