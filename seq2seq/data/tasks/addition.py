"""Task `addition`: `12+345` → `357`."""

from __future__ import annotations

from functools import partial

from seq2seq.config.schema import DataConfig
from seq2seq.data.examples import Example, Splits
from seq2seq.data.tasks.strata import Stratum, draw_splits


def make(config: DataConfig) -> Splits:
    """Returns sums, character by character, with one stratum per pair of numbers of digits."""
    lengths = range(1, config.digits + 1)
    strata = [
        Stratum(_numbers(left) * _numbers(right), partial(_sum, left, right))
        for left in lengths
        for right in lengths
    ]
    return draw_splits(strata, config, "digits")


def _numbers(digits: int) -> int:
    """Returns the count of numbers with so many digits; zero has one digit."""
    return 10 if digits == 1 else 9 * 10 ** (digits - 1)


def _sum(left_digits: int, right_digits: int, index: int) -> Example:
    quotient, remainder = divmod(index, _numbers(right_digits))
    left = quotient + (0 if left_digits == 1 else 10 ** (left_digits - 1))
    right = remainder + (0 if right_digits == 1 else 10 ** (right_digits - 1))
    return Example(tuple(f"{left}+{right}"), tuple(str(left + right)))
