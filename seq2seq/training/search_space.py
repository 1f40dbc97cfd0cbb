"""Search space of a tuning: what each setting may be, in YAML."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from seq2seq.errors import UserError


class Range(NamedTuple):
    """Numbers from `low` to `high`; whole ones if both are; `is_log`: uniform in the logarithm."""

    low: float
    high: float
    is_log: bool


# Setting → its choices, or its range.
Space = dict[str, list[Any] | Range]


def read_space(values: dict[str, Any]) -> Space:
    """Returns the space of nested settings, whose leaves are `{choices: [...]}` or `{low, high}`.

    Raises:
        UserError: A leaf is something else, or there is none.
    """
    space = dict(_leaves("", values))
    if not space:
        raise UserError("space: names no setting, as in space.model.units.choices=[64,128]")
    return space


def _leaves(prefix: str, values: dict[str, Any]) -> Iterator[tuple[str, list[Any] | Range]]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if not isinstance(value, dict):
            raise UserError(f"space.{name}={value}: needs choices, or low and high")
        if "choices" in value or "low" in value or "high" in value:
            yield name, _leaf(name, value)
        else:
            yield from _leaves(f"{name}.", value)


def _leaf(name: str, value: dict[str, Any]) -> list[Any] | Range:
    if value.keys() == {"choices"}:
        choices = value["choices"]
        plain = isinstance(choices, list) and all(
            one is None or isinstance(one, bool | int | float | str) for one in choices
        )
        if not plain or not choices:
            raise UserError(f"space.{name}.choices: must be a list of numbers or words")
        return choices
    if not {"low", "high"} <= value.keys() <= {"low", "high", "log"}:
        raise UserError(f"space.{name}: needs choices, or low, high and perhaps log")
    low, high, is_log = value["low"], value["high"], value.get("log", False)
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (low, high))
    if not numbers or low > high or not isinstance(is_log, bool) or (is_log and low <= 0):
        raise UserError(f"space.{name}: {value} is not a range; with log it must be above 0")
    return Range(low, high, is_log)
