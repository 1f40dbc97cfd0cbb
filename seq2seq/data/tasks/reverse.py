"""Task `reverse`: `3 1 4` → `4 1 3`."""

from __future__ import annotations

from seq2seq.config.schema import DataConfig
from seq2seq.data.examples import Splits
from seq2seq.data.tasks.sequences import sequence_splits


def make(config: DataConfig) -> Splits:
    """Returns random sequences with their reversals as targets."""
    return sequence_splits(config, lambda symbols: symbols[::-1])
