"""Splits of a data set: `load_splits` reads or generates the examples of a config.

Overlap between the splits, and training examples that are too long, are logged as warnings. Ids,
batches and padding are elsewhere (`vocabulary`, `buckets`, `batches`).
"""

from __future__ import annotations

import itertools
import logging
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from seq2seq.config.bounds import check_generated
from seq2seq.config.choices import Normalization, Task
from seq2seq.config.data_files import paths_in
from seq2seq.config.schema import DataConfig, SideConfig
from seq2seq.data.examples import Example, Splits
from seq2seq.data.file_checks import check_splits
from seq2seq.data.hallucination import with_hallucinated
from seq2seq.data.large_file import IndexedFiles, Keys, Lengths, read_or_index, source_keys
from seq2seq.data.repetition import repeated_rows
from seq2seq.data.tasks import make_splits
from seq2seq.data.tsv import read_examples, scan_examples
from seq2seq.data.unicode_forms import choose_form
from seq2seq.data.vocabulary import Tokenizer
from seq2seq.errors import UserError
from seq2seq.hardware import memory

log = logging.getLogger(__name__)

Chosen = npt.NDArray[np.bool_]
Entries = npt.NDArray[np.int32]  # of each example, the number of the setting's entry


def load_splits(config: DataConfig) -> Splits:
    """Reads or generates the training, dev and test examples.

    Limits on lengths leave out training examples only, so that scores do not depend on them.

    Raises:
        UserError: Settings contradict each other, a file cannot be read, or no training example
            is left.
    """
    check_splits(config)
    splits, keys, entries = _read_files(config) if config.task is Task.tsv else _generate(config)
    fits = _within_limits(splits.train, config)
    again = repeated_rows(entries[fits], config)
    splits = replace(splits, train=_select(splits.train, fits), again=again)
    keys = keys[fits]
    keys.sort()
    for name, part in (("dev", splits.dev), ("test", splits.test)):
        _warn_of_overlap(keys, part, name)
    return replace(splits, train=with_hallucinated(splits.train, config))


def examples_of_epoch(splits: Splits) -> Sequence[Example]:
    """Returns the training examples as often as an epoch reads them."""
    if not len(splits.again):
        return splits.train
    rows = np.concatenate([np.arange(len(splits.train)), splits.again])
    if isinstance(splits.train, IndexedFiles):
        return splits.train.select(rows)
    return [splits.train[row] for row in rows.tolist()]


def load_split(config: DataConfig, name: str) -> list[Example]:
    """Reads the examples of `dev` or `test`, and no other file, or generates them.

    Raises:
        UserError: As `load_splits`.
    """
    if config.task is not Task.tsv:
        return [*getattr(_generate(config)[0], name)]
    files: Any = getattr(config, name)
    count: int | None = getattr(config, f"{name}_examples")
    return draw_examples(read_examples(files, config), count, config.seed) if files else []


def resolve_forms(config: DataConfig) -> DataConfig:
    """Returns the settings with the Unicode form of each side in place of `auto`.

    It is chosen by the training text, see `choose_form`; NFC where tokens are not characters.

    Raises:
        UserError: A training file cannot be read, or not twice.
    """
    return replace(
        config,
        source=_resolve_form("source", config.source, config),
        target=_resolve_form("target", config.target, config),
        normalization=_without_auto(config.normalization),
    )


def _resolve_form(name: str, side: SideConfig, config: DataConfig) -> SideConfig:
    if (side.normalization or config.normalization) is not Normalization.auto:
        return side
    if side.tokens != "char" or config.train is None:
        return replace(side, normalization=Normalization.NFC)
    if "-" in paths_in(config.train):
        raise UserError(
            f"data.{name}.normalization=auto would read data.train=- twice: choose NFC or NFD"
        )
    source, target = (replace(s, normalization=None) for s in (config.source, config.target))
    as_nfc = replace(config, normalization=Normalization.NFC, source=source, target=target)
    examples = scan_examples(config.train, as_nfc)
    form, whole, parts = choose_form("".join(getattr(e, name)) for e in examples)
    log.info("%s text: %s, %d different characters in NFC, %d in NFD", name, form, whole, parts)
    return replace(side, normalization=form)


