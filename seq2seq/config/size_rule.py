"""Rules by which a training follows the size of its data: its length, and artificial examples."""

from __future__ import annotations

import math

_MIN_EPOCHS, _MAX_EPOCHS = 5, 400

# A dev set may be larger than a small training set, and take most of the time.
_MAX_EVALUATIONS = 60


_ENOUGH_EXAMPLES = 1000


def hallucinated_for(examples: int) -> int:
    """Returns the number of hallucinated examples for a training set of this size.

    They fill it up to 1,000 examples: 100 real ones gain from them by far, 1,000 do not, see
    `docs/quality.md`.
    """
    return max(0, _ENOUGH_EXAMPLES - examples)


def epochs_for(examples: int) -> int:
    """Returns the number of epochs for a training set of this size: 3,600 / √examples.

    A larger set needs more steps, but fewer passes: the steps grow with √examples. Measured with
    batches of 32, see `docs/quality.md`.
    """
    return min(_MAX_EPOCHS, max(_MIN_EPOCHS, round(3600 / math.sqrt(examples))))


def evaluate_every_for(epochs: int) -> int:
    """Returns the epochs between evaluations of the dev set: there are at most 60."""
    return math.ceil(epochs / _MAX_EVALUATIONS)
