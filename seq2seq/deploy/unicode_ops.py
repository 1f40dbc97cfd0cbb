"""Unicode normal forms as operations of TensorFlow, equal to `unicodedata.normalize`.

The algorithm is that of the Unicode Standard (3.11, D109 to D117; UAX 15): decompose, sort the
marks of each letter by their class, compose. Every part works on all characters of a batch at once,
in a time linear in their number but for the sort, whatever the text is.

Shapes: N is the number of characters of all lines, B the number of lines.
"""

from __future__ import annotations

import functools

import tensorflow as tf

from seq2seq.config.choices import Normalization
from seq2seq.deploy.unicode_tables import (
    MAX_PARTS,
    PAGE,
    PLANES,
    Pages,
    unicode_tables,
)

Characters = tuple[tf.Tensor, tf.Tensor]
"""Code points [N] int32, and the lines that they are in [N] int64, which never fall."""

_CLASSES = 256  # Combining classes are below it.


class Normalizer:
    """A Unicode normal form of code points."""

    def __init__(self, form: Normalization) -> None:
        """Makes the tables of a form, which is none of `auto` and `none`.

        Raises:
            UserError: See `unicode_tables`.
        """
        tables = unicode_tables(form)
        # Eager tensors, also if this is called while a function is traced: the next has them too.
        with tf.init_scope():
            self._is_stable, self._classes, self._places = map(
                _PagedTable, (tables.is_stable, tables.classes, tables.places)
            )
            self._parts = tf.constant(tables.parts)
            self._pairs = tf.constant(tables.pairs)
            self._composites = tf.constant(tables.composites)
        self._composes = bool(len(tables.pairs))

    def __call__(self, codes: tf.RaggedTensor) -> tf.RaggedTensor:
        """Returns lines of code points `[B, None]` in the form, as `[B, None]`."""
        characters = codes.values, codes.value_rowids()
        # Most text is stable. Then nothing but this look at it is computed.
        is_normal = tf.reduce_all(self._is_stable(codes.values) == 1)
        values, rows = tf.cond(is_normal, lambda: characters, lambda: self._normalize(characters))
        return tf.RaggedTensor.from_value_rowids(values, rows, codes.nrows(), validate=False)

    def _normalize(self, characters: Characters) -> Characters:
        characters = self._sort_marks(self._decompose(characters))
        return self._compose(characters) if self._composes else characters

    def _decompose(self, characters: Characters) -> Characters:
        codes, rows = characters
        found = self._places(codes)  # [N]
        counts = tf.maximum(found % MAX_PARTS, 1)
        # [N] -> [M], M the number of parts of all: the character that each part is of, and its
        # number among the parts of that character.
        of = tf.repeat(tf.range(tf.size(codes)), counts)
        number = tf.range(tf.size(of)) - tf.gather(tf.cumsum(counts, exclusive=True), of)
        place = tf.gather(found, of)
        parts = tf.gather(self._parts, place // MAX_PARTS + number)
        return tf.where(place > 0, parts, tf.gather(codes, of)), tf.gather(rows, of)

    def _sort_marks(self, characters: Characters) -> Characters:
        codes, rows = characters
        classes = self._classes(codes)
        is_next_to = rows[1:] == rows[:-1]
        is_early = (classes[1:] > 0) & (classes[:-1] > classes[1:]) & is_next_to

        def by_class() -> Characters:
            # A letter, and the marks behind it, have one number. So have marks at the begin of a
            # line, which no letter is before.
            is_first = tf.concat([[True], (classes[1:] == 0) | ~is_next_to], axis=0)
            number = tf.cumsum(tf.cast(is_first, tf.int64))
            order = tf.argsort(number * _CLASSES + tf.cast(classes, tf.int64), stable=True)
            return tf.gather(codes, order), rows

        return tf.cond(tf.reduce_any(is_early), by_class, lambda: characters)

    def _compose(self, characters: Characters) -> Characters:
        """Composes letters with what is behind them, in rounds: one pair a letter and round.

        A composite has at most four parts, which bounds the rounds. Letters are independent of each
        other, because no letter is composed both with the one before it and with one after it.
        """
        codes, rows = characters

        def merge(
            _: tf.Tensor, codes: tf.Tensor, rows: tf.Tensor, is_passed: tf.Tensor
        ) -> tuple[tf.Tensor, ...]:
            composite, letters = self._candidates(codes, rows, is_passed)
            is_candidate = composite >= 0
            count = tf.cumsum(tf.cast(is_candidate, tf.int32))
            # None between the letter and this character: it is the next to be composed.
            is_next = tf.gather(count, letters) == count - tf.cast(is_candidate, tf.int32)
            is_merged = is_candidate & is_next
            at = tf.boolean_mask(letters, is_merged)[:, None]
            changed = tf.tensor_scatter_nd_update(codes, at, tf.boolean_mask(composite, is_merged))
            # What stands between a letter and its mark was tried before the letter became another.
            is_changed = tf.scatter_nd(at, tf.ones_like(at[:, 0]), tf.shape(codes)) > 0
            is_passed |= is_next & ~is_candidate & tf.gather(is_changed, letters)
            kept = (tf.boolean_mask(x, ~is_merged) for x in (changed, rows, is_passed))
            return tf.reduce_any(is_merged), *kept

        _, codes, rows, _ = tf.while_loop(
            lambda continues, *_: continues,
            merge,
            (tf.size(codes) > 1, codes, rows, tf.zeros_like(codes, tf.bool)),
            shape_invariants=(tf.TensorShape([]), *[tf.TensorShape([None])] * 3),
        )
        return codes, rows

    def _candidates(
        self, codes: tf.Tensor, rows: tf.Tensor, is_passed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns what each character could be composed to, -1 for nothing, and with which letter.

        The letter is the last of class 0 before it. A character is blocked from it by one of the
        same or a higher class between them (D115); marks are sorted, so that the one just before it
        decides.
        """
        classes, places = self._classes(codes), tf.range(tf.size(codes))
        is_letter = tf.cast(classes == 0, tf.int32)
        number = tf.cumsum(is_letter, exclusive=True)  # letters before each character
        # The place 0 in front stands for no letter.
        letters = tf.gather(tf.concat([[0], tf.where(is_letter > 0)[:, 0]], axis=0), number)
        letters = tf.cast(letters, tf.int32)
        has_letter = (number > 0) & (tf.gather(rows, letters) == rows)
        class_before = tf.concat([[0], classes[:-1]], axis=0)
        is_free = (letters == places - 1) | (class_before < classes)
        pair = tf.cast(tf.gather(codes, letters), tf.int64) * PLANES + tf.cast(codes, tf.int64)
        at = tf.minimum(tf.searchsorted(self._pairs, pair), tf.size(self._pairs) - 1)
        is_pair = tf.gather(self._pairs, at) == pair
        is_candidate = is_pair & has_letter & is_free & ~is_passed
        return tf.where(is_candidate, tf.gather(self._composites, at), -1), letters


@functools.cache
def normalizer(form: Normalization) -> Normalizer:
    """Returns the only `Normalizer` of a form, so that a graph has its tables once."""
    return Normalizer(form)


class _PagedTable:
    """A table of all code points."""

    def __init__(self, pages: Pages) -> None:
        self._numbers, self._blocks = tf.constant(pages.numbers), tf.constant(pages.blocks)

    def __call__(self, codes: tf.Tensor) -> tf.Tensor:
        """Returns the values [N] of code points [N]."""
        page = tf.gather(self._numbers, codes // PAGE)
        return tf.gather_nd(self._blocks, tf.stack([page, codes % PAGE], axis=1))
