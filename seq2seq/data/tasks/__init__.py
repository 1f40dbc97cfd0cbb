"""Generated tasks: examples as pure functions of the settings, the same on every machine.

A new task takes three files: a word in `Task` of `config/choices.py`, a module of that name here
with a function `make(config) -> Splits`, and `configs/data/WORD.yaml`.
"""

from __future__ import annotations

import importlib

from seq2seq.config.schema import DataConfig
from seq2seq.data.examples import Splits
from seq2seq.errors import UserError


def make_splits(config: DataConfig) -> Splits:
    """Generates the training, dev and test examples of `data.task`.

    Raises:
        UserError: The settings ask for more examples than there are, or contradict each other, or
            the task has no module.
    """
    name = f"{__name__}.{config.task}"
    try:
        task = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise  # an import inside the task's module
        raise UserError(
            f"data.task={config.task}: has no examples yet; add a function make(config) in "
            f"seq2seq/data/tasks/{config.task}.py"
        ) from error
    splits: Splits = task.make(config)
    return splits
