"""Stratified draws of examples without replacement.

A stratum is a numbered set of similar sources (one length, one format of dates). No source is in
two strata. The examples of all strata are shuffled and cut into train, dev and test, which are
therefore disjoint.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from seq2seq.config.schema import DataConfig
from seq2seq.data.examples import Example, Splits
from seq2seq.errors import UserError


class Stratum(NamedTuple):
    """Set of `size` different sources; `example(i)` makes the example of source 0 <= i < size."""

    size: int
    example: Callable[[int], Example]


def draw_splits(strata: list[Stratum], config: DataConfig, size_setting: str | None) -> Splits:
    """Draws the training, dev and test examples.

    Args:
        strata: The sources to draw from.
        config: The seed and the numbers of examples.
        size_setting: A setting of `data` that allows for more sources, for the error message.

    Raises:
        UserError: The settings ask for more examples than there are sources.
    """
    train, dev, test = _counts(config)
    available = sum(stratum.size for stratum in strata)
    if train + dev + test > available:
        remedy = "lower data.train_examples"
        if size_setting:
            remedy += f" or raise data.{size_setting}={getattr(config, size_setting)}"
        raise UserError(
            f"data.task={config.task} has {available} different sources with these settings, but "
            f"data.train_examples={train}, data.dev_examples={dev} and data.test_examples={test} "
            f"ask for {train + dev + test}: {remedy}"
        )
    rng = random.Random(config.seed)
    examples = [
        stratum.example(index)
        for stratum, quota in zip(strata, _quotas(strata, train + dev + test), strict=True)
        for index in _draw(rng, stratum.size, quota)
    ]
    rng.shuffle(examples)
    return Splits(examples[:train], examples[train : train + dev], examples[train + dev :])


def _counts(config: DataConfig) -> list[int]:
    """Returns the numbers of training, dev and test examples."""
    counts = []
    for name in ("train_examples", "dev_examples", "test_examples"):
        count: int | None = getattr(config, name)
        if count is None:
            raise UserError(f"data.{name}=null: data.task={config.task} needs a number")
        counts.append(count)
    return counts


def _quotas(strata: list[Stratum], count: int) -> list[int]:
    """Distributes `count` over the strata as evenly as their sizes allow."""
    # From the smallest to the largest, so that a small stratum leaves its rest to larger ones.
    quotas = [0] * len(strata)
    smallest_first = sorted(range(len(strata)), key=lambda i: strata[i].size)
    for done, i in enumerate(smallest_first):
        quotas[i] = min(strata[i].size, count // (len(strata) - done))
        count -= quotas[i]
    return quotas


def _draw(rng: random.Random, size: int, count: int) -> list[int]:
    """Draws `count` different numbers below `size`, which may be too large for `rng.sample`."""
    if size <= 2**31 - 1:
        return rng.sample(range(size), count)
    drawn: dict[int, None] = {}
    while len(drawn) < count:  # hardly any number is drawn twice from so many
        drawn[rng.randrange(size)] = None
    return list(drawn)
