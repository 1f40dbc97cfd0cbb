"""Checkpoints of a run: named arrays in files with a checksum in their names.

A file is called `step_STEPS.CHECKSUM.npz`. The checksum is the beginning of the file's SHA-256. A
file that does not match its name is damaged; `sha256sum` shows it, too.
"""

from __future__ import annotations

import hashlib
import io
import logging
import math
import re
import struct
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt

from seq2seq.errors import UserError
from seq2seq.files import checksum, writing
from seq2seq.runs.array_files import read_array

log = logging.getLogger(__name__)

Arrays = dict[str, npt.NDArray[Any]]
Parsed = TypeVar("Parsed")

_MAX_SHARE = 0.02  # of the time that checkpoints may take
_DIGITS = 16  # of the checksum: 64 bits
# RuntimeError: an encrypted entry; struct.error: an entry that is cut off.
_DAMAGE = (OSError, ValueError, KeyError, EOFError, RuntimeError, struct.error, zipfile.BadZipFile)
_NAME = re.compile(rf"step_(\d{{10}})\.([0-9a-f]{{{_DIGITS}}})\.npz")


class Checkpoints:
    """The newest checkpoints in a folder.

    Attributes:
        folder: The folder.
        keep: The number of checkpoints that stay.
    """

    def __init__(
        self, folder: Path, keep: int, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Stores the arguments; no file is read yet.

        Args:
            folder: The folder; it need not exist yet.
            keep: The number of checkpoints that stay.
            clock: Returns the time in seconds.
        """
        self.folder, self.keep = folder, keep
        self._clock = clock
        self._seconds, self._saved = 0.0, -math.inf  # duration and end of the last one

    def is_cheap(self) -> bool:
        """Tells whether checkpoints would take at most 2 % of the time with one more now."""
        # The next one is assumed to take as long as the last one.
        return self._seconds <= _MAX_SHARE * (self._clock() - self._saved)

    def paths(self) -> list[Path]:
        """Returns the files of the checkpoints, newest first."""
        return [path for path in self._named() if not path.is_dir()]

    def _named(self) -> list[Path]:
        """Returns all that is named like a checkpoint, also folders, newest first."""
        found = self.folder.glob("step_*.npz") if self.folder.is_dir() else ()
        return sorted((path for path in found if _NAME.fullmatch(path.name)), reverse=True)

    def save(self, step: int, arrays: Mapping[str, npt.NDArray[Any]]) -> Path:
        """Writes a checkpoint, removes surplus ones, and returns the path of the new one.

        Raises:
            DiskError: It cannot be written; the former ones are unchanged.
        """
        began, digest = self._clock(), hashlib.sha256()

        def name() -> str:
            return f"step_{step:010}.{digest.hexdigest()[:_DIGITS]}.npz"

        with (
            writing(self.folder / f"step_{step:010}.npz", name) as temporary,
            temporary.open("wb") as file,
        ):
            np.savez(_Hashed(file, digest), allow_pickle=False, **arrays)
        path = self.folder / name()
        # A step that is saved again replaces its former checkpoint and uses no place among `keep`.
        others = [old for old in self.paths() if old != path]
        again = [old for old in others if step_of(old) == step]
        for old in again + [old for old in others if old not in again][self.keep - 1 :]:
            old.unlink(missing_ok=True)
        self._saved = self._clock()
        self._seconds = self._saved - began
        return path

    def load_newest(self, parse: Callable[[Arrays], Parsed]) -> tuple[Path, Parsed]:
        """Reads the newest intact checkpoint, with a warning for each damaged one.

        Args:
            parse: Returns the content of a checkpoint, or raises a `ValueError`: a checksum only
                tells that a file is as it was written.

        Raises:
            UserError: There is no intact checkpoint.
        """
        paths = self._named()
        reason = ""
        for path in paths:
            try:
                return path, parse(_read(path))
            except _DAMAGE as error:
                reason = getattr(error, "strerror", None) or str(error)
                log.warning("%s is damaged (%s); trying the one before it", path, reason)
        if paths:
            raise UserError(
                f"{self.folder}: all {len(paths)} checkpoints are damaged, or do not fit the "
                f"settings and vocabularies: {reason}"
            )
        raise UserError(f"{self.folder}: there is no checkpoint; start a new run")

    def drop_after(self, step: int) -> None:
        """Removes the checkpoints of later steps, which a run resumed at `step` writes again."""
        for path in self.paths():
            if step_of(path) > step:
                path.unlink(missing_ok=True)


class _Hashed:
    """A file that is written from front to back, with the checksum of what was written."""

    def __init__(self, file: BinaryIO, digest: hashlib._Hash) -> None:
        self._file, self._digest = file, digest

    def write(self, data: bytes | memoryview) -> int:
        self._digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def read(self) -> bytes:
        """Raises an error. NumPy writes to an object as to a file only if it has this method."""
        raise io.UnsupportedOperation("read")


def step_of(path: Path) -> int:
    """Returns the number of steps in a checkpoint's name."""
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1])


def _read(path: Path) -> Arrays:
    content = io.BytesIO(path.read_bytes())
    name = _NAME.fullmatch(path.name)
    assert name is not None
    if not checksum(content).startswith(name[2]):
        raise ValueError("its checksum is wrong")
    content.seek(0)
    with zipfile.ZipFile(content) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        return {name: read_array(archive, name) for name in names}
