"""Checkpoints of a run: named arrays in files that carry their own checksum.

A file is `step_STEPS.CHECKSUM.npz`; the checksum is the beginning of its SHA-256, so that a name
that does not fit the content is a damaged file, and `sha256sum` can tell, too.
"""

from __future__ import annotations

import hashlib
import io
import logging
import math
import re
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from seq2seq.errors import UserError
from seq2seq.files import checksum, read_array, writing

log = logging.getLogger(__name__)

Arrays = dict[str, npt.NDArray[Any]]

_MOST_SHARE = 0.02  # of the time
_DIGITS = 16  # of the checksum
_NAME = re.compile(rf"step_(\d{{10}})\.([0-9a-f]{{{_DIGITS}}})\.npz")


class Checkpoints:
    """The newest checkpoints in a folder.

    Attributes:
        folder: Where they are.
        keep: How many of them stay.
    """

    def __init__(
        self, folder: Path, keep: int, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Looks at nothing yet.

        Args:
            folder: Where they are.
            keep: How many of them stay.
            clock: Seconds.
        """
        self.folder, self.keep = folder, keep
        self._clock = clock
        self._seconds, self._saved = 0.0, -math.inf  # how long the last one took, and its end

    def is_cheap(self) -> bool:
        """Whether one more now would still leave 98 % of the time to other things."""
        return self._seconds <= _MOST_SHARE * (self._clock() - self._saved)

    def paths(self) -> list[Path]:
        """Returns the checkpoints, the newest first."""
        files = self.folder.glob("step_*.npz") if self.folder.is_dir() else ()
        return sorted((path for path in files if _NAME.fullmatch(path.name)), reverse=True)

    def save(self, step: int, arrays: Mapping[str, npt.NDArray[Any]]) -> Path:
        """Writes a checkpoint, then drops those that are one too many; returns where it is.

        Raises:
            DiskError: It cannot be written; those before are untouched.
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
        others = [old for old in self.paths() if old != path]
        again = [old for old in others if step_of(old) == step]
        for old in again + [old for old in others if old not in again][self.keep - 1 :]:
            old.unlink(missing_ok=True)
        self._saved = self._clock()
        self._seconds = self._saved - began
        return path

    def load_newest(self) -> tuple[Path, Arrays]:
        """Reads the newest checkpoint that is whole; each damaged one is named in the log.

        Raises:
            UserError: There is none.
        """
        paths = self.paths()
        for path in paths:
            try:
                return path, _read(path)
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                log.warning("%s is damaged (%s); trying the one before", path, error)
        if paths:
            raise UserError(f"{self.folder}: all {len(paths)} checkpoints are damaged")
        raise UserError(f"{self.folder}: there is no checkpoint; train anew")

    def drop_after(self, step: int) -> None:
        """Removes checkpoints of later steps: a run that goes on from `step` will make its own."""
        for path in self.paths():
            if step_of(path) > step:
                path.unlink(missing_ok=True)


class _Hashed:
    """A file that is written from front to back, and whose checksum is known at the end."""

    def __init__(self, file: BinaryIO, digest: hashlib._Hash) -> None:
        self._file, self._digest = file, digest

    def write(self, data: bytes | memoryview) -> int:
        self._digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def read(self) -> bytes:
        """NumPy takes for a file what has this."""
        raise io.UnsupportedOperation("read")


def step_of(path: Path) -> int:
    """Returns the number of steps that a checkpoint's name tells."""
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1])


def _read(path: Path) -> Arrays:
    content = io.BytesIO(path.read_bytes())
    name = _NAME.fullmatch(path.name)
    assert name is not None
    if not checksum(content).startswith(name[2]):
        raise ValueError("its checksum does not fit")
    content.seek(0)
    with zipfile.ZipFile(content) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        return {name: read_array(archive, name) for name in names}
