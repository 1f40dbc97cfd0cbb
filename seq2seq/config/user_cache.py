"""The user's cache folder: what can be made again, kept for the next start."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

# A folder, or `off`.
VARIABLE = "SEQ2SEQ_CACHE"

_MIN_FREE = 2**30  # bytes; TensorFlow ends a process that cannot write


def _default() -> Path:
    """Returns the cache folder of the user, by the XDG specification.

    Raises:
        RuntimeError: The user has no home folder.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if given else Path.home() / ".cache") / "seq2seq"


def oldest_beyond(files: Iterable[Path], limit: int) -> Iterator[Path]:
    """Yields the files used longest ago, until the rest has no more than `limit` bytes."""
    size = 0
    for file in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True):
        size += file.stat().st_size
        if size > limit:
            yield file


def cache_folder(name: str) -> Path:
    """Returns a folder in the cache to which the user alone can write, and makes it if needed.

    Raises:
        OSError: The user wants no cache, or the folder cannot be used.
    """
    chosen = os.environ.get(VARIABLE, "")
    if chosen == "off":
        raise OSError(f"{VARIABLE}=off")
    try:
        folder = (Path(chosen) if chosen else _default()) / name
    except RuntimeError as error:
        raise OSError(str(error)) from error
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    about = folder.stat()
    if about.st_uid != os.geteuid() or about.st_mode & 0o022:
        raise PermissionError(f"{folder}: others may write to it")
    if shutil.disk_usage(folder).free < _MIN_FREE:
        raise OSError(f"{folder}: less than 1 GiB is free")
    return folder
