"""Paths of data files in the settings of a run: kept absolute, and found again after a move."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

from seq2seq.config.data_files import expanded, with_paths
from seq2seq.config.schema import DataConfig, RunConfig
from seq2seq.files import local_path


def with_files_of_patterns(data: DataConfig) -> DataConfig:
    """Returns settings with the files that their patterns match now, in place of the patterns.

    Raises:
        UserError: No file matches.
    """
    names = ("train", "dev", "test", "unlabelled")
    return dataclasses.replace(data, **{name: expanded(getattr(data, name)) for name in names})


def with_absolute_paths(config: RunConfig, run: Path) -> RunConfig:
    """Returns the settings to keep in the folder `run`, which can be used from any folder."""
    placed = _with_files(config, lambda file: str(local_path(file).absolute()))
    return dataclasses.replace(placed, run_dir=str(run.absolute()))


def with_found_files(config: RunConfig, run: Path) -> RunConfig:
    """Returns settings that were kept in the folder `run`, with the present paths of data files.

    A file that is not where it was is looked for where it was as seen from the run folder, in case
    the two were moved together. One that is not there either keeps its path.
    """

    def find(file: str) -> str:
        if local_path(file).exists():
            return file
        moved = run.absolute() / os.path.relpath(file, config.run_dir)
        return os.path.normpath(moved) if moved.exists() else file

    return _with_files(config, find)


def _with_files(config: RunConfig, place: Callable[[str], str]) -> RunConfig:
    """Returns the settings with other paths of data files."""
    data = config.data
    data = dataclasses.replace(
        data,
        train=with_paths(data.train, place),
        dev=with_paths(data.dev, place),
        test=with_paths(data.test, place),
        unlabelled=with_paths(data.unlabelled, place),
    )
    return dataclasses.replace(config, data=data)
