"""Line reader for text from anywhere: files, `.gz` files and standard input, line by line as bytes.

Training files and the input of `infer.py` are read by it, so both take the same names and lines.
It knows nothing of columns and tokens.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import os
import select
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import BinaryIO, NamedTuple, cast

from seq2seq.errors import UserError
from seq2seq.files import local_path, read_lines

_BLOCK = 2**16  # bytes that are read from a pipe at once, all that one holds on Linux


class Line(NamedTuple):
    """A line as bytes, without its end (`\\n` or `\\r\\n`) and without a byte order mark.

    Attributes:
        number: Counted from 1.
        place: The bytes before `content`, in the file or in the content of a `.gz` file. After an
            overlong line it is not known.
        content: The bytes; None if the line is longer than allowed.
        skipped: The bytes of the line before `content`, which are those of a byte order mark.
        has_end: Whether a line feed ends it. Only the last line of an input may have none.
    """

    number: int
    place: int
    content: bytes | None
    skipped: int = 0
    has_end: bool = True

    @property
    def has_carriage_returns(self) -> bool:
        """Whether it is all of an input whose lines end with CR, as old spreadsheets write them."""
        is_whole_input = self.number == 1 and not self.has_end
        return is_whole_input and self.content is not None and b"\r" in self.content


class LineReader:
    """Lines of one input. Only a line feed ends a line, since U+2028 and others may be data.

    Attributes:
        path: A file, compressed if its name ends in `.gz` in any case, or `-` for standard input.
            A leading `~` is the home directory.
        name: The name of the input in error messages.
        max_bytes: The longest line that is returned; it counts no line feed. A longer one takes no
            memory.
    """

    def __init__(self, path: str, name: str, max_bytes: int) -> None:
        self.path, self.name, self.max_bytes = path, name, max_bytes
        self._arriving: _ArrivingLines | None = None

    def __iter__(self) -> Iterator[Line]:
        """Yields the lines in order.

        Raises:
            UserError: The input cannot be opened, or cannot be read to its end.
        """
        with _naming(self.name), self._open() as opened:
            if not _is_whole(opened):
                self._arriving = _ArrivingLines(opened.fileno())
                opened = cast(BinaryIO, self._arriving)
            yield from _split(opened, self.max_bytes)

    def is_waiting(self, seconds: float) -> bool:
        """Tells whether the next line, or the end of the input, has arrived.

        It waits up to `seconds` for a pipe or a terminal. The lines of a file are always there.
        """
        return self._arriving is None or self._arriving.has_line(self.max_bytes + 1, seconds)

    def _open(self) -> AbstractContextManager[BinaryIO]:
        if self.path == "-":
            if sys.stdin is None:
                raise UserError(f"{self.name}: standard input is closed")
            return nullcontext(sys.stdin.buffer)  # not ours to close
        if is_compressed(self.path):
            return cast(BinaryIO, gzip.open(local_path(self.path), "rb"))
        return local_path(self.path).open("rb")


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    """Turns what the system or a decompression raises into a `UserError` that names the input."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{name}: no such file") from error
    except IsADirectoryError as error:
        raise UserError(f"{name}: is a directory, not a file") from error
    except PermissionError as error:
        raise UserError(f"{name}: no permission to read it") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{name}: is not a gzip file, or is damaged: {error}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{name}: cannot be read: {reason}") from error


def check_opens(path: str, name: str) -> None:
    """Checks that an input can be opened, and reads nothing of it.

    Only regular files are opened: opening a pipe would wait for its writer, or end it.

    Args:
        path: As of `LineReader`, whose errors it raises; `-` is not checked.
        name: The name of the input in error messages.

    Raises:
        UserError: It is missing, a directory, or not to be read.
    """
    if path == "-":
        return
    with _naming(name):
        mode = local_path(path).stat().st_mode
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            local_path(path).open("rb").close()


def is_compressed(path: str) -> bool:
    """Tells by its name whether a file is read as gzip."""
    return path.lower().endswith(".gz")


class _ArrivingLines:
    """Lines of a pipe, a socket or a terminal, which can tell whether the next one has arrived.

    A buffered reader of Python cannot tell what it holds without a read that may wait.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._buffer = bytearray()
        self._is_inside_line, self._is_at_end = False, False

    def readline(self, size: int) -> bytes:
        """Returns the next line with its end or its first `size` bytes, nothing at the end."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched, size) + 1) == 0:
            searched = len(self._buffer)
            if searched >= size or self._is_at_end:
                end = size
                break
            self._read()
        line = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._is_inside_line = not line.endswith(b"\n")
        return line

    def has_line(self, size: int, seconds: float) -> bool:
        """Tells whether a new line, its first `size` bytes, or the end can be read at once."""
        while not self._is_at_end:
            end = self._buffer.find(b"\n")
            if self._is_inside_line:
                # The rest of an overlong line comes first. One byte of it is enough for its reader.
                del self._buffer[: end if end >= 0 else -1]
                end = self._buffer.find(b"\n", 1) if end >= 0 else end
            if end >= 0 or len(self._buffer) > size:
                break
            if not self._poll.poll(1000 * seconds):
                return False
            self._read()
        return True

    def _read(self) -> None:
        """Waits for more bytes, or the end of the input."""
        block = os.read(self._descriptor, _BLOCK)
        self._buffer += block
        self._is_at_end = not block


def _is_whole(stream: BinaryIO) -> bool:
    """Tells whether all of the stream is there: a file or bytes in memory, not a pipe."""
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except OSError:  # It has no descriptor.
        return True


def _split(stream: BinaryIO, max_bytes: int) -> Iterator[Line]:
    end = 0
    for number, raw in enumerate(read_lines(stream, max_bytes), start=1):
        if raw is None:
            yield Line(number, end, None)
            continue
        start, end = end, end + len(raw)
        content = raw.removesuffix(b"\n").removesuffix(b"\r")
        # Only at the start of a file is it a mark; further down it is the character U+FEFF.
        if number == 1 and content.startswith(codecs.BOM_UTF8):
            skipped = len(codecs.BOM_UTF8)
            content = content[skipped:]
        else:
            skipped = 0
        yield Line(number, start + skipped, content, skipped, raw.endswith(b"\n"))
