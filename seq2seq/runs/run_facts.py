"""Settings, scores and status of many runs, read fast: for tables over hundreds of run folders.

`RunDir.load_config` checks every setting, which takes 70 ms a run; here a run takes less than one.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from seq2seq.config.choices import Status
from seq2seq.config.earlier import INTRODUCED
from seq2seq.config.load import flatten
from seq2seq.errors import UserError
from seq2seq.files import read_text
from seq2seq.runs.ensemble_dir import EnsembleDir
from seq2seq.runs.run_dir import RunDir
from seq2seq.runs.status import status_of

_MAX_BYTES = 2**20
_MAX_FOLDERS = 1_000_000
_SECTION = re.compile(r"^(?=\S)", re.MULTILINE)
_LINE = re.compile(r"( *)([\w.-]+):(?: (.*))?")
# `- KEY=VALUE`, the only lines of Hydra's list of overrides that need no parser.
_OVERRIDE = re.compile(r"- ([+~]*[\w./@-]+=[\w./-]*)")

# libyaml, which is 10 times as fast, is missing from some builds of PyYAML.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class RunFacts(NamedTuple):
    """A run, or an ensemble.

    Attributes:
        path: Its folder.
        status: What has become of it.
        settings: All settings, by dotted names.
        overrides: What the command line named: setting or group → text.
        results: The content of `results.json`; empty if it is not finished.
    """

    path: Path
    status: Status
    settings: dict[str, Any]
    overrides: dict[str, str]
    results: dict[str, Any]

    def setting(self, name: str) -> Any:
        """Returns a setting or, of a group, its word; of an earlier run the value of its time."""
        if name in self.settings:
            return self.settings[name]
        if name in INTRODUCED:
            return INTRODUCED[name].before
        return self.overrides.get(name, "")


def find_facts(folders: Iterable[str | Path]) -> tuple[list[RunFacts], list[str]]:
    """Returns the runs and ensembles in folders and all folders below, and what cannot be read.

    Raises:
        UserError: A folder does not exist.
    """
    found: dict[str, RunFacts] = {}
    problems = []
    for folder in folders:
        if not Path(folder).is_dir():
            raise UserError(f"{folder}: there is no such folder")
        for path in _run_folders(Path(folder)):
            real = os.path.realpath(path)
            if real in found:
                continue
            try:
                found[real] = _read(path)
            except UserError as error:
                problems.append(str(error))
    return [*found.values()], problems


def _run_folders(top: Path) -> Iterator[Path]:
    """Yields the folders of runs and ensembles."""
    for number, (folder, folders, files) in enumerate(os.walk(top)):
        if number > _MAX_FOLDERS:
            raise UserError(f"{top}: has more than {_MAX_FOLDERS:,} folders")
        if "config.yaml" in files or "ensemble.yaml" in files:
            yield Path(folder)
        if "config.yaml" in files:
            folders.clear()  # The folders of a run hold no further runs.
        folders[:] = sorted(one for one in folders if not one.startswith("."))


def _read(path: Path) -> RunFacts:
    """Reads the files of a run.

    Raises:
        UserError: A file is damaged.
    """
    run = RunDir(path)
    settings = _read_settings(
        run.config_file if run.config_file.is_file() else EnsembleDir(path).file
    )
    overrides = run.hydra / "overrides.yaml"
    named = _read_overrides(overrides) if overrides.is_file() else {}
    status = status_of(run)
    results = run.load_results() if run.results.is_file() else {}
    return RunFacts(path, status, settings, named, results)


def _read_settings(file: Path) -> dict[str, Any]:
    """Returns the settings in a file by their dotted names."""
    text = read_text(file, _MAX_BYTES)
    try:
        found = _simple_settings(text)
        if found is None:
            values = yaml.load(text, _Loader)
            found = flatten(values) if isinstance(values, dict) else None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{file}: cannot be read: {error}") from error
    if found is None:
        raise UserError(f"{file}: not a mapping of settings")
    return found


def _simple_settings(text: str) -> dict[str, Any] | None:
    """Returns the settings of a file in which each has a line, or None for any other file."""
    found: dict[str, Any] = {}
    for section in _SECTION.split(text):
        settings = _section(section)
        if settings is None:
            return None
        found |= settings
    return found


@functools.lru_cache(maxsize=4096)
def _section(text: str) -> dict[str, Any] | None:
    """Returns the settings of a section, see `_simple_settings`.

    Few sections, and fewer values, differ between runs: each is parsed once.
    """
    found: dict[str, Any] = {}
    parents: list[str] = []
    for line in text.removesuffix("\n").split("\n") if text else []:
        match = _LINE.fullmatch(line)
        if match is None:
            return None
        indent, key, value = match.groups()
        depth, odd = divmod(len(indent), 2)
        if odd or depth > len(parents):
            return None
        del parents[depth:]
        if value is None:
            parents.append(key)
            continue
        if (parsed := _scalar(value)) is None:
            return None
        found[".".join([*parents, key])] = parsed[0]
    return found


@functools.lru_cache(maxsize=65_536)
def _scalar(text: str) -> tuple[Any] | None:
    """Returns the value of a YAML text of one line, or None if it goes on below."""
    if text[:1] in ("|", ">", "&", "*", "!"):
        return None
    try:
        return (yaml.load(text, _Loader),)
    except (yaml.YAMLError, ValueError):
        return None


def _read_overrides(file: Path) -> dict[str, str]:
    """Returns the overrides in a file of Hydra: setting or group → text."""
    text = read_text(file, _MAX_BYTES)
    lines = [_OVERRIDE.fullmatch(line) for line in text.splitlines()]
    words = [match.group(1) for match in lines if match]
    if len(words) < len(lines):
        try:
            values = yaml.load(text, _Loader)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise UserError(f"{file}: cannot be read: {error}") from error
        words = [word for word in values if isinstance(word, str)] if values else []
    pairs = (word.lstrip("+~").partition("=") for word in words)
    return {key: value for key, _, value in pairs}
