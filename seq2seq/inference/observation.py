"""Observation of a model's own answers: probabilities of tokens, alignment, confidence.

One teacher-forced pass over the written answers, after the search and on request only. It serves
every search, every attention and ensembles alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import tensorflow as tf

from seq2seq.config.schema import DecodingConfig
from seq2seq.data.vocabulary import Vocabularies
from seq2seq.inference.answers import Hypothesis, Prediction
from seq2seq.inference.ensemble import Ensemble
from seq2seq.inference.forcing import Source, compile_observation, in_batches
from seq2seq.inference.members import Pairs, Tokens
from seq2seq.model.seq2seq import Seq2Seq

# Of all ids at all steps of a batch, 256 MiB: a search holds those of one step only.
_MAX_LOG_PROBS = 2**26


class Observer:
    """Observes answers of a model or an ensemble; compiled once for all shapes.

    Attributes:
        temperature: That of confidences; None: they are not calibrated.
    """

    def __init__(
        self,
        model: Seq2Seq | Ensemble,
        vocabularies: Vocabularies,
        decoding: DecodingConfig,
        temperature: float | None,
    ) -> None:
        """Compiles nothing before the first call.

        Args:
            model: The model, or an ensemble.
            vocabularies: Those that answers are written with.
            decoding: The settings of the search.
            temperature: That of confidences; None: they are not calibrated.
        """
        self._vocabularies, self._max_length = vocabularies, decoding.max_length or 1
        at_once = _MAX_LOG_PROBS // (len(vocabularies.target) * self._max_length)
        self._batch_size = max(1, min(decoding.batch_size, at_once))
        self.temperature = temperature
        self._observe = compile_observation(model)

    def details(
        self,
        predictions: Sequence[Prediction],
        accepted: Sequence[int],
        ids: Sequence[Mapping[int, list[int]]],
        read: Pairs,
    ) -> Iterator[tuple[int, Prediction]]:
        """Yields predictions with their confidence and the details of their hypotheses.

        The confidence is the probability of the best answer at the temperature.

        Args:
            predictions: The answers.
            accepted: The indices of those that the model has answered, which are yielded with them.
            ids: For each member, the ids of the sources by index.
            read: The tokens of the sources as the first member reads them.
        """
        answers = [
            ([own[i] for own in ids], hypothesis.tokens)
            for i in accepted
            for hypothesis in predictions[i].hypotheses
        ]
        rows = iter(self._forced(answers, [self.temperature or 1.0]))
        for i in accepted:
            source, features = read[i]
            prediction = predictions[i]._replace(read=(*features, *source))
            if prediction.hypotheses:
                own = [next(rows) for _ in prediction.hypotheses]
                prediction = prediction._replace(
                    hypotheses=[*map(self._with_details, prediction.hypotheses, own)],
                    confidence=min(1.0, math.exp(own[0][-1][0])),
                    is_calibrated=self.temperature is not None,
                )
            yield i, prediction

    def log_probs(
        self, answers: Sequence[tuple[Source, Tokens]], temperatures: Sequence[float]
    ) -> list[list[float]]:
        """Returns the log-probability of each answer, its end included, at each temperature."""
        return [totals for _, _, totals in self._forced(answers, temperatures)]

    def _forced(
        self, answers: Sequence[tuple[Source, Tokens]], temperatures: Sequence[float]
    ) -> list[list[list[float]]]:
        return in_batches(
            self._observe,
            [source for source, _ in answers],
            [self._vocabularies.encode_target(tokens) for _, tokens in answers],
            self._batch_size,
            tf.constant(temperatures, tf.float32),
        )

    def _with_details(self, hypothesis: Hypothesis, forced: list[list[float]]) -> Hypothesis:
        log_probs, position, _ = forced
        # An answer of max_length tokens was cut: its end was not written.
        length = min(len(hypothesis.tokens) + 1, self._max_length)
        alignment = tuple(map(int, position[:length]))
        return hypothesis._replace(
            probabilities=tuple(map(math.exp, log_probs[:length])),
            alignment=alignment if min(alignment) >= 0 else (),
        )


def mean_temperature(temperatures: Sequence[float | None]) -> float | None:
    """Returns the geometric mean, or None if one of them is None."""
    known = [one for one in temperatures if one is not None]
    if len(known) < len(temperatures):
        return None
    return math.exp(math.fsum(map(math.log, known)) / len(known))
