"""UserError, the one exception that is reported as a line of text instead of a traceback."""

_MAX_LENGTH = 1000  # characters of a message


class UserError(Exception):
    """A mistake that the user can correct. The message says what is wrong, where, and what to do.

    Commands print the message on standard error as one line and exit with code 2. A message may
    quote an untrusted file. Its length is therefore limited, and control characters and changes of
    the writing direction are escaped, so that it cannot fill the screen or reach the terminal.
    """

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
