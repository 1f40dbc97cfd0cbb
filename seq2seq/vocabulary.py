"""Text to tokens to ids and back. Knows nothing of files of examples, models or TensorFlow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

from seq2seq.bounded import read_text
from seq2seq.errors import UserError, visible

PAD, UNK, BOS, EOS = 0, 1, 2, 3
SPECIAL_TOKENS = ("<pad>", "<unk>", "<bos>", "<eos>")
_MOST_BYTES = 2**26  # of a vocabulary file: millions of tokens


class Tokenizer:
    """Splits a line into tokens and joins tokens into a line.

    Args:
        tokens: `char` (every code point), `word` (separated by white space), or any other
            string, which is then the separator itself.
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
        """Returns the tokens of `text`; empty tokens never occur."""
        if self.tokens == "char":
            return tuple(text)
        pieces = text.split() if self.tokens == "word" else text.split(self.tokens)
        return tuple(piece for piece in pieces if piece)

    def join(self, tokens: Iterable[str]) -> str:
        """Returns one line of text, the inverse of `split`."""
        return {"char": "", "word": " "}.get(self.tokens, self.tokens).join(tokens)


class Vocabulary:
    """A two-way table of tokens and ids. Ids 0 to 3 are padding, unknown, begin and end.

    A token of the data that happens to be spelled like one of the special tokens is unknown:
    data can never smuggle an end-of-sequence into the middle of a sequence.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        """Creates the table from the ordinary tokens, in the order of their ids from 4 on."""
        if any("\n" in token for token in tokens):
            raise ValueError("a token of a vocabulary is one line")
        self.tokens = (*SPECIAL_TOKENS, *tokens)
        self._ids = {token: i for i, token in enumerate(self.tokens) if i >= len(SPECIAL_TOKENS)}
        if len(set(self.tokens)) != len(self.tokens):
            raise ValueError("a vocabulary lists every token once")

    @classmethod
    def build(cls, sequences: Iterable[Sequence[str]], min_count: int) -> Vocabulary:
        """Collects the tokens seen at least `min_count` times, most frequent first."""
        return cls.of_counts(Counter(chain.from_iterable(sequences)), min_count)

    @classmethod
    def of_counts(cls, counts: Counter[str], min_count: int) -> Vocabulary:
        """Takes the tokens that were counted at least `min_count` times, most frequent first."""
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
        """Returns one id per token, `UNK` for those not in the table."""
        return [self._ids.get(token, UNK) for token in tokens]

    def decode(self, ids: Iterable[int]) -> tuple[str, ...]:
        """Returns the tokens up to the first `EOS` or padding; `BOS` is left out."""
        tokens = []
        for i in ids:
            if i in (EOS, PAD):
                break
            if i != BOS:
                tokens.append(self.tokens[i])
        return tuple(tokens)

    def to_text(self) -> str:
        """Returns the file form: one token per line, the special ones first."""
        return "".join(f"{token}\n" for token in self.tokens)

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Reads a vocabulary file.

        Raises:
            UserError: The file is missing, too long or not UTF-8, does not begin with the special
                tokens, or lists a token twice.
        """
        text = read_text(path, _MOST_BYTES)
        # Only "\n" ends a line: characters such as U+2028 are tokens like any other.
        tokens = text.removesuffix("\n").split("\n")
        if tuple(tokens[: len(SPECIAL_TOKENS)]) != SPECIAL_TOKENS:
            raise UserError(f"{path}:1: a vocabulary begins with {', '.join(SPECIAL_TOKENS)}")
        ordinary = tokens[len(SPECIAL_TOKENS) :]
        if repeated := [token for token, count in Counter(tokens).items() if count > 1]:
            token = visible(repeated[0], 40)
            raise UserError(f"{path}: the token '{token}' stands there twice")
        return cls(ordinary)
