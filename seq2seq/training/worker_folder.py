"""Folder of a worker: the chief alone writes the run folder, the others a copy."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from seq2seq.config.workers import find_cluster
from seq2seq.runs.run_dir import RunDir
from seq2seq.training.lifeline import LIFELINE, stop_at_end_of, take_standard_input

_COPIED = (
    "config.yaml",
    "record.json",
    "results.json",
    "*_vocab.txt",
    "taught.tsv",
    "checkpoints/*.npz",
)


@contextlib.contextmanager
def _only_errors_logged() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)


@contextlib.contextmanager
def own_folder(name: str | Path) -> Iterator[str | Path]:
    """Yields the folder that this process trains in.

    The chief alone writes the run folder. Other workers do the same in a folder that is removed
    afterwards, and are silent. To resume, they begin with a copy of the run.

    Args:
        name: The folder of a run, new or to resume, or `latest`.
    """
    if os.environ.pop(LIFELINE, None):
        stop_at_end_of(take_standard_input())
    cluster = find_cluster()
    if cluster is None or cluster.number == 0:
        yield name
        return
    path = RunDir.latest_started().path if name == "latest" else Path(name)
    with (
        _only_errors_logged(),
        tempfile.TemporaryDirectory(prefix="seq2seq-worker-") as temporary,
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
    ):
        folder = Path(temporary, "run")
        for pattern in _COPIED:
            for file in path.glob(pattern):
                copy = folder / file.relative_to(path)
                copy.parent.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(FileNotFoundError):  # The chief may replace it meanwhile.
                    shutil.copyfile(file, copy)
        yield folder
