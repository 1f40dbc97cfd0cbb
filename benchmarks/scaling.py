"""What bounds data-parallel training: `python -m benchmarks.scaling`.

Measures a step by its rows, and an all-reduce among local workers; predicts the speed of 1, 2 and 4
local workers and measures it, then predicts that of many machines on faster and slower networks.
`docs/scale.md` explains the model and has a run of it.
"""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from seq2seq.config.workers import TF_CONFIG, tf_config

ROOT = Path(__file__).parent.parent
_EPOCHS = 4
_STEPS = 60  # per epoch
_ROUNDS = 3


class Model(NamedTuple):
    """A model to train, by its size."""

    units: int
    batch: int
    length: int = 10
    symbols: int = 50


class Network(NamedTuple):
    """A connection between workers: seconds per message, and bytes per second."""

    name: str
    latency: float
    rate: float


# Rates of one port as published; latencies of a message through the kernel, or by RDMA.
NETWORKS = (
    Network("1 Gbit/s Ethernet", 50e-6, 1.25e8),
    Network("10 Gbit/s Ethernet", 30e-6, 1.25e9),
    Network("100 Gbit/s with RDMA", 5e-6, 1.25e10),
)
MODELS = (Model(128, 64), Model(256, 64), Model(512, 256))
WORKERS = (10, 100, 1000)


def ring_seconds(workers: int, size: int, network: Network) -> float:
    """Returns the seconds of an all-reduce of `size` bytes in a ring.

    Each worker sends 2 · (N - 1) messages of a part of N (Patarasuk & Yuan 2009).
    """
    messages = 2 * (workers - 1)
    return messages * (network.latency + size / workers / network.rate)


def train(model: Model, batch: int, workers: int, cores: int) -> tuple[float, int]:
    """Returns the seconds of a step and the number of weights, from `train.py` itself."""
    words = [
        f"data.train_examples={_STEPS * batch}",
        f"data.symbols={model.symbols}",
        f"data.min_length={model.length}",
        f"data.max_length={model.length}",
        "data.dev_examples=8",
        "data.test_examples=0",
        f"model.units={model.units}",
        f"training.batch_size={batch}",
        f"training.micro_batches={workers if workers > 1 else cores}",
        f"training.epochs={_EPOCHS}",
        "training.patience=null",
        "callbacks.report=false",
        "callbacks.tensorboard=false",
        *([f"workers={workers}"] if workers > 1 else []),
    ]
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        subprocess.run(
            [sys.executable, ROOT / "train.py", *words, f"run_dir={run}"],
            check=True,
            capture_output=True,
            preexec_fn=lambda: os.sched_setaffinity(0, range(cores)),
        )
        rows = [*csv.DictReader((run / "metrics.csv").read_text().splitlines())]
        parameters = json.loads((run / "results.json").read_text())["parameters"]
    # The first epoch compiles.
    return batch / median(float(row["examples_per_second"]) for row in rows[1:]), parameters


def all_reduce_seconds(workers: int, numbers: int) -> float:
    """Returns the seconds of an all-reduce among processes of this machine."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(workers)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.workers.all_reduce", str(numbers), "200"],
            cwd=ROOT,
            env={**os.environ, TF_CONFIG: tf_config(addresses, number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for number in range(workers)
    ]
    outputs = [process.communicate()[0] for process in processes]
    return max(float(json.loads(output)) for output in outputs)


def loopback(size: int) -> Network:
    """Returns latency and rate of this machine's loopback, from two sizes between two workers."""
    sizes = 64, size // 4  # numbers
    small, large = (median(all_reduce_seconds(2, n) for _ in range(_ROUNDS)) for n in sizes)
    latency = small / 2
    return Network("loopback", latency, size / max(1e-9, large - small))


def check(console: Console, model: Model) -> tuple[dict[int, float], int]:
    """Predicts and measures 1, 2 and 4 local workers; returns seconds by rows, and bytes."""
    cores = len(os.sched_getaffinity(0))
    by_rows = {}
    for rows in (model.batch // 4, model.batch // 2, model.batch):
        found = [train(model, rows, 1, 1) for _ in range(_ROUNDS)]
        by_rows[rows], parameters = median(seconds for seconds, _ in found), found[0][1]
    size, network = 4 * parameters, loopback(4 * parameters)
    console.print(
        f"{model.units} units, {parameters:,} weights, {size / 2**20:.1f} MiB of gradients; "
        f"loopback {1e3 * network.latency:.2f} ms a message, {network.rate / 2**20:.0f} MiB/s"
    )
    table = Table("workers", "rows each", "step alone", "all-reduce", "predicted", "measured")
    for workers in (1, 2, 4):
        rows = model.batch // workers
        # More workers than cores take turns.
        alone = by_rows[rows] * max(1.0, workers / cores)
        added = ring_seconds(workers, size, network) if workers > 1 else 0.0
        measured = median(train(model, model.batch, workers, 1 if workers == 1 else cores)[0]
                          for _ in range(_ROUNDS))  # fmt: skip
        cells = [1e3 * seconds for seconds in (alone, added, alone + added, measured)]
        table.add_row(str(workers), str(rows), *(f"{cell:.1f} ms" for cell in cells))
    console.print(table)
    return by_rows, size


def predict(console: Console, model: Model, by_rows: dict[int, float], size: int) -> None:
    """Shows how many times as fast many machines would train, with more rows or with as many."""
    slow, fast = max(by_rows), min(by_rows)
    per_row = (by_rows[slow] - by_rows[fast]) / (slow - fast)
    fixed = by_rows[slow] - per_row * slow
    alone = by_rows[model.batch]
    table = Table("network", *(f"{n} workers" for n in WORKERS))
    for network in NETWORKS:
        weak, strong = [], []
        for workers in WORKERS:
            added = ring_seconds(workers, size, network)
            weak.append(workers * alone / (alone + added))
            rows = max(1, model.batch // workers)
            strong.append(alone / (fixed + per_row * rows + added))
        table.add_row(f"{network.name}, {model.batch} rows each", *(f"{n:.1f} ×" for n in weak))
        table.add_row(f"{network.name}, {model.batch} rows in all", *(f"{n:.1f} ×" for n in strong))
    console.print(table)


def main(models: Sequence[Model] = MODELS) -> None:
    """Measures, checks and predicts for each model."""
    console = Console()
    for model in models:
        predict(console, model, *check(console, model))


if __name__ == "__main__":
    main()
