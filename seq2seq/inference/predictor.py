"""Predictor: a trained run that answers lines of text, in order. It uses no training code."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seq2seq.config.checks import check_decoding
from seq2seq.config.commands import AnswerSettings, DecodingChanges
from seq2seq.config.resolve import shared_decoding
from seq2seq.config.schema import DataConfig, DecodingConfig
from seq2seq.data.vocabulary import Tokenizer, Vocabularies
from seq2seq.inference.answers import Prediction
from seq2seq.inference.lexicon import AllowedAnswers, look_up, read_lexicon
from seq2seq.inference.members import Member, Members, Pair, Pairs, Tokens
from seq2seq.inference.observation import Observer, attention_weights, mean_temperature
from seq2seq.inference.voting import make_search
from seq2seq.model.seq2seq import Seq2Seq
from seq2seq.runs.calibration_file import load_temperature
from seq2seq.runs.run_dir import RunDir

Run = RunDir | str | Path


class Predictor:
    """Trained model, or an ensemble of several, with its vocabularies: text in, text out.

    Several threads may call one predictor at once: a call changes nothing that another one reads.

    Attributes:
        members: The models with their vocabularies, one or several.
        vocabularies: Those of the first member, which answers are written with.
        data: The settings by which the tokens of `predict_tokens` are read.
        decoding: The settings of the search.
        answers: The settings of the answers that a run does not keep.
        observer: Finds details of answers.
    """

    def __init__(
        self,
        model: Seq2Seq,
        vocabularies: Vocabularies,
        data: DataConfig,
        decoding: DecodingConfig,
        others: Sequence[Member] = (),
        answers: AnswerSettings | None = None,
        temperature: float | None = None,
    ) -> None:
        """Prepares the search; nothing is traced before the first prediction.

        Args:
            model: The first model. Its weights may change later, and predictions follow them.
            vocabularies: Its vocabularies.
            data: The settings of its text.
            decoding: The settings of the search.
            others: Further models, which answer together with the first.
            answers: Lexicon, allowed answers and rejection; None: none of them.
            temperature: That of confidences; None: they are not calibrated.

        Raises:
            UserError: The decoding settings contradict each other, the members do not write the
                same target symbols, or a file of the settings cannot be read.
        """
        check_decoding(decoding, len(vocabularies.target))
        self.members = Members([Member(model, vocabularies, data), *others])
        self.vocabularies, self.data = vocabularies, self.members.data
        self.decoding = decoding
        self.target = Tokenizer(data.target.tokens)
        self.answers = answers = answers or AnswerSettings()
        self._lexicon = read_lexicon(answers.lexicon, self.data) if answers.lexicon else None
        # A temperature is that of a free search.
        temperature = temperature if answers.answers is None else None
        self.observer = Observer(self.members, decoding, temperature)
        self._allowed = AllowedAnswers(answers.answers) if answers.answers else None
        self.search = make_search(self.members, decoding, self._allowed, self.observer.log_probs)

    @classmethod
    def load(cls, run: Run | Sequence[Run], decoding: DecodingChanges | None = None) -> Predictor:
        """Loads a run, or several as an ensemble.

        A run is a `RunDir`, the path of its folder or of an ensemble's, or `latest`.

        The search has the settings of the first run, with the largest `max_length` of all. Values
        of `decoding` that are not None replace these settings; `AnswerSettings` has more. The
        temperature of an ensemble is the geometric mean of its members'.

        Raises:
            UserError: A folder is not a complete run, or is damaged; or the runs do not write the
                same target symbols.
        """
        runs = RunDir.find_all(run)
        configs = [one.load_config() for one in runs]
        first, *others = map(Member.load, runs, configs)
        settings = shared_decoding(decoding, [one.decoding for one in configs])
        answers = decoding if isinstance(decoding, AnswerSettings) else None
        temperature = mean_temperature([*map(load_temperature, runs)])
        own = first.model, first.vocabularies, first.data
        return cls(*own, settings, others, answers, temperature)

    def with_search(self, decoding: DecodingConfig) -> Predictor:
        """Returns a predictor of the same models that searches with other settings.

        Raises:
            UserError: The settings contradict each other, or `decoding.answers` cannot be read.
        """
        check_decoding(decoding, len(self.vocabularies.target))
        found = copy.copy(self)  # The files of known answers are not read again.
        found.decoding = decoding
        if decoding.max_length != self.decoding.max_length:  # else it is traced for all searches
            found.observer = Observer(self.members, decoding, self.observer.temperature)
        found.search = make_search(self.members, decoding, self._allowed, found.observer.log_probs)
        return found

    def __call__(self, source: str, features: str = "") -> str:
        """Returns the best answer to a line; empty if there is none, which `predict` explains."""
        [prediction] = self.predict([source], [features])
        return prediction.text

    @property
    def has_features(self) -> bool:
        """Whether a member reads features."""
        return self.members.has_features

    @property
    def model(self) -> Seq2Seq:
        """The only model.

        Raises:
            UserError: The predictor is an ensemble.
        """
        return self.members.only.model

    def predict(
        self,
        sources: Sequence[str],
        features: Sequence[str] | None = None,
        batches_before: int = 0,
        with_details: bool | Sequence[bool] = False,
        seed: int | None = None,
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
            with_details: Whether the confidence, the probabilities of tokens and the alignment are
                wanted, which take another pass of the model; for all lines, or for each.
            seed: That of sampling; None: `decoding.seed`.

        Raises:
            TypeError: `sources` or `features` is a string, not a list of strings.
            ValueError: There are more or fewer features than sources.
        """
        for name, lines in (("sources", sources), ("features", features)):
            # A string is a sequence of strings too: each character would be answered as a line.
            if isinstance(lines, str):
                raise TypeError(f"{name} must be a list of strings, not a string: use [{lines!r}]")
        features = features if features is not None else [""] * len(sources)
        texts = [*zip(sources, features, strict=True)]
        wanted = [with_details] * len(texts) if isinstance(with_details, bool) else with_details
        return self._answer(self.members.read(texts), batches_before, wanted, seed)

    def without_search(self, sources: Sequence[str], features: Sequence[str]) -> list[Prediction]:
        """Returns what `predict` does, but without the answers that the model gives."""
        return self._without_search(self.members.read([*zip(sources, features, strict=True)]))

    def count_batches(self, predictions: Sequence[Prediction]) -> int:
        """Returns the number of batches that these answers of one call took."""
        decoded = sum(prediction.is_decoded for prediction in predictions)
        return math.ceil(decoded / self.decoding.batch_size)

    def predict_tokens(self, pairs: Sequence[Pair], batches_before: int = 0) -> list[Prediction]:
        """Answers pairs of source tokens and feature tokens, in the order of the input.

        `batches_before` is explained at `predict`, other members' tokens at `Members.read_tokens`.
        """
        return self._answer(self.members.read_tokens(pairs), batches_before)

    def _answer(
        self,
        read: list[Pairs],
        batches_before: int,
        with_details: Sequence[bool] = (),
        seed: int | None = None,
    ) -> list[Prediction]:
        """Answers sources, given as each member reads them."""
        predictions = self._without_search(read)
        accepted = [i for i, one in enumerate(predictions) if not one.problem and not one.is_known]
        members = list(zip(self.members.all, read, strict=True))
        ids = [{i: member.encode(pairs[i]) for i in accepted} for member, pairs in members]
        # Rows of similar length share a batch, so that little of it is padding. The longest rows
        # come first: the last batch leaves the other cores idle, and should be the shortest.
        by_length = sorted(accepted, key=lambda i: len(ids[0][i]), reverse=True)
        size = self.decoding.batch_size
        batches = [by_length[start : start + size] for start in range(0, len(by_length), size)]
        blocks = [[[own[i] for i in batch] for own in ids] for batch in batches]
        for batch, answers in zip(batches, self.search(blocks, batches_before, seed), strict=True):
            for i, prediction in zip(batch, answers, strict=True):
                predictions[i] = prediction
        for (member, pairs), own in zip(members, ids, strict=True):
            for i in accepted:
                if unknown := member.unknown(pairs[i], own[i]):
                    unknown = tuple(dict.fromkeys(predictions[i].unknown + unknown))
                    predictions[i] = predictions[i]._replace(unknown=unknown)
        limit = self.answers.reject_below
        if limit is None:
            accepted = [i for i in accepted if with_details and with_details[i]]
        if accepted:
            for i, one in self.observer.details(predictions, accepted, ids, read[0]):
                predictions[i] = one.judged(limit)
        return predictions

    def _without_search(self, read: list[Pairs]) -> list[Prediction]:
        """Returns a problem or a known answer for each source, or a prediction with neither."""
        predictions = [Prediction([], problem) for problem in self.members.problems(read)]
        if self._lexicon is not None:
            for i, asked in enumerate(self.members.asked(read)):
                known = look_up(self._lexicon, asked, self.decoding.n_best, self.target)
                predictions[i] = known or predictions[i]
        return predictions

    def attention(self, source: tuple[Tokens, Tokens], target: Tokens) -> np.ndarray | None:
        """Returns the attention weights `[T, S]` of writing `target` and its end, if there are any.

        S counts features and source tokens; T counts target tokens and the end of sequence.
        """
        return attention_weights(self.model, self.vocabularies, source, target)
