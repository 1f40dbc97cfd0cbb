"""Log file of a run: messages, and the lines that the terminal shows."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from logging.handlers import MemoryHandler
from pathlib import Path

from seq2seq.errors import LineFormatter, UserError
from seq2seq.files import DiskError
from seq2seq.training.screen import SCREEN


class _Held(MemoryHandler):
    """Messages that wait for the log file."""

    def __init__(self) -> None:
        super().__init__(capacity=10_000, flushLevel=logging.CRITICAL + 1)


@contextlib.contextmanager
def held_messages() -> Iterator[None]:
    """Holds messages, for the file that `logging_to` opens while the context lasts.

    The run folder is created after all checks, but its log begins with the warnings of the checks.
    """
    held = _Held()
    logging.getLogger().addHandler(held)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(held)


@contextlib.contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Also writes messages, the lines of the terminal and a last error to a file.

    Raises:
        DiskError: The file cannot be opened.
    """
    try:
        handler = _LogFile(path, encoding="utf-8")
    except OSError as error:
        raise DiskError(f"{path}: cannot be written: {error.strerror}") from error
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    for held in [other for other in root.handlers if isinstance(other, _Held)]:
        held.setTarget(handler)
        held.flush()
        root.removeHandler(held)
    loggers = (root, SCREEN)
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    except Exception as error:
        SCREEN.error("error: %s", error, exc_info=not isinstance(error, UserError))
        raise
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        with contextlib.suppress(OSError):  # see `_LogFile`
            handler.close()


class _LogFile(logging.FileHandler):
    """A log file that ignores a full disk: standard error has the same lines."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        pass
