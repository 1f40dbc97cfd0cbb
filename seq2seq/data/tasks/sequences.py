"""Sequences of random symbols, the sources of the tasks `reverse`, `copy` and `sort`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from seq2seq.config.schema import DataConfig
from seq2seq.data.examples import Example, Splits
from seq2seq.data.tasks.strata import Stratum, draw_splits
from seq2seq.errors import UserError


def sequence_splits(config: DataConfig, transform: Callable[[list[int]], Sequence[int]]) -> Splits:
    """Draws sequences of `data.symbols` symbols; `transform` makes their targets."""
    return draw_splits(_strata(config, transform), config, "max_length")


def _strata(config: DataConfig, transform: Callable[[list[int]], Sequence[int]]) -> list[Stratum]:
    """Returns one stratum per length."""
    if config.min_length > config.max_length:
        raise UserError(
            f"data.min_length={config.min_length} is more than data.max_length={config.max_length}"
        )

    def example(length: int, index: int) -> Example:
        symbols = []
        for _ in range(length):
            index, symbol = divmod(index, config.symbols)
            symbols.append(symbol)
        return Example(tuple(map(str, symbols)), tuple(map(str, transform(symbols))))

    return [
        Stratum(config.symbols**length, partial(example, length))
        for length in range(config.min_length, config.max_length + 1)
    ]
