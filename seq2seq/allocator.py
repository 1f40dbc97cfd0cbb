"""How the C library deals with freed memory."""

from __future__ import annotations

import ctypes
import sys

# Of glibc's <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def keep_freed_memory() -> None:
    """Makes the C library keep what is freed for what is asked for next, where it is glibc.

    A training step and a search ask for tens of megabytes and free them at their end. By default
    much of it goes back to the system, which then clears every page before it hands it out again:
    5 to 15 % of a step, differently in every process.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
