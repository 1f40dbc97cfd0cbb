"""Standard input as a lifeline: it ends when the process that started this one is killed."""

from __future__ import annotations

import os
import signal
import threading
from io import FileIO

# Set in the environment of a process whose standard input is one.
LIFELINE = "SEQ2SEQ_LIFELINE"


def take_standard_input() -> FileIO:
    """Returns standard input under another number; what reads data from it finds it empty."""
    moved = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return FileIO(moved)  # Without a buffer, whose lock a waiting thread would keep at the end.


def stop_at_end_of(lifeline: FileIO) -> None:
    """Saves a checkpoint and stops when this ends before the process does."""
    threading.Thread(target=_wait, args=[lifeline], daemon=True).start()


def _wait(lifeline: FileIO) -> None:
    lifeline.read()
    os.kill(os.getpid(), signal.SIGTERM)
