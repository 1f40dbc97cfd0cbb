"""Task `dates`: a date written in many ways → `2007-07-10`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from typing import NamedTuple

from seq2seq.config.schema import DataConfig
from seq2seq.data.examples import Example, Splits
from seq2seq.data.tasks.strata import Stratum, draw_splits

MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

# 1753 is the first full year of the Gregorian calendar in English-speaking countries.
FIRST_DATE, LAST_DATE = date(1753, 1, 1), date(2069, 12, 31)
FIRST_TWO_DIGIT_YEAR = 1970


class DateFormat(NamedTuple):
    """Format of dates, with the condition that no earlier format writes a date the same way."""

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


def make(config: DataConfig) -> Splits:
    """Returns dates such as `Tuesday 10 July 2007` with ISO dates as targets, by characters.

    Every text has one answer. The month comes first with slashes, the day with dots. A year of two
    digits is between 1970 and 2069. Words are in mixed, lower and upper case; there is one stratum
    for each format and case.
    """
    count = (LAST_DATE - FIRST_DATE).days + 1
    all_days = [FIRST_DATE + timedelta(days=offset) for offset in range(count)]
    strata = []
    for template, fits in DATE_FORMATS:
        days = [day for day in all_days if fits(day)]
        cases = (str, str.lower, str.upper) if "mon" in template else (str,)
        strata += [Stratum(len(days), partial(_date, template, case, days)) for case in cases]
    return draw_splits(strata, config, None)


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
