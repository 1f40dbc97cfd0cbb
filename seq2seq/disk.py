"""Writing files so that nothing is ever half-written, and nobody else writes them meanwhile.

A file appears under its name only when all of it is on the disk: temporary name, fsync, rename.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from seq2seq.errors import UserError

_BLOCK = 1 << 20  # bytes


class DiskError(UserError):
    """A file cannot be written: the disk is full, the folder read-only, …"""


@contextlib.contextmanager
def writing(path: Path, name: Callable[[], str] | None = None) -> Iterator[Path]:
    """Gives a temporary path to write to, and publishes it as `path` when that went well.

    Args:
        path: The file.
        name: Called when all is written, for a name that depends on it; None: that of `path`.

    Raises:
        DiskError: It did not; what was there before is still there.
    """
    temporary = path.with_name(f".tmp.{path.name}")
    is_written = False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        sync(temporary)
        temporary.replace(path.with_name(name()) if name else path)
        is_written = True
        sync(path.parent)
    except OSError as error:
        raise DiskError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if not is_written:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)  # A full disk needs the room.


def write_text(path: Path, text: str) -> None:
    """Writes a text file.

    Raises:
        DiskError: It cannot be written.
    """
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Writes named arrays as an `.npz` file, which holds no objects and so no code.

    Raises:
        DiskError: It cannot be written.
    """
    with writing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def checksum(file: BinaryIO) -> str:
    """Returns the SHA-256 of what is left to read, in hexadecimal."""
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other processes out of a folder while the context lasts; a killed one leaves no lock.

    Raises:
        DiskError: The folder cannot be written.
        UserError: Another process is in it.
    """
    path = folder / ".lock"
    try:
        file = path.open("a+", encoding="ascii")
    except OSError as error:
        raise DiskError(f"{path}: cannot be written: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            owner = file.read(32).strip() or "unknown"
            raise UserError(
                f"{folder}: another process (number {owner}) is training in it; wait for it, or "
                "stop it"
            ) from error
        with contextlib.suppress(OSError):  # The number only helps people; the lock holds anyway.
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        yield


def sync(path: Path) -> None:
    """Waits until a file or a folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
