"""Line reader for text from anywhere: files, `.gz` files and standard input, line by line as bytes.

Training files and the input of `infer.py` are read by it, so both take the same names and lines.
It knows nothing of columns and tokens.
"""

from __future__ import annotations

import codecs
import gzip
import sys
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import BinaryIO, NamedTuple, cast

from seq2seq.errors import UserError
from seq2seq.files import local_path, read_lines


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

    def __iter__(self) -> Iterator[Line]:
        """Yields the lines in order.

        Raises:
            UserError: The input cannot be opened, or cannot be read to its end.
        """
        try:
            with self._open() as stream:
                yield from _split(stream, self.max_bytes)
        except FileNotFoundError as error:
            raise UserError(f"{self.name}: no such file") from error
        except IsADirectoryError as error:
            raise UserError(f"{self.name}: is a directory, not a file") from error
        except PermissionError as error:
            raise UserError(f"{self.name}: no permission to read it") from error
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise UserError(f"{self.name}: is not a gzip file, or is damaged: {error}") from error
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{self.name}: cannot be read: {reason}") from error

    def _open(self) -> AbstractContextManager[BinaryIO]:
        if self.path == "-":
            if sys.stdin is None:
                raise UserError(f"{self.name}: standard input is closed")
            return nullcontext(sys.stdin.buffer)  # not ours to close
        if is_compressed(self.path):
            return cast(BinaryIO, gzip.open(local_path(self.path), "rb"))
        return local_path(self.path).open("rb")


def is_compressed(path: str) -> bool:
    """Tells by its name whether a file is read as gzip."""
    return path.lower().endswith(".gz")


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
