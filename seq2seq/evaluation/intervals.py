"""95 % intervals of scores, by the bootstrap over examples (Efron 1979; for text, Koehn 2004)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

Interval = tuple[float, float]

_RESAMPLES = 1000
_AT_ONCE = 50  # resamples in memory
_SEED = 1


def bootstrap_interval(examples: Iterable[tuple[float, float]]) -> Interval:
    """Returns the 95 % interval of a score that is a sum over examples divided by another sum.

    Args:
        examples: The two numbers of each example, such as edits and reference tokens; at least one.
    """
    kinds, counts = np.unique(np.array([*examples]), axis=0, return_counts=True)  # [K, 2], [K]
    # Examples with equal numbers are interchangeable: a resample is a multinomial draw of how often
    # each kind occurs. There are few kinds, however many the examples.
    total, rng = int(counts.sum()), np.random.default_rng(_SEED)
    scores = []
    for _ in range(_RESAMPLES // _AT_ONCE):
        drawn = rng.multinomial(total, counts / total, size=_AT_ONCE)  # [R, K]
        above, below = (drawn @ kinds).T  # [R] each
        scores.append(above / np.where(below == 0, 1, below))
    low, high = np.percentile(scores, (2.5, 97.5))
    return float(low), float(high)


def format_interval(low: float, high: float, scale: int = 100) -> str:
    """Returns an interval with one decimal, by default of a rate in percent: `[93.1, 97.6]`."""
    return f"[{scale * low:.1f}, {scale * high:.1f}]"
