"""The entrance to the data: `load_splits` reads or generates the examples that a config asks for.

What a person should know of their data (overlap between its parts, examples too long to train
on) is logged as a warning here. Ids, batches and padding are not this module's business.
"""

from __future__ import annotations

import dataclasses
import logging
import random
from collections.abc import Iterable, Sequence

from seq2seq.config import DataConfig, Task
from seq2seq.data import Example, Splits
from seq2seq.data.files import (
    feature_tokens,
    normalize,
    read_examples,
    source_tokens,
    target_tokens,
)
from seq2seq.data.tasks import TASKS
from seq2seq.errors import UserError
from seq2seq.vocabulary import Tokenizer

__all__ = [
    "Example",
    "Splits",
    "feature_tokens",
    "group_references",
    "load_splits",
    "normalize",
    "read_examples",
    "source_tokens",
    "target_tokens",
]

log = logging.getLogger(__name__)

Reference = tuple[tuple[str, ...], tuple[str, ...], list[tuple[str, ...]]]


def load_splits(config: DataConfig) -> Splits:
    """Reads or generates the training, dev and test examples.

    The limits on lengths leave out training examples only: what is scored stays what it is.

    Raises:
        UserError: Settings contradict each other, a file cannot be read, or no training example
            is left.
    """
    splits = _read_files(config) if config.task is Task.tsv else _generate(config)
    splits = dataclasses.replace(splits, train=_within_limits(splits.train, config))
    for name, part in (("dev", splits.dev), ("test", splits.test)):
        _warn_of_overlap(splits.train, part, name)
    return splits


def group_references(examples: Iterable[Example]) -> list[Reference]:
    """Returns (source, features, different targets) of each source, in the order first seen.

    Several examples with the same source and features are several right answers to it.
    """
    groups: dict[tuple[tuple[str, ...], tuple[str, ...]], list[tuple[str, ...]]] = {}
    for source, target, features in examples:
        targets = groups.setdefault((source, features), [])
        if target not in targets:
            targets.append(target)
    return [(source, features, targets) for (source, features), targets in groups.items()]


def _generate(config: DataConfig) -> Splits:
    for name in ("train", "dev", "test"):
        if getattr(config, name) is not None:
            raise UserError(
                f"data.{name} is for data=tsv, but data.task={config.task} generates its examples; "
                f"add data=tsv or leave out data.{name}"
            )
    splits = TASKS[config.task](config)
    for part in (splits.train, splits.dev, splits.test):
        _check_spelling(part, config)
    return splits


def _check_spelling(examples: Iterable[Example], config: DataConfig) -> None:
    """Refuses `tokens` settings under which these tokens, written as text, read differently."""
    for side, settings in (("source", config.source), ("target", config.target)):
        tokenizer = Tokenizer(settings.tokens)
        for example in examples:
            tokens: tuple[str, ...] = getattr(example, side)
            if tokenizer.split(tokenizer.join(tokens)) != tokens:
                raise UserError(
                    f"data.{side}.tokens={settings.tokens!r} does not fit data.task={config.task}: "
                    f"{' '.join(tokens)!r} cannot be written as text and read back; "
                    f"leave data.{side}.tokens as the task sets it"
                )


def _read_files(config: DataConfig) -> Splits:
    if not config.train or not config.dev:
        missing = "dev" if config.train else "train"
        raise UserError(f"data=tsv needs a file of examples: add data.{missing}=FILE")
    if [config.train, config.dev, config.test].count("-") > 1:
        raise UserError("only one of data.train, data.dev and data.test can be - (standard input)")

    def read(path: str, count: int | None) -> list[Example]:
        return _draw_sources(read_examples(path, config), count, config.seed)

    return Splits(
        train=read(config.train, config.train_examples),
        dev=read(config.dev, config.dev_examples),
        test=read(config.test, config.test_examples) if config.test else [],
    )


def _draw_sources(examples: list[Example], count: int | None, seed: int) -> list[Example]:
    """Draws at most `count` different sources, each with all its references, in file order."""
    keys = list(dict.fromkeys((example.source, example.features) for example in examples))
    if count is None or count >= len(keys):
        return examples
    drawn = set(random.Random(seed).sample(keys, count))
    return [example for example in examples if (example.source, example.features) in drawn]


def _within_limits(train: list[Example], config: DataConfig) -> list[Example]:
    """Leaves out, with a warning, the training examples that exceed the limits."""
    long_sources = sum(len(example.source) > config.max_source_length for example in train)
    long_targets = sum(len(example.target) > config.max_target_length for example in train)
    kept = [
        example
        for example in train
        if len(example.source) <= config.max_source_length
        and len(example.target) <= config.max_target_length
    ]
    reasons = (
        f"{long_sources} have more source tokens than "
        f"data.max_source_length={config.max_source_length}, "
        f"{long_targets} more target tokens than data.max_target_length={config.max_target_length}"
    )
    if not kept:
        raise UserError(f"no training example is left of {len(train)}: {reasons}; raise the limits")
    if len(kept) < len(train):
        log.warning(
            "left out %d of %d training examples: %s", len(train) - len(kept), len(train), reasons
        )
    return kept


def _warn_of_overlap(train: Sequence[Example], part: Sequence[Example], name: str) -> None:
    seen = {(example.source, example.features) for example in train}
    asked = {(example.source, example.features) for example in part}
    if overlap := len(asked & seen):
        log.warning(
            "%d of the %d different %s sources are also training sources: "
            "the %s scores will flatter the model",
            overlap,
            len(asked),
            name,
            name,
        )
