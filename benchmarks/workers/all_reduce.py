"""Seconds of an all-reduce among workers that `TF_CONFIG` names: `... all_reduce NUMBERS COUNT`."""

from __future__ import annotations

import json
import sys
import time

import tensorflow as tf


def main() -> None:
    """Adds up vectors of `NUMBERS` float32 numbers `COUNT` times, and prints the median seconds."""
    numbers, count = map(int, sys.argv[1:])
    engine = tf.distribute.MultiWorkerMirroredStrategy()

    @tf.function(autograph=False)
    def add(vector: tf.Tensor) -> tf.Tensor:
        def replica() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            own = tf.identity(vector)  # on the device of the replica
            return context.all_reduce(tf.distribute.ReduceOp.SUM, own)

        return engine.run(replica)

    vector, seconds = tf.ones([numbers]), []
    for _ in range(count + 3):  # The first ones connect.
        began = time.perf_counter()
        add(vector).numpy()
        seconds.append(time.perf_counter() - began)
    print(json.dumps(sorted(seconds[3:])[count // 2]))


if __name__ == "__main__":
    main()
