"""Functions of an exported model: `decode`, `score`, `encode` and `step`, in TensorFlow alone.

Inputs and outputs are flat dictionaries of named tensors, batch first, as TensorFlow Serving wants
them. Several members answer as one, as everywhere in `inference/`.

Shapes: B lines, of which G can be answered; n hypotheses a line; n_m members; the rest as in
`seq2seq/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from seq2seq.config.choices import Normalization
from seq2seq.config.schema import DataConfig, DecodingConfig, SideConfig
from seq2seq.deploy.text_ops import Read, Reader, Writer, written_lengths
from seq2seq.errors import UserError
from seq2seq.inference.answers import NO_ANSWER
from seq2seq.inference.compiled_search import search_from
from seq2seq.inference.directions import directions
from seq2seq.inference.members import Member, Members
from seq2seq.model.parts import path_names
from seq2seq.special_ids import BOS, EOS, PAD, UNK

Tensors = dict[str, tf.Tensor]

EMPTY = "the source is empty"


class Signature(NamedTuple):
    """A function of named tensors, and the inputs that it takes."""

    function: Callable[[Tensors], Tensors]
    inputs: dict[str, tf.TensorSpec]


class Signatures:
    """The functions of a model or an ensemble.

    Attributes:
        tables: The tables of all vocabularies, which whoever saves the functions tracks.
    """

    def __init__(
        self, members: Members, decoding: DecodingConfig, temperature: float | None
    ) -> None:
        """Makes the tables.

        Args:
            members: The models with their vocabularies.
            decoding: The settings of the search.
            temperature: That of confidences; None: they are not calibrated.

        Raises:
            UserError: The members write in both directions, or see `unicode_tables`.
        """
        if len(directions(members)) > 1:
            raise UserError(
                "format=saved_model needs members of one data.reverse_target; export them apart"
            )
        self._model = members.searched
        self._decoding, self._temperature = decoding, temperature or 1.0
        self._has_features = members.has_features
        self._texts = [_MemberText(member) for member in members.all]
        first = members.all[0]
        tables, side = first.vocabularies, first.data.target
        self._target = Reader(tables.target, side.tokens, _form(side, first.data))
        self._write = Writer(tables.target, side.tokens, tables.reverse_target)
        self._is_reversed = tables.reverse_target
        readers = [reader for text in self._texts for reader in text.readers]
        self.tables = [reader.table for reader in (*readers, self._target)]

    def all(self) -> dict[str, Signature]:
        """Returns the functions by name; the first one is the default."""
        names = ("source", "features") if self._has_features else ("source",)
        lines = {name: tf.TensorSpec([None], tf.string, name) for name in names}
        target = {"target": tf.TensorSpec([None], tf.string, "target")}
        ids = {"ids": tf.TensorSpec([None, None], tf.int32, "ids")}
        return {
            "decode": Signature(self.decode, lines),
            "score": Signature(self.score, {**lines, **target}),
            "encode": Signature(self.encode, ids),
            "step": Signature(self.step, self._step_inputs()),
        }

    def decode(self, given: Tensors) -> Tensors:
        """Answers lines of `source` (and `features`) `[B]`.

        Returns:
            `predictions` and `scores` `[B, n]`, best first, "" and -inf where there are fewer;
            `confidence` `[B]`, the probability of the best answer at the fitted temperature; and
            `problem` `[B]`, the reason why a line has no answer, or "".
        """
        ids, problem = self._read(given)
        rows = _Rows(problem == "")
        source = rows.take(ids)
        memory, state = self._model.encode(source, training=False)
        found = search_from(self._model, memory, state, tf.shape(source)[0], self._decoding, seed=0)
        total = self._totals(memory, state, _forced(found.tokens[:, 0]), self._temperature)
        scores = rows.give_back(found.scores, -float("inf"))
        has_answer = tf.math.is_finite(scores[:, 0])
        confidence = rows.give_back(tf.exp(tf.minimum(total, 0.0)), 0.0)
        return {
            "predictions": rows.give_back(self._write(found.tokens), ""),
            "scores": scores,
            "confidence": tf.where(has_answer, confidence, 0.0),
            "problem": tf.where((problem == "") & ~has_answer, NO_ANSWER, problem),
        }

    def score(self, given: Tensors) -> Tensors:
        """Scores a line of `target` `[B]` for each line of `source` (and `features`).

        Returns:
            `log_prob` `[B]`, of all tokens and the end: -inf if a symbol is not in the vocabulary,
            or if there is a `problem` `[B]`, as in `decode`.
        """
        target = self._target(given["target"])
        ids, problem = self._read(given)
        problem = _first(problem, _not_utf8(target, "target"))
        rows = _Rows(problem == "")
        memory, state = self._model.encode(rows.take(ids), training=False)
        written = rows.take(_without(target.ids, problem != "").to_tensor(PAD))  # [G, T]
        if self._is_reversed:
            written = tf.reverse_sequence(written, written_lengths(written), seq_axis=1)
        total = self._totals(memory, state, _forced(written), 1.0)
        total = tf.where(tf.reduce_any(written == UNK, axis=1), -float("inf"), total)
        return {"log_prob": rows.give_back(total, -float("inf")), "problem": problem}

    def encode(self, given: Tensors) -> Tensors:
        """Encodes `ids` `[B, S]`, of n_m members side by side `[B, n_m · S]`.

        Returns:
            The memory and the initial state under names such as `memory_values` and
            `state_layers_0_0`; `step` takes and returns the same.
        """
        memory, state = self._model.encode(given["ids"], training=False)
        return {**_flat(memory, "memory"), **_flat(state, "state")}

    def step(self, given: Tensors) -> Tensors:
        """Reads one of `tokens` `[B]` a row, `BOS` at first, with a state and the memory.

        Returns:
            `log_probs` `[B, V]` of the next token, and the next state.
        """
        memory, state = (_nested(given, names) for names in self._names)
        tokens = given["tokens"][:, None]  # [B, 1]
        log_probs, state = self._model.decoder.log_probs(tokens, state, memory)
        return {"log_probs": log_probs[:, 0], **_flat(state, "state")}

    def _step_inputs(self) -> dict[str, tf.TensorSpec]:
        """Returns the inputs of `step`, and keeps the nests that they are flattened from."""
        ids = tf.TensorSpec([None, None], tf.int32)
        traced = tf.function(lambda ids: self._model.encode(ids, training=False), autograph=False)
        memory, state = traced.get_concrete_function(ids).structured_outputs
        self._names = path_names(memory, "memory"), path_names(state, "state")
        flat = {**_flat(memory, "memory"), **_flat(state, "state")}
        specs = {
            name: tf.TensorSpec([None, *one.shape[1:]], one.dtype, name)
            for name, one in flat.items()
        }
        return {"tokens": tf.TensorSpec([None], tf.int32, "tokens"), **specs}

    def _read(self, given: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the ids of all members side by side `[B, n_m · S]`, and problems `[B]`.

        A line with a problem has no ids, so that a long one makes no others longer.
        """
        read = [text(given) for text in self._texts]
        problem = _first(*(own for _, own in read))
        kept = [_without(ids, problem != "") for ids, _ in read]
        # At least 1, also where there is no line at all: layers need a step.
        longest = tf.reduce_max([1, *(tf.cast(ids.bounding_shape()[1], tf.int32) for ids in kept)])
        padded = [ids.to_tensor(PAD, shape=tf.stack([-1, longest])) for ids in kept]
        return tf.concat(padded, axis=1), problem

    def _totals(self, memory: Any, state: Any, target: tf.Tensor, temperature: float) -> tf.Tensor:
        """Returns log-probabilities `[G]` of targets `[G, T + 1]`, with `BOS` and `EOS`."""
        log_probs, _ = self._model.decoder.log_probs(target[:, :-1], state, memory)  # [G, T, V]
        if temperature != 1.0:
            log_probs = tf.nn.log_softmax(log_probs / temperature)
        chosen = tf.gather(log_probs, target[:, 1:], axis=2, batch_dims=2)  # [G, T]
        return tf.reduce_sum(tf.where(target[:, 1:] == PAD, 0.0, chosen), axis=1)


