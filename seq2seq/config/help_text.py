"""Text of `--help`: each setting with its value, comment, choices and range."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf

from seq2seq.config.commands import OneOf
from seq2seq.config.groups import CONFIGS, comments, comments_in, names, offered
from seq2seq.config.names import Range

_WIDTH, _LEFT = 80, 36  # characters of a line, and of the settings in it


def help_text(config: DictConfig, schema: Any) -> str:
    """Returns the help of a command.

    Args:
        config: The composed settings, with Hydra's own.
        schema: The dataclass of the command's settings.
    """
    hydra = config.hydra
    path = CONFIGS / f"{hydra.job.config_name}.yaml"  # A user may have another one.
    own = comments_in(path) if path.is_file() else {}
    chosen = {
        group: choice
        for group, choice in hydra.runtime.choices.items()
        if group.partition("/")[0] != "hydra"
    }
    folders = [Path(source.path) for source in hydra.runtime.config_sources if source.path]
    lines = [hydra.help.header.rstrip()]
    if chosen:
        lines += ["", "Groups (GROUP=CHOICE)"]
    for group, choice in sorted(chosen.items()):
        words = offered(names(group, folders), group, schema)
        if words != [choice]:
            comment = own.get(f"defaults.{group}", "")
            lines += _entry(f"{group}={choice or 'null'}", _joined(", ".join(words), comment))
    lines += ["", "Settings (KEY=VALUE) with their values now"]
    lines += _settings(config, schema, chosen, own)
    return "\n".join([*lines, "", hydra.help.footer.rstrip()])


def _settings(
    config: DictConfig, schema: Any, chosen: dict[str, str], own: dict[str, str]
) -> Iterator[str]:
    """Yields the lines of all settings: first of those that stand alone, then of the sections.

    Args:
        config: See `help_text`, as `schema`.
        schema: Declares choices and ranges.
        chosen: The choice of each group.
        own: Comments in the file of the command.
    """
    values: Any = OmegaConf.to_container(config, resolve=False)
    del values["hydra"]
    hints = dict(_hints(schema))
    for name, value in sorted(values.items(), key=lambda item: isinstance(item[1], dict)):
        if isinstance(value, dict) and len(value) > 1:
            yield ""
        told = {f"{name}.{key}": text for key, text in comments(name, chosen.get(name, "")).items()}
        for key, one in _leaves(name, value):
            text = own.get(key, told.get(key, ""))
            yield from _entry(f"{key}={_shown(one)}", _described(text, hints.get(key)))


def _entry(setting: str, text: str) -> list[str]:
    """Returns the lines of a setting, with its text to the right, or below if it is long."""
    # Hyphens belong to words such as --help.
    right = textwrap.wrap(text, _WIDTH - _LEFT, break_on_hyphens=False) or [""]
    left = [f"  {setting}"]
    if len(left[0]) >= _LEFT:
        right = ["", *right]
    left += [""] * (len(right) - 1)
    return [f"{a:<{_LEFT}}{b}".rstrip() for a, b in zip(left, right, strict=True)]


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yields the settings below a setting, by dotted names."""
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from _leaves(f"{name}.{key}", below)
    else:
        yield name, value


def _hints(schema: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the declared type of each setting, by dotted names."""
    for name, hint in get_type_hints(schema, include_extras=True).items():
        if dataclasses.is_dataclass(hint):
            yield from _hints(hint, f"{prefix}{name}.")
        yield prefix + name, hint


def _shown(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.name)
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return "..." if value == "???" else str(value)


def _described(comment: str, hint: Any) -> str:
    """Returns the choices of a setting, its comment, and its range."""
    limits: Any = None
    if get_origin(hint) is Annotated:
        hint, limits, *_ = get_args(hint)
    for kind in get_args(hint) or (hint,):
        if isinstance(kind, type) and issubclass(kind, Enum):
            return _joined(", ".join(kind.__members__), comment)
    if isinstance(limits, Range):
        return f"{comment} ({limits})" if comment else str(limits)
    return _joined(comment, str(limits) if isinstance(limits, OneOf) else "")


def _joined(*texts: str) -> str:
    return "; ".join(filter(None, texts))
