"""Generated tasks: examples as pure functions of the settings, equal on every machine.

A task is a list of cells. A cell is a numbered set of sources that are alike (one length, one way
of writing a date); no source stands in two cells. Examples are drawn without replacement, evenly
over the cells as far as their sizes allow, then shuffled and cut into train, dev and test: the
three are disjoint by construction.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import partial
from typing import NamedTuple

from seq2seq.choices import Task
from seq2seq.config import DataConfig
from seq2seq.data import Example, Splits
from seq2seq.data.scan import scan
from seq2seq.errors import UserError


class Cell(NamedTuple):
    """`size` different sources; `example(i)` is the one of number 0 <= i < size."""

    size: int
    example: Callable[[int], Example]


# --- sequences of symbols ------------------------------------------------------------------------


def reverse(config: DataConfig) -> Splits:
    """`3 1 4` → `4 1 3`."""
    return _splits(_sequence_cells(config, lambda symbols: symbols[::-1]), config, "max_length")


def copy(config: DataConfig) -> Splits:
    """`3 1 4` → `3 1 4`."""
    return _splits(_sequence_cells(config, lambda symbols: symbols), config, "max_length")


def sort(config: DataConfig) -> Splits:
    """`3 1 4` → `1 3 4`, by number: 2 comes before 10."""
    return _splits(_sequence_cells(config, sorted), config, "max_length")


def _sequence_cells(
    config: DataConfig, transform: Callable[[list[int]], Sequence[int]]
) -> list[Cell]:
    """One cell for each length."""
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
        Cell(config.symbols**length, partial(example, length))
        for length in range(config.min_length, config.max_length + 1)
    ]


# --- addition ------------------------------------------------------------------------------------


def addition(config: DataConfig) -> Splits:
    """`12+345` → `357`, character by character; one cell for each pair of numbers of digits."""
    lengths = range(1, config.digits + 1)
    cells = [
        Cell(_numbers(left) * _numbers(right), partial(_sum, left, right))
        for left in lengths
        for right in lengths
    ]
    return _splits(cells, config, "digits")


def _numbers(digits: int) -> int:
    """Returns how many numbers have so many digits; zero has one."""
    return 10 if digits == 1 else 9 * 10 ** (digits - 1)


def _sum(left_digits: int, right_digits: int, index: int) -> Example:
    quotient, remainder = divmod(index, _numbers(right_digits))
    left = quotient + (0 if left_digits == 1 else 10 ** (left_digits - 1))
    right = remainder + (0 if right_digits == 1 else 10 ** (right_digits - 1))
    return Example(tuple(f"{left}+{right}"), tuple(str(left + right)))


# --- dates ---------------------------------------------------------------------------------------

MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

# 1753 is the first year that English-speaking countries wrote wholly in our calendar.
FIRST_DATE, LAST_DATE = date(1753, 1, 1), date(2069, 12, 31)
FIRST_TWO_DIGIT_YEAR = 1970


class DateFormat(NamedTuple):
    """A way of writing dates, and the dates that no earlier format writes just so."""

    template: str
    fits: Callable[[date], bool] = lambda day: True


def _has_short_name(day: date) -> bool:
    return MONTHS[day.month - 1] != "May"


def _has_short_year(day: date) -> bool:
    return FIRST_TWO_DIGIT_YEAR <= day.year < FIRST_TWO_DIGIT_YEAR + 100


DATE_FORMATS = (
    DateFormat("{day} {month} {year}"),
    DateFormat("{day} {mon} {year}", _has_short_name),
    DateFormat("{day:02} {mon} {year}", lambda day: day.day < 10),
    DateFormat("{day} {month} {year2:02}", _has_short_year),
    DateFormat("{nth} of {month} {year}"),
    DateFormat("the {nth} of {month}, {year}"),
    DateFormat("{month} {day}, {year}"),
    DateFormat("{mon} {day}, {year}", _has_short_name),
    DateFormat("{weekday} {day} {month} {year}"),
    DateFormat("{weekday} {month} {day} {year}"),
    DateFormat("{wday}, {day} {mon} {year}"),
    DateFormat("{number}/{day}/{year}"),
    DateFormat("{number:02}/{day:02}/{year}", lambda day: day.month < 10 or day.day < 10),
    DateFormat("{number}/{day}/{year2:02}", _has_short_year),
    DateFormat("{day}.{number}.{year}"),
)


def dates(config: DataConfig) -> Splits:
    """`Tuesday 10 July 2007` → `2007-07-10`, character by character; every text has one answer.

    With slashes the month comes first, with dots the day. A year of two digits is one of 1970 to
    2069. Words stand in mixed, lower and upper case; one cell for each format and case.
    """
    count = (LAST_DATE - FIRST_DATE).days + 1
    all_days = [FIRST_DATE + timedelta(days=offset) for offset in range(count)]
    cells = []
    for template, fits in DATE_FORMATS:
        days = [day for day in all_days if fits(day)]
        cases = (str, str.lower, str.upper) if "mon" in template else (str,)
        cells += [Cell(len(days), partial(_date, template, case, days)) for case in cases]
    return _splits(cells, config, None)


def _date(template: str, case: Callable[[str], str], days: list[date], index: int) -> Example:
    # Not strftime: its names of months and days depend on the machine's locale.
    day = days[index]
    month, weekday = MONTHS[day.month - 1], WEEKDAYS[day.weekday()]
    teens = 11 <= day.day <= 13
    text = template.format(
        day=day.day,
        nth=f"{day.day}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(day.day % 10, 'th')}",
        month=month,
        mon=month[:3],
        number=day.month,
        weekday=weekday,
        wday=weekday[:3],
        year=day.year,
        year2=day.year % 100,
    )
    return Example(tuple(case(text)), tuple(day.isoformat()))


# --- drawing -------------------------------------------------------------------------------------


def _splits(cells: list[Cell], config: DataConfig, size_setting: str | None) -> Splits:
    """Draws the three parts; `size_setting` is what makes room for more sources, if anything."""
    train, dev, test = _counts(config)
    available = sum(cell.size for cell in cells)
    if train + dev + test > available:
        remedy = "lower data.train_examples"
        if size_setting:
            remedy += f" or raise data.{size_setting}={getattr(config, size_setting)}"
        raise UserError(
            f"data.task={config.task} has {available} different sources with these settings, but "
            f"data.train_examples={train}, data.dev_examples={dev} and data.test_examples={test} "
            f"ask for {train + dev + test}: {remedy}"
        )
    rng = random.Random(config.seed)
    examples = [
        cell.example(index)
        for cell, quota in zip(cells, _quotas(cells, train + dev + test), strict=True)
        for index in _draw(rng, cell.size, quota)
    ]
    rng.shuffle(examples)
    return Splits(examples[:train], examples[train : train + dev], examples[train + dev :])


def _counts(config: DataConfig) -> list[int]:
    """Returns the numbers of training, dev and test examples."""
    counts = []
    for name in ("train_examples", "dev_examples", "test_examples"):
        count: int | None = getattr(config, name)
        if count is None:
            raise UserError(f"data.{name}=null: data.task={config.task} needs a number")
        counts.append(count)
    return counts


def _quotas(cells: list[Cell], count: int) -> list[int]:
    """Shares `count` out as evenly as the sizes of the cells allow."""
    quotas = [0] * len(cells)
    smallest_first = sorted(range(len(cells)), key=lambda i: cells[i].size)
    for done, i in enumerate(smallest_first):
        quotas[i] = min(cells[i].size, count // (len(cells) - done))
        count -= quotas[i]
    return quotas


def _draw(rng: random.Random, size: int, count: int) -> list[int]:
    """Draws different numbers below `size`, which may be too large for a `range`."""
    if size <= 2**31 - 1:
        return rng.sample(range(size), count)
    drawn: dict[int, None] = {}
    while len(drawn) < count:  # so large a space that hardly any draw comes twice
        drawn[rng.randrange(size)] = None
    return list(drawn)


TASKS: dict[Task, Callable[[DataConfig], Splits]] = {
    Task.reverse: reverse,
    Task.copy: copy,
    Task.sort: sort,
    Task.addition: addition,
    Task.dates: dates,
    Task.scan: scan,
}