class _MemberText:
    """The source text of one member, as `Member` reads it."""

    def __init__(self, member: Member) -> None:
        data, tables = member.data, member.vocabularies
        self.readers = [Reader(tables.source, data.source.tokens, _form(data.source, data))]
        self._limit = data.max_source_length
        if tables.features is not None:
            separator, form = data.features.separator, data.normalization
            self.readers.append(Reader(tables.features, separator, form, len(tables.source)))

    def __call__(self, given: Tensors) -> tuple[tf.RaggedTensor, tf.Tensor]:
        """Returns the encoder's ids `[B, None]`, features first, and problems `[B]`."""
        source, *more = (
            reader(given[name])
            for reader, name in zip(self.readers, ("source", "features"), strict=False)
        )
        is_empty = source.ids.row_lengths() == 0
        problem = _first(
            _not_utf8(source, "source"),
            *(_not_utf8(one, "features") for one in more),
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


class _Rows:
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


def _form(side: SideConfig, data: DataConfig) -> Normalization:
    return data.normalization if side.normalization is None else side.normalization


def _not_utf8(read: Read, name: str) -> tf.Tensor:
    return tf.where(read.is_utf8, "", f"the {name} is not UTF-8")


def _first(*problems: tf.Tensor) -> tf.Tensor:
    """Returns the first problem of each line `[B]` that is not "", if there is one."""
    first, *others = problems
    for other in others:
        first = tf.where(first == "", other, first)
    return first


def _without(ids: tf.RaggedTensor, is_emptied: tf.Tensor) -> tf.RaggedTensor:
    """Returns ids `[B, None]` without those of some lines `[B]`, which are then empty."""
    rows = ids.value_rowids()
    is_kept = ~tf.gather(is_emptied, rows)
    values, rows = (tf.boolean_mask(x, is_kept) for x in (ids.values, rows))
    return tf.RaggedTensor.from_value_rowids(values, rows, ids.nrows(), validate=False)


def _forced(written: tf.Tensor) -> tf.Tensor:
    """Returns the decoder's ids `[G, T + 2]` of written ids, with `BOS` and `EOS`, then `PAD`.

    T is the largest number of ids before the first end or padding.
    """
    lengths = written_lengths(written)[:, None]  # [G, 1]
    width = tf.reduce_max(tf.concat([lengths, [[0]]], axis=0))
    written = tf.pad(written[:, :width], [(0, 0), (0, 1)])
    places = tf.range(width + 1)
    ended = tf.where(places < lengths, written, tf.where(places == lengths, EOS, PAD))
    return tf.pad(ended, [(0, 0), (1, 0)], constant_values=BOS)


def _flat(nest: Any, name: str) -> Tensors:
    """Returns the tensors of a nest by their paths in it."""
    names = tf.nest.flatten(path_names(nest, name))
    return dict(zip(names, tf.nest.flatten(nest), strict=True))


def _nested(given: Tensors, names: Any) -> Any:
    """Returns a nest of the tensors with these names."""
    return tf.nest.map_structure(lambda name: given[name], names)
