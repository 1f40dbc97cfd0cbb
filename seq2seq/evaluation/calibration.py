"""Calibration of confidences: reliability, expected calibration error, and the temperature.

The confidence of an answer is its probability after all logits are divided by a temperature (Guo et
al. 2017, "On Calibration of Modern Neural Networks"), here with the log loss of "the whole answer
is exact" in place of that of each token. Label smoothing makes models underconfident: their
temperature is below 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

# 0.25 to 4, in equal steps of the logarithm.
TEMPERATURES = tuple(4.0 ** (step / 10) for step in range(-10, 11))
MIN_ANSWERS = 50  # fewer say too little


class Bin(NamedTuple):
    """Answers of similar confidence: their mean confidence, the share that is exact, their number.

    The first two are NaN in an empty bin.
    """

    confidence: float
    accuracy: float
    count: int  # type: ignore[assignment]  # a tuple's method of this name is not needed


def reliability(confidences: Sequence[float], exact: Sequence[bool], bins: int = 10) -> list[Bin]:
    """Returns bins of equal width from 0 to 1, as of a reliability diagram.

    Args:
        confidences: Of the answers, from 0 to 1.
        exact: Whether each answer is right.
        bins: Number of bins.
    """
    members: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for one, is_exact in zip(confidences, exact, strict=True):
        members[min(int(one * bins), bins - 1)].append((one, is_exact))
    return [
        Bin(
            math.fsum(one for one, _ in own) / len(own) if own else math.nan,
            sum(is_exact for _, is_exact in own) / len(own) if own else math.nan,
            len(own),
        )
        for own in members
    ]


def calibration_error(bins: Sequence[Bin]) -> float:
    """Returns the expected calibration error (Guo et al. 2017, eq. 3); NaN without answers.

    It is the mean difference of confidence and accuracy, weighted by the number of answers.
    """
    total = sum(one.count for one in bins)
    gaps = (one.count * abs(one.confidence - one.accuracy) for one in bins if one.count)
    return math.fsum(gaps) / total if total else math.nan


def is_decisive(exact: Sequence[bool]) -> bool:
    """Tells whether answers decide a temperature: if there are enough, right and wrong ones."""
    return len(exact) >= MIN_ANSWERS and len(set(exact)) == 2


def fit_temperature(log_probs: Sequence[Sequence[float]], exact: Sequence[bool]) -> float:
    """Returns the temperature with the least log loss.

    Args:
        log_probs: Of each answer at each of `TEMPERATURES`.
        exact: Whether each answer is right; the answers are decisive.
    """
    losses = [_log_loss(column, exact) for column in zip(*log_probs, strict=True)]
    best = min(range(len(losses)), key=losses.__getitem__)
    if best in (0, len(losses) - 1):
        return TEMPERATURES[best]
    # The lowest point of the parabola through the three lowest, by the logarithm.
    left, middle, right = losses[best - 1 : best + 2]
    bend = left - 2 * middle + right
    step = (left - right) / (2 * bend) if bend > 0 else 0.0
    return TEMPERATURES[best] * 4.0 ** (step / 10)


def _log_loss(log_probs: Sequence[float], exact: Sequence[bool]) -> float:
    # The floors keep the logarithms finite: a probability may round to 0 or 1.
    losses = (
        max(log_prob, -100.0) if is_exact else math.log(max(-math.expm1(log_prob), 1e-7))
        for log_prob, is_exact in zip(log_probs, exact, strict=True)
    )
    return -math.fsum(losses) / len(exact)
