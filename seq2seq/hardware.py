"""Cores, GPUs, threads, and how the C library keeps freed memory.

TensorFlow is imported when a function needs it, so that settings can be checked without it.
"""

from __future__ import annotations

import ctypes
import os
import sys


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def threads() -> dict[str, int]:
    """Returns the numbers of threads that TensorFlow was told to use; 0: it chooses."""
    import tensorflow as tf

    return {
        "intra_op": tf.config.threading.get_intra_op_parallelism_threads(),
        "inter_op": tf.config.threading.get_inter_op_parallelism_threads(),
    }


def cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux only; knows of containers and taskset
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
