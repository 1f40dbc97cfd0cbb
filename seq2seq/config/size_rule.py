"""Rule by which the length of a training follows the size of its data."""

from __future__ import annotations

import math

_MIN_EPOCHS, _MAX_EPOCHS = 5, 400

# A dev set may be larger than a small training set, and take most of the time.
_MAX_EVALUATIONS = 60


def epochs_for(examples: int) -> int:
    """Returns the number of epochs for a training set of this size: 3,600 / √examples.

    A larger set needs more steps, but fewer passes: the steps grow with √examples. Measured with
    batches of 32, see `docs/quality.md`.
    """
    return min(_MAX_EPOCHS, max(_MIN_EPOCHS, round(3600 / math.sqrt(examples))))


def evaluate_every_for(epochs: int) -> int:
    """Returns the epochs between evaluations of the dev set: there are at most 60."""
    return math.ceil(epochs / _MAX_EVALUATIONS)