def _without_auto(form: Normalization) -> Normalization:
    return Normalization.NFC if form is Normalization.auto else form


def draw_examples(examples: list[Example], count: int | None, seed: int) -> list[Example]:
    """Returns the examples of `count` different sources, or of all, in their order.

    A drawn source has all its references. The first sources of a sorted file would be alike.
    """
    return [*_select(examples, _draw_sources(source_keys(examples), count, seed))]


def lengths(examples: Sequence[Example]) -> tuple[Lengths, Lengths]:
    """Returns the numbers of source and target tokens, [N] each, without reading a file."""
    if isinstance(examples, IndexedFiles):
        source, target, _ = examples.lengths
        return source, target
    source, target = (
        np.fromiter((len(example[side]) for example in examples), np.int32, len(examples))
        for side in (0, 1)
    )
    return source, target


def _generate(config: DataConfig) -> tuple[Splits, Keys, Entries]:
    check_generated(config, memory())
    splits = make_splits(config)
    for part in (splits.train, splits.dev, splits.test):
        _check_spelling(part, config)
    return splits, source_keys(splits.train), np.zeros(len(splits.train), np.int32)


def _check_spelling(examples: Iterable[Example], config: DataConfig) -> None:
    """Refuses `tokens` settings with which tokens change when they are written and read back."""
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


def _read_files(config: DataConfig) -> tuple[Splits, Keys, Entries]:
    """Returns the splits, and the key and the entry of each training example [N]."""
    train, keys, counts = read_or_index(config.train, config)
    sizes, numbers = zip(*counts, strict=True)
    entries = np.repeat(np.array(numbers, np.int32), sizes)
    drawn = _draw_sources(keys, config.train_examples, config.seed)

    splits = Splits(
        train=_select(train, drawn), dev=load_split(config, "dev"), test=load_split(config, "test")
    )
    return splits, keys if drawn.all() else keys[drawn], entries[drawn]


def _draw_sources(keys: Keys, count: int | None, seed: int) -> Chosen:
    """Chooses `count` different sources, or all, each with all its references."""
    if count is None:
        return np.full(len(keys), True)
    first = np.sort(np.unique(keys, return_index=True)[1])
    if count >= len(first):
        return np.full(len(keys), True)
    drawn = random.Random(seed).sample(range(len(first)), count)
    return np.isin(keys, keys[first[drawn]])


def _select(examples: Sequence[Example], chosen: Chosen) -> Sequence[Example]:
    """Returns the examples where `chosen` [N] is true, in their order."""
    if chosen.all():
        return examples
    if isinstance(examples, IndexedFiles):
        return examples.select(chosen)
    return [*itertools.compress(examples, chosen)]


def _within_limits(train: Sequence[Example], config: DataConfig) -> Chosen:
    """Returns which training examples are within the limits, with a warning if some are not."""
    source, target = lengths(train)
    has_long_source = source > config.max_source_length
    has_long_target = target > config.max_target_length
    fits = ~(has_long_source | has_long_target)
    reasons = (
        f"{has_long_source.sum()} have more source tokens than "
        f"data.max_source_length={config.max_source_length}, {has_long_target.sum()} "
        f"more target tokens than data.max_target_length={config.max_target_length}"
    )
    if not fits.any():
        raise UserError(f"no training example is left of {len(train)}: {reasons}; raise the limits")
    if not fits.all():
        log.warning("left out %d of %d training examples: %s", (~fits).sum(), len(train), reasons)
    return fits


def _warn_of_overlap(train: Keys, part: Sequence[Example], name: str) -> None:
    """Warns if sources of a split are also training sources; the keys `train` are sorted."""
    asked = np.unique(source_keys(part))
    found = np.searchsorted(train, asked, side="right") > np.searchsorted(train, asked)
    if overlap := found.sum():
        log.warning(
            "%d of the %d different %s sources are also training sources: "
            "the %s scores will flatter the model",
            overlap,
            len(asked),
            name,
            name,
        )
