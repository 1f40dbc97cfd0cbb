"""Log file of a run."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from seq2seq.errors import LineFormatter
from seq2seq.files import DiskError


@contextlib.contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Also writes log messages to a file while the context lasts.

    Raises:
        DiskError: The file cannot be opened.
    """
    try:
        handler = _LogFile(path, encoding="utf-8")
    except OSError as error:
        raise DiskError(f"{path}: cannot be written: {error.strerror}") from error
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        with contextlib.suppress(OSError):  # see `_LogFile`
            handler.close()


class _LogFile(logging.FileHandler):
    """A log file that ignores a full disk: standard error has the same lines."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        pass
