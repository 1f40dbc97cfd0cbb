"""Task `copy`: `3 1 4` → `3 1 4`."""

from __future__ import annotations

from seq2seq.config.schema import DataConfig
from seq2seq.data.examples import Splits
from seq2seq.data.tasks.sequences import sequence_splits


def make(config: DataConfig) -> Splits:
    """Returns random sequences with themselves as targets."""
    return sequence_splits(config, lambda symbols: symbols)
