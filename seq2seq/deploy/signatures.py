"""Functions of an exported model in TensorFlow alone: text in and text out, and its two parts.

Inputs and outputs are flat dictionaries of named tensors, batch first, as TensorFlow Serving wants
them. Several members answer as one, as everywhere in `inference/`.

Shapes: B lines, of which G can be answered; n hypotheses a line; n_m members; the rest as in
`seq2seq/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from seq2seq.config.schema import DecodingConfig
from seq2seq.deploy.request_ops import (
    ComputedRows,
    first_problem,
    member_texts,
    not_utf8,
    text_form,
    without,
)
from seq2seq.deploy.text_ops import Reader, Writer, written_lengths
from seq2seq.errors import UserError
from seq2seq.inference.answers import NO_ANSWER
from seq2seq.inference.compiled_search import search_from
from seq2seq.inference.directions import directions
from seq2seq.inference.members import Members
from seq2seq.inference.search.hypotheses import Hypotheses
from seq2seq.model.parts import path_names
from seq2seq.special_ids import BOS, EOS, PAD, UNK

Tensors = dict[str, tf.Tensor]

_IDS = tf.TensorSpec([None, None], tf.int32, "ids")


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
        # Functions of their own, so that what several signatures share is traced and written once.
        self._encode = tf.function(self._encode_ids, input_signature=[_IDS], autograph=False)
        self._search = tf.function(self._search_from, autograph=False)
        self._totals = tf.function(self._sum_log_probs, autograph=False)
        self._decoding, self._temperature = decoding, temperature or 1.0
        self._has_features = members.has_features
        self._texts = member_texts(members.all)
        first = members.all[0]
        tables, side = first.vocabularies, first.data.target
        self._target = Reader(tables.target, side.tokens, text_form(side, first.data))
        self._write = Writer(tables.target, side.tokens, tables.reverse_target)
        self._is_reversed = tables.reverse_target
        readers = [reader for text in dict.fromkeys(self._texts) for reader in text.readers]
        self.tables = [reader.table for reader in (*readers, self._target)]

    def all(self) -> dict[str, Signature]:
        """Returns the functions by name; the first one is the default."""
        names = ("source", "features") if self._has_features else ("source",)
        lines = {name: tf.TensorSpec([None], tf.string, name) for name in names}
        target = {"target": tf.TensorSpec([None], tf.string, "target")}
        return {
            "decode": Signature(self.decode, lines),
            "decode_with_confidence": Signature(self.decode_with_confidence, lines),
            "score": Signature(self.score, {**lines, **target}),
            "encode": Signature(self.encode, {"ids": _IDS}),
            "step": self._step(),
        }

    def decode(self, given: Tensors) -> Tensors:
        """Answers lines of `source` (and `features`) `[B]`.

        Returns:
            `predictions` and `scores` `[B, n]`, best first, "" and -inf where there are fewer; and
            `problem` `[B]`, the reason why a line has no answer, or "".
        """
        source, problem, rows = self._source(given)
        memory, state = self._encode(source)
        return self._answers(self._search(memory, state, tf.shape(source)[0]), problem, rows)

    def decode_with_confidence(self, given: Tensors) -> Tensors:
        """Answers as `decode` does.

        Returns:
            What `decode` returns; and `confidence` `[B]`, the probability of the best answer at the
            fitted temperature, 0 without an answer. It takes another pass of the model.
        """
        source, problem, rows = self._source(given)
        memory, state = self._encode(source)
        found = self._search(memory, state, tf.shape(source)[0])
        total = self._totals(memory, state, _forced(found.tokens[:, 0]), self._temperature)
        has_answer = tf.math.is_finite(found.scores[:, 0])
        confidence = tf.where(has_answer, tf.exp(tf.minimum(total, 0.0)), 0.0)
        answers = self._answers(found, problem, rows)
        return {**answers, "confidence": rows.give_back(confidence, 0.0)}

    def score(self, given: Tensors) -> Tensors:
        """Scores a line of `target` `[B]` for each line of `source` (and `features`).

        Returns:
            `log_prob` `[B]`, of all tokens and the end: -inf if a symbol is not in the vocabulary,
            or if there is a `problem` `[B]`, as in `decode`.
        """
        target = self._target(given["target"])
        source, problem, rows = self._source(given, not_utf8(target, "target"))
        memory, state = self._encode(source)
        written = rows.take(without(target.ids, problem != "").to_tensor(PAD))  # [G, T]
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
        memory, state = self._encode(given["ids"])
        return {**_flat(memory, "memory"), **_flat(state, "state")}

    def _step(self) -> Signature:
        """Returns the function that reads one of `tokens` `[B]` a row, `BOS` at first.

        Its other inputs are those that `encode` returns. It returns `log_probs` `[B, V]` of the
        next token, and the next state.
        """
        memory, state = self._encode.get_concrete_function().structured_outputs
        memory_names, state_names = path_names(memory, "memory"), path_names(state, "state")

        def step(given: Tensors) -> Tensors:
            memory, state = _nested(given, memory_names), _nested(given, state_names)
            tokens = given["tokens"][:, None]  # [B, 1]
            log_probs, state = self._model.decoder.log_probs(tokens, state, memory)
            return {"log_probs": log_probs[:, 0], **_flat(state, "state")}

        inputs = {"tokens": tf.TensorSpec([None], tf.int32, "tokens")}
        for name, one in {**_flat(memory, "memory"), **_flat(state, "state")}.items():
            inputs[name] = tf.TensorSpec([None, *one.shape[1:]], one.dtype, name)
        return Signature(step, inputs)

    def _source(
        self, given: Tensors, *further: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, ComputedRows]:
        """Returns ids `[G, n_m · S]` of the lines without a problem, all problems `[B]`, and rows.

        A line with a problem has no ids, so that a long one makes no others longer. `further` are
        problems `[B]` that are not those of the source.
        """
        for name, lines in given.items():
            message = f"{name} and source need as many lines"
            tf.debugging.assert_equal(tf.size(lines), tf.size(given["source"]), message)
        read = {text: text(given) for text in dict.fromkeys(self._texts)}  # Members may share one.
        problem = first_problem(*(own for _, own in read.values()), *further)
        kept = {text: without(ids, problem != "") for text, (ids, _) in read.items()}
        # At least 1, also where there is no line at all: layers need a step.
        lengths = [tf.cast(ids.bounding_shape()[1], tf.int32) for ids in kept.values()]
        shape = tf.stack([-1, tf.reduce_max([1, *lengths])])
        padded = {text: ids.to_tensor(PAD, shape=shape) for text, ids in kept.items()}
        rows = ComputedRows(problem == "")
        return rows.take(tf.concat([padded[one] for one in self._texts], axis=1)), problem, rows

    def _encode_ids(self, ids: tf.Tensor) -> tuple[Any, Any]:
        return self._model.encode(ids, training=False)

    def _search_from(self, memory: Any, state: Any, count: tf.Tensor) -> Hypotheses:
        return search_from(self._model, memory, state, count, self._decoding, seed=0)

    def _answers(self, found: Hypotheses, problem: tf.Tensor, rows: ComputedRows) -> Tensors:
        scores = rows.give_back(found.scores, -float("inf"))  # [B, n]
        has_answer = tf.math.is_finite(scores[:, 0])
        return {
            "predictions": rows.give_back(self._write(found.tokens), ""),
            "scores": scores,
            "problem": tf.where((problem == "") & ~has_answer, NO_ANSWER, problem),
        }

    def _sum_log_probs(
        self, memory: Any, state: Any, target: tf.Tensor, temperature: float
    ) -> tf.Tensor:
        """Returns log-probabilities `[G]` of targets `[G, T + 1]`, with `BOS` and `EOS`."""
        log_probs, _ = self._model.decoder.log_probs(target[:, :-1], state, memory)  # [G, T, V]
        if temperature != 1.0:
            log_probs = tf.nn.log_softmax(log_probs / temperature)
        chosen = tf.gather(log_probs, target[:, 1:], axis=2, batch_dims=2)  # [G, T]
        return tf.reduce_sum(tf.where(target[:, 1:] == PAD, 0.0, chosen), axis=1)


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
