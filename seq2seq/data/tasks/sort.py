"""Task `sort`: `3 1 4` → `1 3 4`, by number: 2 comes before 10."""

from __future__ import annotations

from seq2seq.config.schema import DataConfig
from seq2seq.data.examples import Splits
from seq2seq.data.tasks.sequences import sequence_splits


def make(config: DataConfig) -> Splits:
    """Returns random sequences with their symbols in ascending order as targets."""
    return sequence_splits(config, sorted)
