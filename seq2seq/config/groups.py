"""Files below `configs/`: the choices of each group, and the comments of settings."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import yaml

_PACKAGE = Path(__file__).resolve().parent.parent
# Inside the package where it is installed, beside it in a clone.
CONFIGS = next(f for f in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if f.is_dir())

# `key: value  # comment`, also as an item of the list `defaults`.
_LINE = re.compile(r"(?P<indent> *)(?:- )?(?P<key>\w+):(?:\s.*?)??(?:\s+# (?P<comment>.*))?$")
_MORE = re.compile(r"\s+# (?P<comment>.*)$")  # a comment that goes on below


def names(group: str, folders: Sequence[Path] = (CONFIGS,)) -> list[str]:
    """Returns the names of a group's files."""
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})


def offered(found: Sequence[str], group: str, schema: Any) -> list[str]:
    """Returns those of the names of a group that are choices, see `bases`."""
    not_offered = bases(group, schema)
    return [name for name in found if name not in not_offered]


def bases(group: str, schema: Any) -> set[str]:
    """Returns the names of a group that are files for others to build on, and no choices.

    A choice sets something, and every setting without a default that the group has in `schema`, the
    dataclass of the command.
    """
    settings = get_type_hints(schema).get(group)
    if not dataclasses.is_dataclass(settings):
        return set()
    needed = {
        field.name for field in dataclasses.fields(settings) if field.default is dataclasses.MISSING
    }
    found = {name: _set_by(group, name) for name in names(group)}
    return {name for name, keys in found.items() if not keys or not needed <= keys}


def _set_by(group: str, name: str) -> set[str]:
    """Returns the settings that a choice and its bases set."""
    found: dict[str, Any] = {}
    for path in _chain(group, name):
        found = _values(path) | found
    return {key for key, value in found.items() if key != "defaults" and value != "???"}


def comments(group: str, choice: str) -> dict[str, str]:
    """Returns the comments of the settings of a choice: setting without the group → text.

    The comment of the choice comes first, then those of its bases, then those of other bases.
    """
    found: dict[str, str] = {}
    others = [path for name in names(group) for path in [*_chain(group, name)][1:]]
    for path in [*_chain(group, choice), *others]:
        found = comments_in(path) | found
    return found


def comments_in(path: Path) -> dict[str, str]:
    """Returns the comments of a YAML file: dotted setting → text on its line and below."""
    found: dict[str, str] = {}
    parents: list[tuple[int, str]] = []
    key = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := _LINE.match(line):
            indent = len(match["indent"])
            parents = [parent for parent in parents if parent[0] < indent]
            parents.append((indent, match["key"]))
            key = ".".join(name for _, name in parents)
            if match["comment"]:
                found[key] = match["comment"].strip()
        elif (match := _MORE.match(line)) and key in found:
            found[key] += f" {match['comment'].strip()}"
        else:
            key = ""
    return found


def _chain(group: str, name: str) -> Iterator[Path]:
    """Yields the file of a choice, then that of the one it builds on, and so on."""
    path = CONFIGS / group / f"{name}.yaml"
    if path.is_file():
        yield path
        for base in _values(path).get("defaults", []):
            if isinstance(base, str):
                yield from _chain(group, base)


@functools.cache
def _values(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
