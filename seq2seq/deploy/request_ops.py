"""Requests as operations of TensorFlow: lines with a problem, and the lines that are computed.

Shapes: B lines, of which G have no problem.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from seq2seq.config.choices import Normalization
from seq2seq.config.schema import DataConfig, SideConfig
from seq2seq.deploy.text_ops import Read, Reader
from seq2seq.inference.members import Member

EMPTY = "the source is empty"


class MemberText:
    """The source text of one member, as `Member` reads it."""

    def __init__(self, member: Member) -> None:
        data, tables = member.data, member.vocabularies
        self.readers = [Reader(tables.source, data.source.tokens, text_form(data.source, data))]
        self._limit = data.max_source_length
        if tables.features is not None:
            separator, form = data.features.separator, data.normalization
            self.readers.append(Reader(tables.features, separator, form, len(tables.source)))

    def __call__(self, given: Mapping[str, tf.Tensor]) -> tuple[tf.RaggedTensor, tf.Tensor]:
        """Returns the encoder's ids `[B, None]`, features first, and problems `[B]`."""
        source, *more = (
            reader(given[name])
            for reader, name in zip(self.readers, ("source", "features"), strict=False)
        )
        is_empty = source.ids.row_lengths() == 0
        problem = first_problem(
            not_utf8(source, "source"),
            *(not_utf8(one, "features") for one in more),
            tf.where(is_empty, EMPTY, ""),
            self._too_long(source, "tokens"),
            *(self._too_long(one, "features") for one in more),
        )
        return tf.concat([*(one.ids for one in more), source.ids], axis=1), problem

    def _too_long(self, read: Read, kind: str) -> tf.Tensor:
        count = read.ids.row_lengths()
        words = [
            "the source has ",
            tf.strings.as_string(count),
            f" {kind}, more than {self._limit}",
        ]
        return tf.where(count > self._limit, tf.strings.join(words), "")


def member_texts(members: Sequence[Member]) -> list[MemberText]:
    """Returns the text of each member; members that read the same ids of all lines share it."""
    made: list[tuple[tuple[object, ...], MemberText]] = []
    texts = []
    for member in members:
        rules = _reading(member)
        text = next((one for key, one in made if key == rules), None)
        if text is None:
            text = MemberText(member)
            made.append((rules, text))
        texts.append(text)
    return texts


def _reading(member: Member) -> tuple[object, ...]:
    """Returns what decides the ids and the problems of a line."""
    data, tables = member.data, member.vocabularies
    source = tables.source, data.source.tokens, text_form(data.source, data), data.max_source_length
    if tables.features is None:
        return source
    return *source, tables.features, data.features.separator, data.normalization


class ComputedRows:
    """The G of B lines that are computed."""

    def __init__(self, is_computed: tf.Tensor) -> None:
        self._numbers = tf.where(is_computed)[:, 0]  # [G]
        # The place of each line among the computed ones; G: it is not among them.
        place = tf.cumsum(tf.cast(is_computed, tf.int32)) - 1
        self._places = tf.where(is_computed, place, tf.size(self._numbers))  # [B]

    def take(self, values: tf.Tensor) -> tf.Tensor:
        """Returns the values `[G, ...]` of the computed lines among those of all `[B, ...]`."""
        return tf.gather(values, self._numbers)

    def give_back(self, values: tf.Tensor, default: str | float) -> tf.Tensor:
        """Returns the values `[B, ...]` of all lines, of which these `[G, ...]` are computed."""
        other = tf.fill(tf.concat([[1], tf.shape(values)[1:]], axis=0), default)
        return tf.gather(tf.concat([values, other], axis=0), self._places)


def text_form(side: SideConfig, data: DataConfig) -> Normalization:
    """Returns the Unicode form of a side."""
    return data.normalization if side.normalization is None else side.normalization


def not_utf8(read: Read, name: str) -> tf.Tensor:
    """Returns the problem of each line `[B]` that is not UTF-8, "" of others."""
    return tf.where(read.is_utf8, "", f"the {name} is not UTF-8")


def first_problem(*problems: tf.Tensor) -> tf.Tensor:
    """Returns the first problem of each line `[B]` that is not "", if there is one."""
    first, *others = problems
    for other in others:
        first = tf.where(first == "", other, first)
    return first


def without(ids: tf.RaggedTensor, is_emptied: tf.Tensor) -> tf.RaggedTensor:
    """Returns ids `[B, None]` without those of some lines `[B]`, which are then empty."""
    rows = ids.value_rowids()
    is_kept = ~tf.gather(is_emptied, rows)
    values, rows = (tf.boolean_mask(x, is_kept) for x in (ids.values, rows))
    return tf.RaggedTensor.from_value_rowids(values, rows, ids.nrows(), validate=False)
