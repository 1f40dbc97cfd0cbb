"""Examples drawn evenly from strata of sources, without replacement.

A stratum is a numbered set of similar sources (one length, one way of writing a date); no source
is in two strata. The examples of all strata are shuffled together and cut into train, dev and test,
which are therefore disjoint.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from seq2seq.config.schema import DataConfig
from seq2seq.data.examples import Example, Splits
from seq2seq.errors import UserError


class Stratum(NamedTuple):
    """`size` different sources; `example(i)` is the one with number 0 <= i < size."""

    size: int
    example: Callable[[int], Example]


def draw_splits(strata: list[Stratum], config: DataConfig, size_setting: str | None) -> Splits:
    """Draws the three parts; `size_setting` is what makes room for more sources, if anything."""
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
    """Shares `count` out as evenly as the sizes of the strata allow."""
    quotas = [0] * len(strata)
    smallest_first = sorted(range(len(strata)), key=lambda i: strata[i].size)
    for done, i in enumerate(smallest_first):
        quotas[i] = min(strata[i].size, count // (len(strata) - done))
        count -= quotas[i]
    return quotas


def _draw(rng: random.Random, size: int, count: int) -> list[int]:
    """Draws different numbers below `size`, which may be too large for a `range`."""
    if size <= 2**31 - 1:
        return rng.sample(range(size), count)
    drawn: dict[int, None] = {}
    while len(drawn) < count:  # so large a space that hardly any draw comes twice
        drawn[rng.randrange(size)] = None
    return list(drawn)
