"""Output of a command: standard output, or a file that is written atomically or into."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from seq2seq.errors import UserError, printable
from seq2seq.files import DiskError, local_path, writing


@contextlib.contextmanager
def opening_output(path: str) -> Iterator[TextIO]:
    """Opens standard output for `-`, or a file as `writing_output` does.

    The rest of the output is dropped if its reader has closed the pipe (`| head`).

    Raises:
        UserError: The file cannot be written.
    """
    if path != "-":
        try:
            with writing_output(local_path(path)) as opened:
                yield opened
        except DiskError as error:
            raise UserError(f"output={error}") from error
        return
    # UTF-8 and \n whatever the locale says: other programs read this.
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:
        # Without this, the flush at the exit of the interpreter would report a second error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def write_visibly(target: TextIO, text: str) -> None:
    """Writes text, on a terminal with escapes for control characters."""
    target.write(printable(text) if target.isatty() else text)


@contextlib.contextmanager
def writing_output(path: Path) -> Iterator[TextIO]:
    """Opens a UTF-8 text file that a user has named as the output of a command.

    A regular file, or a missing one, is written atomically. Anything else (a device, a FIFO) is
    written into and never replaced: as root, a rename would destroy /dev/null. A symbolic link
    stays a link; the file that it leads to is written.

    If the reader of a FIFO goes away, the rest of the output is dropped without an error.

    Raises:
        DiskError: The file cannot be written.
    """
    try:
        if _is_written_into(path):
            # Without O_CREAT and O_TRUNC: nothing is made or emptied. O_APPEND counts only where
            # /dev/stdout is a file that already has content, as after `>> answers`.
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
            with (
                contextlib.suppress(BrokenPipeError),  # also that of the last flush
                open(descriptor, "w", encoding="utf-8", newline="\n") as opened,  # noqa: PTH123
            ):
                yield opened
            return
        # The temporary file has to be in the folder of the target: a rename cannot leave a disk.
        target = Path(os.path.realpath(path))
        if not target.parent.is_dir():
            raise DiskError(f"{path}: there is no folder {target.parent}")
        with (
            writing(target) as temporary,
            temporary.open("w", encoding="utf-8", newline="\n") as opened,
        ):
            yield opened
    except OSError as error:
        raise DiskError(f"{path}: cannot be written: {error.strerror or error}") from error


def _is_written_into(path: Path) -> bool:
    """Tells whether a path names something that exists and must not be replaced."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    # /dev/stdout and /dev/fd/3 are links, perhaps to a regular file that another program has open.
    is_descriptor = path.is_symlink() and path.parts[:2] in (("/", "dev"), ("/", "proc"))
    return is_descriptor or not stat.S_ISREG(mode)
