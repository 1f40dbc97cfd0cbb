"""Device, cores, threads, the memory allocator of the C library, and the loading of TensorFlow.

Functions import TensorFlow late, so that settings can be checked without it.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def load_tensorflow() -> None:
    """Imports Keras and TensorFlow without the messages of their start.

    A value of TF_CPP_MIN_LOG_LEVEL that the user has set stays, and below 3 all is shown.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    is_quiet = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "3"
    if not is_quiet or "tensorflow" in sys.modules or sys.stderr is None:
        importlib.import_module("keras")
        return
    # TensorFlow's libraries write to file descriptor 2 while they load, whatever the level is
    # (tensorflow/tensorflow#100442). Their output is shown only if loading fails.
    sys.stderr.flush()
    with tempfile.TemporaryFile() as chatter:
        standard_error = os.dup(2)
        os.dup2(chatter.fileno(), 2)
        try:
            importlib.import_module("keras")
        except BaseException:
            chatter.seek(0)
            os.write(standard_error, chatter.read())
            raise
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)


@contextlib.contextmanager
def hidden(library: str) -> Iterator[None]:
    """Lets imports of a library fail while the context lasts, unless it is loaded already."""
    if library in sys.modules:
        yield
        return
    modules: dict[str, Any] = sys.modules
    modules[library] = None  # Python's own sign for a module that must not be imported.
    try:
        yield
    finally:
        del modules[library]


def has_gpu() -> bool:
    """Tells whether a GPU computes."""
    import tensorflow as tf

    return bool(tf.config.get_visible_devices("GPU"))


def multiplies_as_tf32() -> bool:
    """Tells whether a GPU rounds the factors of float32 products to TF32, 10 bits of fraction."""
    import tensorflow as tf

    return has_gpu() and tf.config.experimental.tensor_float_32_execution_enabled()


def device_name() -> str:
    """Returns what computes, such as `CPU, 2 cores of Intel(R) Xeon(R) Processor`."""
    import tensorflow as tf

    gpus = tf.config.get_visible_devices("GPU")
    if not gpus:
        count = cores()
        return f"CPU, {count} core{'s' * (count != 1)} of {processor()}"
    name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", gpus[0].name)
    return f"GPU, {name}"


def processor() -> str:
    """Returns the name of the processor, which `platform` does not return on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def threads() -> dict[str, int]:
    """Returns the sizes of TensorFlow's thread pools as configured; 0: TensorFlow chooses."""
    import tensorflow as tf

    return {
        "intra_op": tf.config.threading.get_intra_op_parallelism_threads(),
        "inter_op": tf.config.threading.get_inter_op_parallelism_threads(),
    }


def cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux only; respects containers and taskset
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def shares_of_cores(count: int) -> list[set[int]]:
    """Returns the cores of each of `count` processes; empty sets where they cannot be bound."""
    if not hasattr(os, "sched_setaffinity"):
        return [set() for _ in range(count)]
    own = sorted(os.sched_getaffinity(0))
    shares = min(count, len(own))
    return [set(own[place % shares :: shares]) for place in range(count)]


def slow_cache_bytes() -> int:
    """Returns the bytes of a core's second-level cache, before a shared one that is slow.

    0 for all but Intel's processors, whose cores reach their shared cache over a mesh, and where
    the system does not say (not Linux).
    """
    try:
        is_slow = "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return 0
    return _cache_bytes(2) if is_slow else 0


def shared_cache_bytes() -> int:
    """Returns the bytes of the third-level cache; 0 where the system does not say."""
    return _cache_bytes(3)


def _cache_bytes(wanted: int) -> int:
    try:
        levels = Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/level")
        [level] = [one for one in levels if int(one.read_text(encoding="ascii")) == wanted]
        size = level.with_name("size").read_text(encoding="ascii").strip()  # 2048K
        return int(size.removesuffix("K")) * 2**10
    except (OSError, ValueError):
        return 0


def memory() -> int:
    """Returns the bytes of memory that this process may use: the machine's or its container's."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:  # not Linux, or no container
        return total
    return min(total, int(limit)) if limit.isdecimal() else total


# Constants of glibc's <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def keep_freed_memory() -> None:
    """Makes glibc keep freed memory for the next allocation; does nothing with other C libraries.

    A training step and a search allocate tens of megabytes and free them at their end. By default
    much of that memory returns to the system, which clears every page before it hands it out
    again. This took 5 to 15 % of a step, and differed from process to process.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
