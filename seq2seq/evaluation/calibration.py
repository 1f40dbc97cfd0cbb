"""Calibration of confidences: how often answers are right, by how sure the model is of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Bin(NamedTuple):
    """Answers of similar confidence: its mean, the share of right ones, their number."""

    confidence: float
    accuracy: float
    count: int  # type: ignore[assignment]


def reliability(confidences: Sequence[float], exact: Sequence[bool], bins: int = 10) -> list[Bin]:
    """Returns the answers in bins of equal width; empty bins are left out."""
    sure, right = np.array(confidences, float), np.array(exact, float)
    places = np.minimum((sure * bins).astype(int), bins - 1)
    members = ((places == place) for place in range(bins))
    return [
        Bin(float(sure[chosen].mean()), float(right[chosen].mean()), int(chosen.sum()))
        for chosen in members
        if chosen.any()
    ]


def calibration_error(bins: Sequence[Bin]) -> float:
    """Returns the expected calibration error (Naeini et al. 2015), 0 to 1."""
    total = sum(one.count for one in bins)
    return sum(one.count * abs(one.confidence - one.accuracy) for one in bins) / max(total, 1)
