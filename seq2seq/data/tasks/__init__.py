"""Generated tasks: examples as pure functions of the settings, the same on every machine.

A task is a file named like its word in `choices.Task`, with a function `make(config) -> Splits`.
"""

from __future__ import annotations

import importlib

from seq2seq.config.schema import DataConfig
from seq2seq.data.examples import Splits


def make_splits(config: DataConfig) -> Splits:
    """Generates the three parts of `data.task`.

    Raises:
        UserError: The settings ask for more examples than there are, or contradict each other.
    """
    splits: Splits = importlib.import_module(f"{__name__}.{config.task}").make(config)
    return splits
