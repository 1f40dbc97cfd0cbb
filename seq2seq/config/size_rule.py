"""Rules by which a training follows the size of its data: model, length, artificial examples."""

from __future__ import annotations

import dataclasses
import math
import operator
from typing import Any

from seq2seq.config.schema import RunConfig

_MIN_EPOCHS, _MAX_EPOCHS = 5, 400

# A dev set may be larger than a small training set, and take most of the time.
_MAX_EVALUATIONS = 60

_ENOUGH_EXAMPLES = 1000  # for a training without hallucinated ones
_MANY_EXAMPLES = 30_000


def by_size(config: RunConfig, examples: int) -> tuple[RunConfig, dict[str, Any]]:
    """Fills in what follows the number of training examples and is null.

    From 30,000 examples on, a model of 256 units with dropout 0.4 no longer learns its training
    data, and batches of 16 would take too long, see `docs/quality.md`.

    Returns:
        The settings, and the values that the rule chose: `model.units` → 512, for example.
    """
    is_large = examples >= _MANY_EXAMPLES
    epochs = config.training.epochs or epochs_for(examples)
    rule: dict[str, Any] = {
        "model.units": 512 if is_large else 256,
        "model.dropout": 0.2 if is_large else 0.4,
        "training.batch_size": 32 if is_large else 16,
        "training.epochs": epochs,
        "training.evaluate_every": math.ceil(epochs / _MAX_EVALUATIONS),
    }
    chosen = {n: v for n, v in rule.items() if operator.attrgetter(n)(config) is None}
    for name, value in chosen.items():
        part, _, setting = name.partition(".")
        changed = dataclasses.replace(getattr(config, part), **{setting: value})
        config = dataclasses.replace(config, **{part: changed})
    return config, chosen


def hallucinated_for(examples: int) -> int:
    """Returns the number of hallucinated examples for a training set of this size.

    They fill it up to 1,000 examples: 100 real ones gain from them by far, 1,000 do not, see
    `docs/quality.md`.
    """
    return max(0, _ENOUGH_EXAMPLES - examples)


def epochs_for(examples: int) -> int:
    """Returns the number of epochs for a training set of this size: 3,600 / √examples.

    A larger set needs more steps, but fewer passes: the steps grow with √examples, see
    `docs/quality.md`.
    """
    return min(_MAX_EPOCHS, max(_MIN_EPOCHS, round(3600 / math.sqrt(examples))))
