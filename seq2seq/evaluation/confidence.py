"""Confidence of decoded examples: its temperature, fitted on dev, and how well it fits."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

from seq2seq.evaluation.calibration import (
    MIN_ANSWERS,
    TEMPERATURES,
    calibration_error,
    fit_temperature,
    reliability,
)
from seq2seq.evaluation.evaluate_model import ScoredExample
from seq2seq.inference.predictor import Predictor

log = logging.getLogger(__name__)

_MAX_FITTED = 2000  # answers that a temperature is fitted to: more would not change it


def calibrate(
    predictor: Predictor, splits: dict[str, Sequence[ScoredExample]]
) -> dict[str, Any] | None:
    """Fits the temperature to the decoded dev set.

    Args:
        predictor: Decoded the examples.
        splits: Decoded examples by the name of their split; `dev` is one of them.

    Returns:
        The content of `calibration.json`: the temperature, the number of answers that it is fitted
        to, and the errors of each split, see `calibration_errors`. None if the dev set does not
        decide a temperature.
    """
    answered = _answered(splits["dev"])
    fitted = answered[:: -(-len(answered) // _MAX_FITTED) or 1]
    exact = [one.is_exact for one in fitted]
    temperature = None
    if len(exact) >= MIN_ANSWERS and len(set(exact)) == 2:
        temperature = fit_temperature(_log_probs(predictor, fitted, TEMPERATURES), exact)
    if temperature is None:
        log.info(
            "confidences are not calibrated: that needs a dev set of at least %d answers, right "
            "and wrong ones",
            MIN_ANSWERS,
        )
        return None
    errors = {
        name: calibration_errors(predictor, scored, temperature) for name, scored in splits.items()
    }
    return {"temperature": temperature, "answers": len(fitted), **errors}


def calibration_errors(
    predictor: Predictor, scored: Sequence[ScoredExample], temperature: float
) -> dict[str, float]:
    """Returns the expected calibration error at temperature 1 and at the fitted one."""
    answered = _answered(scored)
    rows = _log_probs(predictor, answered, (1.0, temperature))
    exact = [one.is_exact for one in answered]
    return {
        name: calibration_error(reliability([min(1.0, math.exp(row[i])) for row in rows], exact))
        for i, name in enumerate(("error_before", "error"))
    }


def _answered(scored: Sequence[ScoredExample]) -> list[ScoredExample]:
    """Returns the examples that the model has answered."""
    return [one for one in scored if one.prediction.is_decoded and one.prediction.hypotheses]


def _log_probs(
    predictor: Predictor, scored: Sequence[ScoredExample], temperatures: Sequence[float]
) -> list[list[float]]:
    if not scored:
        return []
    sources = predictor.members.encode([(one.source, one.features) for one in scored])
    answers = [
        (source, one.prediction.hypotheses[0].tokens)
        for *source, one in zip(*sources, scored, strict=True)
    ]
    return predictor.observer.log_probs(answers, temperatures)
