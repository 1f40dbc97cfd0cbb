"""Predictor: a trained run that answers lines of text, in order. It uses no training code."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from seq2seq.config.commands import DecodingChanges
from seq2seq.config.resolve import check_decoding, complete_decoding
from seq2seq.config.schema import DataConfig, DecodingConfig, RunConfig
from seq2seq.data.buckets import pad
from seq2seq.data.tsv import feature_tokens, source_tokens
from seq2seq.data.vocabulary import Tokenizer, Vocabularies
from seq2seq.errors import UserError
from seq2seq.hardware import cores
from seq2seq.inference.compiled_search import bucket, compile_search
from seq2seq.model.seq2seq import Seq2Seq, build_model
from seq2seq.model.weight_count import count_weights
from seq2seq.runs.run_dir import RunDir
from seq2seq.runs.weights import count_numbers, misfit, read_weights
from seq2seq.special_ids import BOS, UNK

Tokens = Sequence[str]

_NO_ANSWER = "the model has no answer: its scores are not finite"


class Hypothesis(NamedTuple):
    """One answer: its tokens, the tokens as a line of text, and its score (higher is better)."""

    tokens: tuple[str, ...]
    text: str
    score: float


class Prediction(NamedTuple):
    """Answers to one line.

    Attributes:
        hypotheses: The answers, best first.
        problem: The reason if there are none.
        unknown: The different source tokens and features that the vocabularies lack. The model
            reads one id for all of them, so its answers cannot depend on which they are.
    """

    hypotheses: list[Hypothesis]
    problem: str | None = None
    unknown: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The best answer, empty if there is none."""
        return self.hypotheses[0].text if self.hypotheses else ""

    @property
    def tokens(self) -> tuple[str, ...]:
        """The best answer's tokens, empty if there is none."""
        return self.hypotheses[0].tokens if self.hypotheses else ()

    @property
    def is_decoded(self) -> bool:
        """Whether the model read the line; False if the line was refused."""
        return self.problem is None or self.problem == _NO_ANSWER


