"""Atomic file writes (temporary file, fsync, rename), a per-folder lock, and bounded reads.

Bounded reads are for files from anywhere: they limit the memory that a file can take, and never
run anything that it holds.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

from seq2seq.errors import UserError

_BLOCK = 2**20  # bytes that are read at once


class DiskError(UserError):
    """A file cannot be written, e.g. because the disk is full or the folder is read-only."""


@contextlib.contextmanager
def writing(path: Path, name: Callable[[], str] | None = None) -> Iterator[Path]:
    """Yields a temporary path to write to, and renames it to `path` if no error was raised.

    Args:
        path: The file.
        name: Returns the final name. It is called after the write, because a name may contain a
            checksum of the content. None: the name of `path`.

    Raises:
        DiskError: The file cannot be written; a former file of this name is unchanged.
    """
    temporary = path.with_name(f".tmp.{path.name}")
    is_written = False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        # The content has to be on the disk before the name: after a power cut, a file with its
        # final name would be empty otherwise.
        sync(temporary)
        temporary.replace(path.with_name(name()) if name else path)
        is_written = True
        sync(path.parent)  # The name itself is an entry of the folder.
    except OSError as error:
        raise DiskError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if not is_written:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)  # A full disk needs the space.


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 text file atomically; its line ends are those of `text`.

    Raises:
        DiskError: It cannot be written.
    """
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def checksum(file: BinaryIO) -> str:
    """Returns the SHA-256 of the rest of a file, in hexadecimal."""
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def locked(folder: Path, doing: str = "training") -> Iterator[None]:
    """Locks a folder against other processes while the context lasts; `doing` is for messages.

    The system releases the lock when a process ends, even one that is killed.

    Raises:
        DiskError: The folder cannot be written.
        UserError: Another process has locked it.
    """
    path = folder / ".lock"
    try:
        file = path.open("a+", encoding="ascii")
    except OSError as error:
        raise DiskError(f"{path}: cannot be written: {error.strerror}") from error
    with file:
        try:
            _take(file)
        except BlockingIOError as error:
            file.seek(0)
            owner = file.read(32).strip() or "unknown"
            raise UserError(
                f"{folder}: another process (number {owner}) is {doing} in it; wait for it or "
                "stop it"
            ) from error
        with contextlib.suppress(OSError):  # The number is for messages; the lock holds without.
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        yield


def _take(file: IO[str]) -> None:
    """Takes the lock of a file, at the second try if another process was only looking at it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(0.05)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_locked(folder: Path) -> bool:
    """Tells whether another process has locked a folder."""
    try:
        with (folder / ".lock").open("rb") as file:
            # For a moment this refuses the lock to others, too: `locked` tries again.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def sync(path: Path) -> None:
    """Waits until the content of a file, or the entries of a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_MAX_FILES = 100_000  # of a run folder
_PIECE = 2**20  # bytes of an overlong line that are in memory at once


def local_path(path: str) -> Path:
    """Returns the path of a file that a setting names; a leading `~` is the home directory.

    The shell leaves the `~` of `data.train=~/words.tsv` alone. The name of an unknown user, as in
    `~words.tsv`, is part of a file's name; `Path.expanduser` would raise an error.
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111


def check_regular(path: Path) -> None:
    """Checks that a path is a regular file: reading a pipe could block, a device may have no end.

    Raises:
        UserError: It is missing, or something else.
    """
    try:
        is_regular = stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UserError(f"{path}: cannot be read: {_reason(error)}") from error
    if not is_regular:
        raise UserError(f"{path}: cannot be read: it is not a regular file")


def read_json(path: Path, max_bytes: int) -> dict[str, Any]:
    """Returns the object in a JSON file.

    Raises:
        UserError: As `read_text`, or the file does not hold a JSON object.
    """
    try:
        found = json.loads(read_text(path, max_bytes))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: is not a JSON object")
    return found


def read_text(path: Path, max_bytes: int) -> str:
    """Returns the text of a UTF-8 file with its line ends unchanged.

    Raises:
        UserError: The file is missing, is not UTF-8, has more than `max_bytes` bytes, or is not a
            regular file.
    """
    check_regular(path)
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {_reason(error)}") from error
    if len(content) > max_bytes:
        raise UserError(f"{path}: has more than {max_bytes} bytes, too many for such a file")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}:{line}: cannot be read: byte 0x{content[error.start]:02x} is not UTF-8"
        ) from error


def read_lines(stream: BinaryIO, max_bytes: int) -> Iterator[bytes | None]:
    """Yields each line with its end, or None for a line of more than `max_bytes` bytes without it.

    An overlong line is skipped in pieces, so that even a line without an end takes little memory.
    """
    while line := stream.readline(max_bytes + 1):
        if len(line.removesuffix(b"\n")) <= max_bytes:
            yield line
            continue
        yield None
        while line and not line.endswith(b"\n"):
            line = stream.readline(_PIECE)


def refuse_odd_files(folder: Path) -> None:
    """Refuses a folder with links through which files outside would be read or written, or pipes.

    Raises:
        UserError: There is such a link, a pipe or a device, or too many files to check.
    """
    # os.path.realpath, because Path.resolve raises an error for links that form a circle.
    home, seen = os.path.realpath(folder), 0
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path, seen = Path(parent, name), seen + 1
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:  # A training that runs has renamed its temporary file.
                continue
            if stat.S_ISLNK(mode):
                if not Path(os.path.realpath(path)).is_relative_to(home):
                    raise UserError(f"{path}: is a link that leads out of the folder")
            elif not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise UserError(f"{path}: is a pipe or a device, which a run folder never has")
        if seen > _MAX_FILES:
            raise UserError(f"{folder}: has more than {_MAX_FILES} files, too many for a run")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
