"""What this machine has."""

import os

import tensorflow as tf


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))


def cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux only; knows of containers and taskset
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
