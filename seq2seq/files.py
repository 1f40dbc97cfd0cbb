"""Writing files so that nothing is ever half-written, and nobody else writes them meanwhile.

A file appears under its name only when all of it is on the disk: temporary name, fsync, rename.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import zipfile
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


_MAX_FILES = 100_000
_PIECE = 2**20  # bytes of an overlong line that are in memory at once


def local_path(path: str) -> Path:
    """Returns the path of a file that a setting names; a leading `~` is the home directory.

    The shell leaves the `~` of `data.train=~/words.tsv` alone. The name of an unknown user, as in
    `~words.tsv`, is part of a file's name; `Path.expanduser` would raise an error.
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111


def read_text(path: Path, max_bytes: int) -> str:
    """Returns a whole UTF-8 file, whose line ends stay as they are.

    Raises:
        UserError: It is missing, is not UTF-8, is no ordinary file (a pipe would be waited for,
            a device may have no end), or is longer than `max_bytes`.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UserError(f"{path}: cannot be read: it is no ordinary file")
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UserError(f"{path}: cannot be read: {_reason(error)}") from error
    if len(content) > max_bytes:
        raise UserError(f"{path}: has more than {max_bytes} bytes, which nothing of ours has")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}:{line}: cannot be read: byte 0x{content[error.start]:02x} is not UTF-8"
        ) from error


def read_lines(stream: BinaryIO, max_bytes: int) -> Iterator[bytes | None]:
    """Yields lines with their end, None for one that is longer than `max_bytes` without it.

    An overlong line is passed over in pieces, so that even one without an end takes no memory.
    """
    while line := stream.readline(max_bytes + 1):
        if len(line.removesuffix(b"\n")) <= max_bytes:
            yield line
            continue
        yield None
        while line and not line.endswith(b"\n"):
            line = stream.readline(_PIECE)


def read_array(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    """Reads an array of an `.npz` file: as many bytes as the file has, and nothing to execute.

    `np.load` makes room for whatever shape an entry claims, and expands what is compressed.

    Raises:
        KeyError: There is no such entry.
        ValueError: It is compressed, or no array of numbers of the size that it claims.
    """
    entry = archive.getinfo(f"{name}.npy")
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    with archive.open(entry) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"{name} is of another version")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype.hasobject:
            raise ValueError(f"{name} holds objects, not numbers")
        values = np.frombuffer(file.read(), dtype)
    return values.reshape(shape, order="F" if is_fortran else "C")


def refuse_links_outside(folder: Path) -> None:
    """Refuses a folder with symbolic links that would have other files read or written.

    Raises:
        UserError: There is one, or the folder is too large to tell.
    """
    # os.path.realpath, because Path.resolve raises on links that go in a circle.
    home, seen = os.path.realpath(folder), 0
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path, seen = Path(parent, name), seen + 1
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(home):
                raise UserError(f"{path}: is a link that leads out of the folder")
        if seen > _MAX_FILES:
            raise UserError(f"{folder}: has more than {_MAX_FILES} files, which no run has")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