class Predictor:
    """Trained model with its vocabularies and tokenizers: text in, text out.

    Attributes:
        model: The model. Its weights may change later, and predictions follow them.
    """

    def __init__(
        self,
        model: Seq2Seq,
        vocabularies: Vocabularies,
        data: DataConfig,
        decoding: DecodingConfig,
    ) -> None:
        """Prepares the search; nothing is traced before the first prediction.

        Raises:
            UserError: The decoding settings contradict each other.
        """
        check_decoding(decoding, len(vocabularies.target))
        self.model = model
        self.vocabularies = vocabularies
        self.data = data
        self.decoding = decoding
        self.target = Tokenizer(data.target.tokens)
        self._search = compile_search(model, decoding)

    @classmethod
    def load(cls, run: RunDir, decoding: DecodingChanges | None = None) -> Predictor:
        """Loads a run; values of `decoding` that are not None replace those of the run.

        Raises:
            UserError: The folder is not a complete run, or is damaged.
        """
        config, vocabularies = run.load_config(), Vocabularies.load(*run.vocabularies)
        return cls(
            load_model(run, config, vocabularies),
            vocabularies,
            config.data,
            complete_decoding(decoding, config.decoding),
        )

    def predict(
        self,
        sources: Sequence[str],
        features: Sequence[str] | None = None,
        batches_before: int = 0,
    ) -> list[Prediction]:
        """Answers lines of source text, each with its line of features if the model uses them.

        A line end after a line is removed, as in a file; blanks are kept.
        An empty or overlong line gets a `problem`, and does not affect the other lines.

        Sampling draws the random numbers of a batch from the seed of the settings and the batch's
        number. Equal requests get equal answers.

        Args:
            sources: Lines of source text.
            features: Lines of features; None: all are empty.
            batches_before: Number of the first batch. A request in several calls passes the batches
                of its earlier calls (see `count_batches`), so that they do not repeat their draws.

        Raises:
            TypeError: `sources` or `features` is a string, not a list of strings.
            ValueError: There are more or fewer features than sources.
        """
        for name, lines in (("sources", sources), ("features", features)):
            # A string is a sequence of strings too: each character would be answered as a line.
            if isinstance(lines, str):
                raise TypeError(f"{name} must be a list of strings, not a string: use [{lines!r}]")
        features = features if features is not None else [""] * len(sources)
        has_features = self.vocabularies.features is not None
        return self.predict_tokens(
            [
                (
                    source_tokens(_without_end(source), self.data),
                    feature_tokens(_without_end(tags), self.data) if has_features else (),
                )
                for source, tags in zip(sources, features, strict=True)
            ],
            batches_before,
        )

    def count_batches(self, predictions: Sequence[Prediction]) -> int:
        """Returns the number of batches that these answers of one call took."""
        decoded = sum(prediction.is_decoded for prediction in predictions)
        return math.ceil(decoded / self.decoding.batch_size)

    def predict_tokens(
        self, pairs: Sequence[tuple[Tokens, Tokens]], batches_before: int = 0
    ) -> list[Prediction]:
        """Answers pairs of source tokens and feature tokens, in the order of the input.

        `batches_before` is explained at `predict`.
        """
        predictions = [Prediction([], self._problem(*pair)) for pair in pairs]
        accepted = [i for i, prediction in enumerate(predictions) if prediction.problem is None]
        ids = {i: self.vocabularies.encode_source(*pairs[i]) for i in accepted}
        # Rows of similar length share a batch, so that little of it is padding. The longest rows
        # come first: the last batch leaves the other cores idle, and should be the shortest.
        by_length = sorted(accepted, key=lambda i: len(ids[i]), reverse=True)
        size = self.decoding.batch_size
        batches = [by_length[start : start + size] for start in range(0, len(by_length), size)]
        decoded = self._decode_all([[ids[i] for i in rows] for rows in batches], batches_before)
        for rows, answers in zip(batches, decoded, strict=True):
            for i, prediction in zip(rows, answers, strict=True):
                predictions[i] = prediction._replace(unknown=self._unknown(pairs[i], ids[i]))
        return predictions

    def attention(self, source: tuple[Tokens, Tokens], target: Tokens) -> np.ndarray | None:
        """Returns the attention weights `[T, S]` of writing `target` and its end, if there are any.

        S counts features and source tokens; T counts target tokens and the end of sequence.
        """
        ids = self.vocabularies.encode_source(*source)
        target_in = [BOS, *self.vocabularies.target.encode(target)]
        # One place more than tokens: Keras warns of a softmax over a single one.
        memory, state = self.model.encode(tf.constant(pad([ids], length=len(ids) + 1)))
        _, _, seen = self.model.decoder(tf.constant([target_in], tf.int32), state, memory)
        weights = seen.get("attention_weights")
        return None if weights is None else keras.ops.convert_to_numpy(weights)[0, :, : len(ids)]

    def _unknown(self, pair: tuple[Tokens, Tokens], ids: list[int]) -> tuple[str, ...]:
        # Two searches of a list of numbers; the tokens are looked up again only where needed. The
        # ids of features follow those of the source vocabulary.
        if UNK in ids or len(self.vocabularies.source) + UNK in ids:
            return self.vocabularies.unknown_in_source(*pair)
        return ()

    def _problem(self, source: Tokens, features: Tokens) -> str | None:
        if not source:
            return "the source is empty"
        if len(source) > self.data.max_source_length:
            return (
                f"the source has {len(source)} tokens, more than "
                f"data.max_source_length={self.data.max_source_length} of the run"
            )
        if self.vocabularies.features and len(features) > self.data.max_source_length:
            return (
                f"the source has {len(features)} features, more than "
                f"data.max_source_length={self.data.max_source_length} of the run"
            )
        return None

    def _decode_all(self, batches: list[list[list[int]]], first: int) -> Iterable[list[Prediction]]:
        """Decodes batches of ids, two per core at a time.

        XLA computes all but large products on one core. While some batches are converted to text,
        or passed to XLA or back, others keep the cores busy.
        """
        # A function of the request, not of earlier ones: a resumed training, which has not made
        # those, must score the dev set alike.
        numbers = range(first, first + len(batches))
        draw = np.random.default_rng
        seeds = [int(draw((self.decoding.seed, n)).integers(2**31)) for n in numbers]
        if len(batches) < 2:
            return map(self._decode, batches, seeds)
        # The last batch gets as many rows as the others: compiling for fewer would take longer.
        rows = [len(batches[0])] * len(batches)
        with ThreadPoolExecutor(2 * cores()) as pool:
            return list(pool.map(self._decode, batches, seeds, rows))

    def _decode(self, ids: list[list[int]], seed: int, min_rows: int = 1) -> list[Prediction]:
        max_rows = self.decoding.batch_size
        rows, length = bucket(max(len(ids), min_rows), max_rows, max(map(len, ids)))
        # Filler rows of the bucket repeat the last row.
        source = np.pad(pad(ids, length), [(0, rows - len(ids)), (0, 0)], mode="edge")
        hypotheses = self._search(tf.constant(source), tf.constant(seed, tf.int32))
        # Lists, because iterating over the numbers of an array takes three times as long.
        tokens = hypotheses.tokens.numpy()[: len(ids)].tolist()
        scores = hypotheses.scores.numpy()[: len(ids)].tolist()
        predictions = []
        for row_tokens, row_scores in zip(tokens, scores, strict=True):
            answers = []
            for ids_written, score in zip(row_tokens, row_scores, strict=True):
                # A search with fewer than n_best hypotheses pads them with scores of -inf.
                if math.isfinite(score):
                    decoded = self.vocabularies.target.decode(ids_written)
                    answers.append(Hypothesis(decoded, self.target.join(decoded), score))
            predictions.append(Prediction(answers, None if answers else _NO_ANSWER))
        return predictions


def _without_end(line: str) -> str:
    """Returns a line without its end, which `LineReader` removes from the lines of a file."""
    return line.removesuffix("\n").removesuffix("\r")


def load_model(run: RunDir, config: RunConfig, vocabularies: Vocabularies) -> Seq2Seq:
    """Builds the model of a run with its best weights.

    Raises:
        UserError: The weights are missing, damaged, or of another shape.
    """
    sizes = vocabularies.source_size, len(vocabularies.target)
    if not run.best_weights.is_file():
        raise UserError(f"{run.path}: no best.weights.h5; has the run finished an epoch?")
    # Before anything is built: the settings may ask for more than there is memory.
    needed, there = count_weights(config.model, *sizes), count_numbers(run.best_weights)
    if needed > there:
        reason = f"{needed} numbers are needed, {there} are there"
        raise misfit(run.best_weights, reason)
    model = build_model(config.model, *sizes, config.training.precision)
    read_weights(run.best_weights, model)
    return model
