"""What the machine can do at most: square matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.workers.protocol import Task, cores, serve, timed


def product(spec: dict[str, Any]) -> Task:
    """Multiplies two square matrices in NumPy, or in TensorFlow in the precision asked for."""
    matrix = np.random.default_rng(0).random((spec["size"], spec["size"]), np.float32)
    if spec["library"] == "numpy":
        return Task(timed(lambda: matrix @ matrix))
    tensor = tf.cast(tf.constant(matrix), spec["precision"])
    # Reading a value waits for the product without copying all of it.
    return Task(timed(lambda: tf.matmul(tensor, tensor)[0, 0].numpy()))


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(cores())
    serve(product)
