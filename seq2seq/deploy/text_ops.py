"""Text as operations of TensorFlow: lines to tokens to ids, and ids to lines.

They do what `data/tsv.py`, `data/vocabulary.py` and `inference/members.py` do in Python, inside of
a graph and for any UTF-8. B is the number of lines.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from seq2seq.config.choices import Normalization
from seq2seq.data.vocabulary import Tokenizer, Vocabulary
from seq2seq.deploy.unicode_ops import normalizer
from seq2seq.deploy.unicode_tables import white_space
from seq2seq.special_ids import EOS, PAD, SPECIAL_TOKENS, UNK


class Read(NamedTuple):
    """Lines that were read.

    Attributes:
        ids: Ids of the tokens `[B, None]` int32.
        is_utf8: Whether a line is valid UTF-8 `[B]`. Of one that is not, the ids mean nothing.
    """

    ids: tf.RaggedTensor
    is_utf8: tf.Tensor


class Reader:
    """Reads the tokens of one side: source, target or features.

    Attributes:
        table: The ids by token; whoever saves a graph tracks it.
    """

    def __init__(
        self, vocabulary: Vocabulary, tokens: str, form: Normalization, first_id: int = 0
    ) -> None:
        """Makes the tables.

        Args:
            vocabulary: The tokens; others are unknown.
            tokens: `char`, `word` or a separator, see `Tokenizer`.
            form: The Unicode normal form in which text is read.
            first_id: Is added to all ids.

        Raises:
            UserError: See `unicode_tables`.
        """
        self._tokens = tokens
        self._normalize = None if form is Normalization.none else normalizer(form)
        self._space = tf.constant(white_space()) if tokens == "word" else None
        count = len(SPECIAL_TOKENS)
        ids = range(first_id + count, first_id + len(vocabulary))
        entries = tf.lookup.KeyValueTensorInitializer(
            list(vocabulary.tokens[count:]), list(ids), tf.string, tf.int64
        )
        self.table = tf.lookup.StaticHashTable(entries, first_id + UNK)
        # All functions of an export call the same one, which is traced and written once.
        self._read = tf.function(
            self._read_lines,
            input_signature=[tf.TensorSpec([None], tf.string)],
            autograph=False,
        )

    def __call__(self, lines: tf.Tensor) -> Read:
        """Reads lines of UTF-8 `[B]`; a line end after a line is removed."""
        return Read(*self._read(lines))

    def _read_lines(self, lines: tf.Tensor) -> tuple[tf.RaggedTensor, tf.Tensor]:
        lines = tf.strings.regex_replace(lines, r"\r?\n?\z", "", replace_global=False)
        codes = tf.strings.unicode_decode(lines, "UTF-8", errors="replace")  # [B, None]
        is_utf8 = tf.strings.unicode_encode(codes, "UTF-8") == lines
        if self._normalize is not None:
            codes = self._normalize(codes)
        return tf.cast(self.table.lookup(self._split(codes)), tf.int32), is_utf8

    def _split(self, codes: tf.RaggedTensor) -> tf.RaggedTensor:
        """Returns the tokens `[B, None]` of code points `[B, None]`; no token is empty."""
        if self._tokens == "char":
            return codes.with_values(tf.strings.unicode_encode(codes.values[:, None], "UTF-8"))
        if self._tokens == "word":
            return self._words(codes)
        pieces = tf.strings.split(tf.strings.unicode_encode(codes, "UTF-8"), self._tokens)
        return tf.ragged.boolean_mask(pieces, pieces != "")

    def _words(self, codes: tf.RaggedTensor) -> tf.RaggedTensor:
        values, rows = codes.values, codes.value_rowids()
        is_space = tf.reduce_any(values[:, None] == self._space, axis=1)
        is_inside = tf.concat([[False], ~is_space[:-1] & (rows[1:] == rows[:-1])], axis=0)
        # The slice makes it right for no characters at all, too.
        starts = ~is_space & ~is_inside[: tf.size(values)]
        number = tf.cumsum(tf.cast(starts, tf.int64)) - 1  # of the word of each character
        words = tf.RaggedTensor.from_value_rowids(
            tf.boolean_mask(values, ~is_space),
            tf.boolean_mask(number, ~is_space),
            tf.reduce_sum(tf.cast(starts, tf.int64)),
            validate=False,
        )
        return tf.RaggedTensor.from_value_rowids(
            tf.strings.unicode_encode(words, "UTF-8"),
            tf.boolean_mask(rows, starts),
            codes.nrows(),
            validate=False,
        )


class Writer:
    """Writes target ids as lines."""

    def __init__(self, vocabulary: Vocabulary, tokens: str, reverse_target: bool) -> None:
        """Keeps the tokens of the ids, and how they are joined; `reverse_target` as in `data`."""
        self._spelled = tf.constant(vocabulary.tokens)
        self._separator = Tokenizer(tokens).join(["", ""])
        self._is_reversed = reverse_target

    def __call__(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns lines `[...]` of ids `[..., T]`, up to the first end of sequence or padding."""
        rows = tf.reshape(ids, [-1, tf.shape(ids)[-1]])
        length = written_lengths(rows)
        if self._is_reversed:
            rows = tf.reverse_sequence(rows, length, seq_axis=1)
        spelled = tf.gather(self._spelled, rows)
        places = tf.range(tf.shape(rows)[1])
        spelled = tf.where(places > 0, self._separator + spelled, spelled)
        spelled = tf.where(places < length[:, None], spelled, "")
        return tf.reshape(tf.strings.reduce_join(spelled, axis=1), tf.shape(ids)[:-1])


def written_lengths(ids: tf.Tensor) -> tf.Tensor:
    """Returns the number of ids `[B, T]` before the first end of sequence or padding `[B]`."""
    is_after = tf.cumsum(tf.cast((ids == EOS) | (ids == PAD), tf.int32), axis=1) > 0
    return tf.reduce_sum(tf.cast(~is_after, tf.int32), axis=1)
