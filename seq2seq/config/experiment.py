"""Overrides of a command line as the text of an experiment, a file for `experiment=NAME`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from seq2seq.config.groups import names

# Of one start of a command, not of what it trains.
_LEFT_OUT = ("run_dir", "resume", "jobs", "trust", "device")


def experiment_text(overrides: Sequence[str], comment: str) -> str:
    """Returns the YAML of an experiment that composes to the same settings as the overrides.

    Args:
        overrides: Words of `train.py`, which have been composed before.
        comment: What it is, in a line.
    """
    defaults: list[Any] = []
    values: dict[str, Any] = {}
    for word in OverridesParser.create().parse_overrides([*overrides]):
        key, value = word.key_or_group, word.value()
        if key == "experiment":
            defaults.insert(0, value)  # The file that it builds on, beside it in the group.
        elif names(key):
            defaults.append({f"override /{key}": value})
        elif key not in _LEFT_OUT:
            _set(values, key.split("."), value)
    text = yaml.safe_dump(
        {"defaults": [*defaults, "_self_"], **values}, sort_keys=False, allow_unicode=True
    )
    return f"# @package _global_\n# {comment}\n{text}"


def _set(values: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for name in path[:-1]:
        values = values.setdefault(name, {})
    values[path[-1]] = value
