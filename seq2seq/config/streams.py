"""Standard streams that are closed, full, or lose their reader.

It imports no other library, so that a command can look after its streams at once.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, TextIO

from seq2seq.errors import one_line, visible

_MAX_LENGTH = 1100  # characters: a `UserError` with its dots and escapes


def open_closed_streams() -> None:
    """Opens the standard streams that the shell has closed (`<&-`, `>&-`, `2>&-`).

    Otherwise the next opened file, perhaps a checkpoint, would get the number of the stream and the
    text that is printed. Reading or writing a stream opened here fails as it does with a closed
    one, but what is written to standard error is dropped.
    """
    for number, flags in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number, which is this one.
            os.set_inheritable(os.open(os.devnull, flags), True)
    # Python sets those of closed streams to None. That is what readers of standard input look for.
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def flush_output() -> OSError | None:
    """Writes out the standard streams; returns the error if standard output cannot be written.

    What cannot be written is dropped. The interpreter would otherwise report it at its exit, in
    several lines, and change the exit code.
    """
    failed = None
    for stream in (sys.stderr, sys.stdout):
        try:
            stream.flush()
        except OSError as error:
            _drop(stream)
            failed = error if stream is sys.stdout else failed
    return failed


def print_error(line: str) -> None:
    """Prints a line on standard error, if anybody reads it."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr)


def refuse(message: str) -> int:
    """Prints a mistake on standard error as one line, and returns the exit code for it."""
    print_error(f"error: {visible(one_line(message), _MAX_LENGTH)}")
    return 2


class LastingOutput:
    """Standard output for work that goes on without a reader, e.g. after `| head` has ended.

    The first error is logged. The rest of the output is dropped.
    """

    def __init__(self, advice: str) -> None:
        """Wraps `sys.stdout`; `advice` tells, after an error, what becomes of the work."""
        self._stream: TextIO = sys.stdout
        self._advice = advice

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        import logging  # Not above: commands import this file first of all.

        _drop(self._stream)
        log = logging.getLogger(__name__)
        log.warning("standard output cannot be written (%s); %s", error.strerror, self._advice)


def _drop(stream: TextIO) -> None:
    """Leads a stream to the null device, with all that it still holds."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
