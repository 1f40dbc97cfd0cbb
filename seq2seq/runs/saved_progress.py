"""Checks of the progress in a checkpoint, whose checksum says nothing about its content."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_MAX_COUNT = 2**53  # the largest integer that is exact as a float, too


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MAX_COUNT


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < _MAX_COUNT)


def _is_bool(value: Any) -> bool:
    return type(value) is bool


def _is_row(row: Any) -> bool:
    if not isinstance(row, dict) or not all(map(_is_number, row.values())):
        return False
    return "epoch" in row and row.get("examples_per_second", 0) > 0


_CHECKS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("epoch", "step", "best_epoch", "evaluations_without_better"), _is_count),
    **dict.fromkeys(("epoch_seconds", "seconds", "best_loss"), _is_number),
    **dict.fromkeys(("has_begun", "is_stopping", "is_stopped"), _is_bool),
    "sums": lambda sums: all(map(_is_number, sums)),
    "best_value": lambda value: value is None or _is_number(value),
    "rows": lambda rows: all(map(_is_row, rows)),
    "callbacks": lambda callbacks: (
        isinstance(callbacks, dict) and all(isinstance(one, dict) for one in callbacks.values())
    ),
}


def check_progress(values: Mapping[str, Any], sums: int) -> None:
    """Checks the fields of a `training.progress.Progress` that was read from a file.

    Args:
        values: The fields.
        sums: The number of sums of a batch.

    Raises:
        ValueError: A field has a wrong type or size, or fields contradict each other.
    """
    for name, is_valid in _CHECKS.items():
        if not is_valid(values[name]):
            raise ValueError(f"not the progress of a training: {name}={values[name]!r:.40}")
    if len(values["sums"]) not in (0, sums):
        raise ValueError(f"not the progress of a training: {len(values['sums'])} sums of {sums}")
    if len(values["rows"]) != values["epoch"]:
        raise ValueError(f"{len(values['rows'])} rows of {values['epoch']} epochs")
    if values["best_epoch"] > values["epoch"] or (
        values["best_epoch"] and values["best_value"] is None
    ):
        raise ValueError(f"best_epoch={values['best_epoch']} without its value")
