"""What XLA compiles is kept for the next start, in the user's cache folder.

TensorFlow reads and writes the folder. It takes any content for its own: a damaged file ends a
search or a training. So every file gets a checksum at the end of a process, and a start drops the
files that have none or another one; those of another processor or TensorFlow lie in another folder.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import importlib.metadata
import logging
import os
import platform
import re
import sys
import time
from pathlib import Path

from seq2seq.config.user_cache import cache_folder, oldest_beyond

log = logging.getLogger(__name__)

_LIMIT = 256 * 2**20  # bytes; all are read at every start
_OLD = 3600.0  # seconds after which nobody writes a temporary file any more
_SUFFIX = ".sha256"


def use_compilation_cache() -> None:
    """Makes TensorFlow use the cache; must be called before it is loaded.

    Nothing happens if it is loaded, if `TF_XLA_FLAGS` names a cache already (a child process; its
    parent seals the files), or if the folder cannot be used.
    """
    flags = os.environ.get("TF_XLA_FLAGS", "")
    if "persistent_cache" in flags or "tensorflow" in sys.modules:
        return
    try:
        folder = cache_folder(_fingerprint())
        if any(character.isspace() for character in str(folder)):
            raise OSError(f"{folder}: TF_XLA_FLAGS cannot hold a path with blanks")
        drop_damaged(folder)
        drop_oldest(folder, _LIMIT)
    except OSError as error:
        log.debug("no compilation cache: %s", error)
        return
    os.environ["TF_XLA_FLAGS"] = f"{flags} --tf_xla_persistent_cache_directory={folder}".strip()
    atexit.register(seal, folder)


def seal(folder: Path) -> None:
    """Writes a checksum beside every file that has none."""
    with contextlib.suppress(OSError):  # Whoever removes the folder wants no cache.
        for entry in folder.glob("*.pb"):
            if not (checksum := _checksum_file(entry)).exists():
                checksum.write_text(_digest(entry), encoding="ascii")


def seal_used() -> None:
    """Seals the folder that TensorFlow uses, if there is one, for a process that goes on for long.

    Others that start meanwhile would remove what has no checksum.
    """
    if found := re.search(r"persistent_cache_directory=(\S+)", os.environ.get("TF_XLA_FLAGS", "")):
        seal(Path(found.group(1)))


def drop_damaged(folder: Path) -> None:
    """Removes files without their checksum, and temporary files that are left over."""
    for entry in folder.glob("*.pb"):
        try:
            is_whole = _checksum_file(entry).read_text(encoding="ascii") == _digest(entry)
        except (FileNotFoundError, UnicodeDecodeError):
            is_whole = False
        if not is_whole:
            _remove(entry)
    for left in folder.glob("*.tmp"):
        if time.time() - left.stat().st_mtime > _OLD:
            left.unlink(missing_ok=True)


def drop_oldest(folder: Path, limit: int) -> None:
    """Removes the files that were written first, until the rest has no more than `limit` bytes."""
    for entry in oldest_beyond(folder.glob("*.pb"), limit):
        _remove(entry)


def _fingerprint() -> str:
    """Returns a name for all that decides what a compilation results in, beside the program."""
    try:
        about = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        # Of one core; without its changing clock rate.
        names = ("vendor_id", "model name", "flags", "Features")
        lines = about.partition("\n\n")[0].splitlines()
        processor = [line for line in lines if line.startswith(names)]
    except OSError:
        processor = [platform.processor()]
    parts = [
        importlib.metadata.version("tensorflow"),
        platform.platform(),
        *processor,
        *(os.environ.get(name, "") for name in ("XLA_FLAGS", "TF_XLA_FLAGS")),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _checksum_file(entry: Path) -> Path:
    return entry.with_name(entry.name + _SUFFIX)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove(entry: Path) -> None:
    entry.unlink(missing_ok=True)
    _checksum_file(entry).unlink(missing_ok=True)
