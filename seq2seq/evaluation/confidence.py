"""Confidence of decoded examples: its temperature, fitted on dev, and how well it fits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from seq2seq.evaluation.calibration import (
    TEMPERATURES,
    calibration_error,
    fit_temperature,
    is_decisive,
    reliability,
)
from seq2seq.inference.answers import Prediction
from seq2seq.inference.members import Tokens
from seq2seq.inference.predictor import Predictor

_MAX_FITTED = 2000  # answers that a temperature is fitted to: more would not change it


class Decoded(Protocol):
    """What is read of a decoded example, as `ScoredExample` has it."""

    @property
    def source(self) -> Tokens: ...
    @property
    def features(self) -> Tokens: ...
    @property
    def prediction(self) -> Prediction: ...
    @property
    def is_exact(self) -> bool: ...


def calibrate(predictor: Predictor, dev: Sequence[Decoded]) -> float | None:
    """Returns the temperature that is fitted to a decoded dev set.

    None if the set does not decide it: it is too small, or all answers are right, or all wrong.
    """
    answered = _answered(dev)
    fitted = answered[:: max(1, -(-len(answered) // _MAX_FITTED))]
    exact = [one.is_exact for one in fitted]
    if not is_decisive(exact):
        return None
    return fit_temperature(_log_probs(predictor, fitted, TEMPERATURES), exact)


def measure(
    predictor: Predictor, decoded: Sequence[Decoded], temperature: float
) -> tuple[list[float | None], dict[str, float]]:
    """Returns confidences, and the calibration error before (at temperature 1) and after.

    The confidence of an example that the model has not answered stays as it is, and does not count
    in the errors; they are empty if it has answered none.
    """
    answered = _answered(decoded)
    rows = iter(_log_probs(predictor, answered, (1.0, temperature)))
    confidences = [one.prediction.confidence for one in decoded]
    before, after, exact = [], [], []
    for i, one in enumerate(decoded):
        if _is_answered(one):
            plain, fitted = (min(1.0, math.exp(value)) for value in next(rows))
            confidences[i] = fitted
            before.append(plain)
            after.append(fitted)
            exact.append(one.is_exact)
    errors = {
        name: calibration_error(reliability(values, exact))
        for name, values in (("before", before), ("after", after))
        if values
    }
    return confidences, errors


def given_answers(decoded: Sequence[Decoded], limit: float) -> dict[str, float]:
    """Returns the share of answers with a confidence of `limit` or more, and their accuracy.

    Raises:
        ZeroDivisionError: There are no examples.
    """
    given = [one for one in decoded if not one.prediction.judged(limit).is_rejected]
    return {
        "coverage": len(given) / len(decoded),
        "accuracy_of_given": sum(one.is_exact for one in given) / max(1, len(given)),
    }


def _answered(decoded: Sequence[Decoded]) -> list[Decoded]:
    return [one for one in decoded if _is_answered(one)]


def _is_answered(one: Decoded) -> bool:
    """Tells whether the model has answered the example."""
    return one.prediction.is_decoded and bool(one.prediction.hypotheses)


def _log_probs(
    predictor: Predictor, decoded: Sequence[Decoded], temperatures: Sequence[float]
) -> list[list[float]]:
    if not decoded:
        return []
    sources = predictor.members.encode([(one.source, one.features) for one in decoded])
    answers = [
        (source, one.prediction.hypotheses[0].tokens)
        for *source, one in zip(*sources, decoded, strict=True)
    ]
    return predictor.observer.log_probs(answers, temperatures)
