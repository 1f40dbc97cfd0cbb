"""Calibration of confidences: how often answers are right, by how sure the model is of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

_EMPTY = (math.nan, math.nan)


class Bin(NamedTuple):
    """Answers of similar confidence: its mean, the share of right ones, their number."""

    confidence: float
    accuracy: float
    count: int  # type: ignore[assignment]


def reliability(confidences: Sequence[float], exact: Sequence[bool], bins: int = 10) -> list[Bin]:
    """Returns the answers in bins of equal width; the numbers of an empty bin are NaN."""
    members: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for one, is_exact in zip(confidences, exact, strict=True):
        members[min(int(one * bins), bins - 1)].append((one, is_exact))
    found = []
    for own in members:
        sure, right = (sum(side) / len(own) for side in zip(*own, strict=True)) if own else _EMPTY
        found.append(Bin(sure, right, len(own)))
    return found


def calibration_error(bins: Sequence[Bin]) -> float:
    """Returns the expected calibration error (Naeini et al. 2015), 0 to 1."""
    total = sum(one.count for one in bins)
    gaps = (one.count * abs(one.confidence - one.accuracy) for one in bins if one.count)
    return sum(gaps) / max(total, 1)
