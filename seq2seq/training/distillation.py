"""Distillation (`distill_from=[A,B,C]`): a model learns from the answers of others, too.

The teacher, usually an ensemble, answers sources that no example has: those of a file
(`data.unlabelled`), and invented ones (`data.invented`). Its answers join the training examples
(Kim & Rush 2016, "Sequence-Level Knowledge Distillation"; Bucilă et al. 2006, "Model Compression",
for invented inputs).
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from seq2seq.config.data_files import has_tags
from seq2seq.config.schema import DataConfig, RunConfig
from seq2seq.data.examples import Example, Splits
from seq2seq.data.invented import invent_sources
from seq2seq.data.tsv import read_examples, read_sources, target_tokens
from seq2seq.data.vocabulary import Tokenizer
from seq2seq.errors import UserError
from seq2seq.files import checksum
from seq2seq.inference.predictor import Predictor
from seq2seq.runs.run_dir import RunDir

log = logging.getLogger(__name__)


def teach(config: RunConfig, splits: Splits) -> list[Example]:
    """Returns examples with the teacher's answers; none without a teacher.

    Raises:
        UserError: The settings contradict each other, the file cannot be read, or the teacher is
            not a complete run or answers nothing.
    """
    data = config.data
    if config.distill_from is None:
        if data.unlabelled or data.invented:
            raise UserError(
                "data.unlabelled and data.invented need a teacher: add distill_from=RUN"
            )
        return []
    if not data.unlabelled and not data.invented:
        raise UserError(
            "distill_from needs sources to answer: add data.unlabelled=FILE or data.invented=10000"
        )
    if not isinstance(splits.train, list):
        raise UserError(
            "distill_from is for small files: raise data.in_memory_mib, or leave it out"
        )
    teacher = Predictor.load(RunDir.find_all(config.distill_from))
    known = {(example.source, example.features) for example in splits.train}
    unlabelled = read_sources(data.unlabelled, data) if data.unlabelled else []
    invented = list(invent_sources(splits.train, data.invented, data.seed))
    pairs = [*(pair for pair in unlabelled if pair not in known), *invented]
    # As text: the teacher's tokens may be others.
    source, features = Tokenizer(data.source.tokens), Tokenizer(data.features.separator)
    answers = teacher.predict(
        [source.join(tokens) for tokens, _ in pairs], [features.join(tags) for _, tags in pairs]
    )
    taught = [
        Example(tokens, target_tokens(answer.text, data), tags)
        for (tokens, tags), answer in zip(pairs, answers, strict=True)
        if answer.text
    ]
    # As of the training examples.
    taught = [
        one
        for one in taught
        if len(one.source) <= data.max_source_length and len(one.target) <= data.max_target_length
    ]
    if not taught:
        raise UserError("distill_from: the teacher has no answer to any of these sources")
    log.info(
        "distillation: answers to %d unlabelled and %d invented sources join %d training examples",
        len(pairs) - len(invented),
        len(invented),
        len(splits.train),
    )
    return taught


def joined(splits: Splits, taught: list[Example]) -> Splits:
    """Returns the splits with further training examples."""
    if not taught:
        return splits
    return dataclasses.replace(splits, train=[*splits.train, *taught])


def _layout(data: DataConfig) -> DataConfig:
    """Returns the settings by which `taught.tsv` is read: the columns of the data if it can be.

    It has no header, and tags of files are features in it.
    """
    columns = data.source.column, data.target.column, data.features.column or 1
    if all(isinstance(column, int) for column in columns) and not has_tags(data.train):
        return data
    return dataclasses.replace(
        data,
        source=dataclasses.replace(data.source, column=1),
        target=dataclasses.replace(data.target, column=2),
        features=dataclasses.replace(data.features, column=3),
        train=None,  # The file has no tag of its own.
    )


def taught_rows(taught: Iterable[Example], data: DataConfig) -> Iterator[list[str]]:
    """Yields examples as rows with the columns of the run's data."""
    data = _layout(data)
    source, target = Tokenizer(data.source.tokens), Tokenizer(data.target.tokens)
    features = Tokenizer(data.features.separator)
    columns = data.source.column, data.target.column, data.features.column or 0
    for example in taught:
        row = [""] * max(columns)
        if data.features.column:
            row[data.features.column - 1] = features.join(example.features)
        row[data.source.column - 1] = source.join(example.source)
        row[data.target.column - 1] = target.join(example.target)
        yield row


def read_taught(run: RunDir, config: RunConfig) -> list[Example]:
    """Returns the examples with a teacher's answers that a run was begun with; none without one.

    Raises:
        UserError: The file is missing or damaged, or has other answers than then.
    """
    if config.distill_from is None:
        return []
    if checksum_of(run.taught) != run.load_record().get("taught"):
        raise UserError(
            f"{run.taught}: is missing, or not the file that the run was begun with; restore it"
        )
    return read_examples(str(run.taught), _layout(config.data))


def checksum_of(path: Path) -> str | None:
    """Returns the SHA-256 of a file; None if it is missing."""
    try:
        with path.open("rb") as file:
            return checksum(file)
    except OSError:
        return None
