"""Square matrix product in TensorFlow, the upper bound of the machine's rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.workers.protocol import Task, cores, serve, timed


def product(spec: dict[str, Any]) -> Task:
    """Product of a square float32 matrix with itself."""
    matrix = np.random.default_rng(0).random((spec["size"], spec["size"]), np.float32)
    tensor = tf.constant(matrix)
    # Reading one element waits for the product without copying the whole matrix.
    return Task(timed(lambda: tf.matmul(tensor, tensor)[0, 0].numpy()))


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(cores())
    serve(product)
