"""Checks that the files of examples are there, before anything is read or loaded.

They need neither NumPy nor TensorFlow, so that commands make them first.
"""

from __future__ import annotations

from typing import Any

from seq2seq.config.choices import Task
from seq2seq.config.data_files import named_files, paths_in
from seq2seq.config.schema import DataConfig
from seq2seq.data.line_reader import check_opens
from seq2seq.data.tsv import display_name, example_files
from seq2seq.errors import UserError


def check_files(value: Any) -> None:
    """Checks the files that a setting names; nothing if it is null.

    Raises:
        UserError: One cannot be opened, no file matches a pattern, or a file is named twice.
    """
    for file in named_files(value):
        check_opens(file.path, display_name(file.path))


def check_splits(config: DataConfig) -> None:
    """Checks the files of the training, dev and test examples, or that a generated task has none.

    Raises:
        UserError: Files of training or dev examples are not named, or a file as in `check_files`
            and `example_files`.
    """
    if config.task is not Task.tsv:
        _refuse_files(config)
        return
    if not config.train or not config.dev:
        missing = "dev" if config.train else "train"
        raise UserError(f"data=tsv needs a file of examples: add data.{missing}=FILE")
    splits = (config.train, config.dev, config.test)
    if sum(paths_in(named).count("-") for named in splits) > 1:
        raise UserError("only one of data.train, data.dev and data.test can be - (standard input)")
    for named in splits:
        for file in example_files(named, config) if named else []:
            check_opens(file.path, file.name)


def _refuse_files(config: DataConfig) -> None:
    for name in ("train", "dev", "test"):
        if getattr(config, name) is not None:
            raise UserError(
                f"data.{name} is for data=tsv, but data.task={config.task} generates its examples; "
                f"add data=tsv or leave out data.{name}"
            )
