"""The one exception that is reported to a person as a line of text instead of a traceback."""

_LONGEST = 1000


class UserError(Exception):
    """A mistake that the user can mend: the message says what is wrong, where, and what to do.

    The commands print it on standard error as one line and exit with code 2. What a message quotes
    may come from a stranger's file: it cannot fill the screen, break the line, or reach the
    terminal as a control sequence or a change of the writing direction.
    """

    def __init__(self, message: str) -> None:
        super().__init__(visible(message, _LONGEST))


def visible(text: str, longest: int) -> str:
    """Returns `text` with what is not printable escaped, without its middle if it is too long."""
    if len(text) > longest:
        half = longest // 2
        text = f"{text[:half]} … {text[-half:]}"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
