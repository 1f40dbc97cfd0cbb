"""Files that a setting of the data names: one, several, a pattern, or the files of each tag.

A pattern such as `part-*.tsv.gz` names the files that match it. A mapping such as
`{de: german.tsv, fr: french-*.tsv}` names the files of each tag, a feature that all their examples
have. `corpus/{tag}.tsv` is the mapping that the names of the files make.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from seq2seq.errors import UserError

_TAG = "{tag}"


@dataclass(frozen=True)
class FileNames:
    """Type of a setting that names files. OmegaConf has none for it."""

    def __contains__(self, value: Any) -> bool:
        if isinstance(value, dict):
            are_tags = all(isinstance(tag, str) and tag.strip() for tag in value)
            return bool(value) and are_tags and all(map(_is_entry, value.values()))
        if isinstance(value, list):
            return bool(value) and all(map(_is_entry, value))
        return _is_path(value)

    def __str__(self) -> str:
        return (
            "a file or a pattern such as 'part-*.tsv', a list such as [A,B], or the files of each "
            "tag such as {de: A, 'no': B}"
        )


Files = FileNames()


def _is_path(value: Any) -> bool:
    # A file may have a number for a name.
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _is_entry(value: Any) -> bool:
    """Tells whether it is an element of a list or of a mapping."""
    if isinstance(value, list):
        return bool(value) and all(map(_is_path, value))
    return _is_path(value)


class NamedFile(NamedTuple):
    """A file of examples.

    Attributes:
        path: The file, or `-` for standard input.
        tag: The feature that all its examples have; None: they have none in common.
        entry: The number of the element of the list or the mapping that names it.
    """

    path: str
    tag: str | None = None
    entry: int = 0


def named_files(value: Any) -> list[NamedFile]:
    """Returns the files that a setting names, in its order; those of a pattern by their names.

    Raises:
        UserError: No file matches a pattern, or a file is named twice.
    """
    found = expanded(value)
    entries = [*found.items()] if isinstance(found, dict) else [(None, e) for e in _listed(found)]
    files = [
        NamedFile(str(path), tag, number)
        for number, (tag, entry) in enumerate(entries)
        for path in _listed(entry)
    ]
    seen = set()
    for file in files:
        place = os.path.abspath(os.path.expanduser(file.path))  # noqa: PTH100, PTH111
        if place in seen:
            raise UserError(f"{file.path}: is named twice, so that it would be read twice")
        seen.add(place)
    return files


def expanded(value: Any) -> Any:
    """Returns a setting that names files with the names themselves in place of patterns.

    Raises:
        UserError: No file matches a pattern.
    """
    if isinstance(value, dict):
        return {tag: _matches_of(entry) for tag, entry in value.items()}
    if isinstance(value, list):
        return [_matches_of(entry) for entry in value]
    if isinstance(value, str) and _TAG in value:
        return _by_tag(value)
    found = _matches_of(value)
    return [found] if isinstance(found, list) else found  # The files of a pattern are one entry.


def has_tags(value: Any) -> bool:
    """Tells whether a setting names the files of each tag."""
    return isinstance(value, dict) or (isinstance(value, str) and _TAG in value)


def paths_in(value: Any) -> list[str]:
    """Returns all paths and patterns in a setting."""
    entries = value.values() if isinstance(value, dict) else _listed(value)
    return [str(path) for entry in entries for path in _listed(entry)]


def with_paths(value: Any, place: Callable[[str], str]) -> Any:
    """Returns a setting with other paths; None and `-` stay."""
    if isinstance(value, dict):
        return {tag: with_paths(entry, place) for tag, entry in value.items()}
    if isinstance(value, list):
        return [with_paths(entry, place) for entry in value]
    return value if value is None or value == "-" else place(str(value))


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _matches_of(entry: Any) -> Any:
    """Returns a path as it is, and lists in place of patterns."""
    if isinstance(entry, list):
        return [path for one in entry for path in _listed(_matches_of(one))]
    path = os.path.expanduser(str(entry))  # noqa: PTH111
    # A file with such characters in its name is meant itself.
    if not glob.has_magic(path) or os.path.lexists(path):
        return entry
    return [*_matches(path, str(entry))]


def _matches(path: str, pattern: str) -> Iterator[str]:
    found = sorted(glob.glob(path, recursive=True))  # noqa: PTH207  (keeps a relative path relative)
    if not found:
        raise UserError(f"{pattern}: no file matches this pattern")
    yield from found


def _by_tag(pattern: str) -> dict[str, list[str]]:
    """Returns the files of each tag, which stands in their names in place of `{tag}`."""
    path = os.path.expanduser(pattern)  # noqa: PTH111
    matching = fnmatch.translate(path.replace(_TAG, "\0", 1)).replace("\0", r"([^/]+?)")
    files: dict[str, list[str]] = {}
    for name in _matches(path.replace(_TAG, "*", 1), pattern):
        if found := re.fullmatch(matching, name):
            files.setdefault(found[1], []).append(name)
    return files
