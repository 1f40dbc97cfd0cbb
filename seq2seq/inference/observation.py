"""Observation of a model's own answers: probabilities of tokens, alignment, confidence.

One teacher-forced pass over the written answers, after the search and on request only. It serves
every search, every attention and ensembles alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from seq2seq.config.schema import DecodingConfig
from seq2seq.data.buckets import pad
from seq2seq.data.vocabulary import Vocabularies
from seq2seq.inference.answers import Hypothesis, Prediction
from seq2seq.inference.directions import Vote, Voters, mean
from seq2seq.inference.forcing import Source, compile_observation
from seq2seq.inference.members import Members, Pair, Pairs, Tokens
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
        members: Members,
        decoding: DecodingConfig,
        temperature: float | None,
    ) -> None:
        """Compiles nothing before the first call.

        Args:
            members: The models, one or several.
            decoding: The settings of the search.
            temperature: That of confidences; None: they are not calibrated.
        """
        self._max_length = decoding.max_length or 1
        symbols = len(members.all[0].vocabularies.target)
        at_once = _MAX_LOG_PROBS // (symbols * self._max_length)
        self._batch_size = max(1, min(decoding.batch_size, at_once))
        self.temperature = temperature
        self._observe = Voters(members, compile_observation)

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
                    confidence=min(1.0, math.exp(_totals(own[0])[0])),
                    is_calibrated=self.temperature is not None,
                )
            yield i, prediction

    def log_probs(
        self, answers: Sequence[tuple[Source, Tokens]], temperatures: Sequence[float]
    ) -> list[list[float]]:
        """Returns the log-probability of each answer, its end included, at each temperature."""
        return [_totals(votes) for votes in self._forced(answers, temperatures)]

    def _forced(
        self, answers: Sequence[tuple[Source, Tokens]], temperatures: Sequence[float]
    ) -> list[list[Vote]]:
        sources, targets = [source for source, _ in answers], [tokens for _, tokens in answers]
        values = tf.constant(temperatures, tf.float32)
        return self._observe(sources, targets, self._batch_size, values)

    def _with_details(self, hypothesis: Hypothesis, votes: list[Vote]) -> Hypothesis:
        # An answer of max_length tokens was cut: its end was not written.
        length = min(len(hypothesis.tokens) + 1, self._max_length)
        log_probs = mean([[results[0][i] for i in steps] for steps, results in votes])[:length]
        first = votes[0]
        alignment = tuple(int(first.results[1][i]) for i in first.steps[:length])
        return hypothesis._replace(
            probabilities=tuple(map(math.exp, log_probs)),
            alignment=alignment if min(alignment) >= 0 else (),
        )


def _totals(votes: list[Vote]) -> list[float]:
    return mean([results[2] for _, results in votes])


def attention_weights(
    model: Seq2Seq, vocabularies: Vocabularies, source: Pair, target: Tokens
) -> np.ndarray | None:
    """Returns the attention weights `[T, S]` of writing a target; see `Predictor.attention`."""
    ids = vocabularies.encode_source(*source)
    target_in = vocabularies.encode_target(target)[:-1]
    # One place more than tokens: Keras warns of a softmax over a single one.
    memory, state = model.encode(tf.constant(pad([ids], length=len(ids) + 1)))
    _, _, seen = model.decoder(tf.constant([target_in], tf.int32), state, memory)
    weights = seen.get("attention_weights")
    if weights is None:
        return None
    weights = keras.ops.cast(weights, "float32")
    return keras.ops.convert_to_numpy(weights)[0, vocabularies.steps(len(target)), : len(ids)]


def mean_temperature(temperatures: Sequence[float | None]) -> float | None:
    """Returns the geometric mean, or None if one of them is None."""
    known = [one for one in temperatures if one is not None]
    if len(known) < len(temperatures):
        return None
    return math.exp(math.fsum(map(math.log, known)) / len(known))
