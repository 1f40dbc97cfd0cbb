"""What this machine has."""

import os

import tensorflow as tf


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))


def threads() -> dict[str, int]:
    """Returns the numbers of threads that TensorFlow was told to use; 0: it chooses."""
    return {
        "intra_op": tf.config.threading.get_intra_op_parallelism_threads(),
        "inter_op": tf.config.threading.get_inter_op_parallelism_threads(),
    }


def cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux only; knows of containers and taskset
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
