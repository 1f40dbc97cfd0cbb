"""UserError, the one exception that is reported as a line of text instead of a traceback.

Also the escapes for text from anywhere that reaches a terminal.
"""

import logging

_MAX_LENGTH = 1000  # characters of a message
_MAX_LOGGED = 10_000


class UserError(Exception):
    """A mistake that the user can correct. The message says what is wrong, where, and what to do.

    Commands print the message on standard error as one line and exit with code 2. A message may
    quote an untrusted file. Its length is therefore limited, and control characters and changes of
    the writing direction are escaped, so that it cannot fill the screen or reach the terminal.

    Attributes:
        exit_code: Of a command.
    """

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(visible(message, _MAX_LENGTH))


def visible(text: str, max_length: int) -> str:
    """Returns `text` with escapes for characters that cannot be printed.

    The middle of a text of more than `max_length` characters is left out.
    """
    if len(text) > max_length:
        half = max_length // 2
        text = f"{text[:half]} … {text[-half:]}"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """Returns `text` with all its white space as single spaces."""
    return " ".join(text.split())


def printable(text: str) -> str:
    """Returns `text` with escapes for characters that cannot be printed, but for tabs and ends."""
    return "".join(c if c.isprintable() or c in "\t\n" else ascii(c)[1:-1] for c in text)


class LineFormatter(logging.Formatter):
    """Formatter of log messages that quote text from anywhere: one line each, without controls."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Returns the line of a record; a traceback may follow it."""
        return visible(super().formatMessage(record), _MAX_LOGGED)
