"""Trains one run by several workers of a Ray cluster.

python on_ray.py 4 RUN_DIR experiment=g2p data.train=F data.dev=F

All nodes share the folder RUN_DIR and the data.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

import ray

from seq2seq.config.workers import tf_config

TRIES = 10


@ray.remote(num_cpus=1)
class Worker:
    """A process of one node; Ray spreads them."""

    def address(self) -> str:
        """Returns the address of this node with a free port."""
        with socket.socket() as found:
            found.bind(("", 0))
            return f"{ray.util.get_node_ip_address()}:{found.getsockname()[1]}"

    def train(self, addresses: list[str], number: int, words: list[str]) -> int:
        """Trains; returns the exit code."""
        environment = {**os.environ, "TF_CONFIG": tf_config(addresses, number)}
        command = [sys.executable, "-m", "seq2seq", "train", *words]
        return subprocess.run(command, env=environment, check=False).returncode


def main(count: int, run: str, *words: str) -> int:
    """Trains until the run is finished; a lost worker ends all, and all start again."""
    ray.init()
    for _ in range(TRIES):
        begin = [*words, f"run_dir={run}", "training.strategy=multi_worker"]
        now = [f"resume={run}"] if Path(run, "config.yaml").exists() else begin
        workers = [Worker.options(scheduling_strategy="SPREAD").remote() for _ in range(count)]
        addresses = ray.get([worker.address.remote() for worker in workers])
        ended = [w.train.remote(addresses, number, now) for number, w in enumerate(workers)]
        try:
            codes = ray.get(ended)
        except ray.exceptions.RayError:  # A node has gone; the others end with 75.
            continue
        if 75 not in codes:
            return max(codes)
    return 75


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), *sys.argv[2:]))
