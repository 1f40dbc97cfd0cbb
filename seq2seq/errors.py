"""The one exception that is reported to a person as a line of text instead of a traceback."""


class UserError(Exception):
    """A mistake that the user can mend: the message says what is wrong, where, and what to do.

    The commands print it on standard error as one line and exit with code 2.
    """
