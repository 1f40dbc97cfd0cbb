"""Whether memory stays flat: training on a file, and decoding one, a hundred times as long."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.context import Context
from benchmarks.data import write_pairs, write_words
from benchmarks.interleave import ROOT, Contestant, environment
from benchmarks.report import failures, number
from benchmarks.results import CaseResult, Measured, PartResult, Table

STEPS = 300
NOTE = "A process of its own each; several hundred MiB are TensorFlow's."


def run(context: Context) -> PartResult:
    """Measures the peak memory of training and of decoding."""
    result = PartResult("Long files")
    for part in (_training, _decoding):
        case, table = part(context)
        result.cases.append(case)
        result.tables.append(table)
    return result


def _training(context: Context) -> tuple[CaseResult, Table]:
    few, many = (300, 3_000) if context.is_quick else (30_000, 3_000_000)
    dev = write_pairs(context.work / "few_pairs.tsv", 100)
    short = write_pairs(context.work / "short.tsv", few)
    long = write_pairs(context.work / "long.tsv", many)
    held = "data.in_memory_mib=null"
    files = {
        f"{few:,} lines": (short, []),
        f"{many:,} lines": (long, ["data.in_memory_mib=0"] if context.is_quick else []),
        f"{many:,} lines, {held}": (long, [held]),
    }
    spec = {"task": "stream", "dev": str(dev), "units": 64, "batch": 64, "steps": STEPS}
    contestants = [
        Contestant(name, "ours", {**spec, "train": str(file), "overrides": overrides}, work=STEPS)
        for name, (file, overrides) in files.items()
    ]
    case = context.measure("Training on a long file", contestants, 1, turn_seconds=None)
    rows = [
        [*_memory(measured, file), number(measured.info.get("load_seconds", 0.0)),
         number(1e3 * measured.seconds.median) if measured.seconds else "failed"]
        for measured, (file, _) in zip(case.contestants, files.values(), strict=True)
    ]  # fmt: skip
    notes = [NOTE, f"After {2 * STEPS} steps: LSTM, 64 units, batch 64.", *failures([case])]
    columns = ["training file", "size", "peak resident memory",
               "reading, indexing and counting tokens, s", "ms per step"]  # fmt: skip
    return case, Table("Training on a long file", columns, rows, notes)


def _decoding(context: Context) -> tuple[CaseResult, Table]:
    few, many = (10, 1_000) if context.is_quick else (10_000, 1_000_000)
    run = _train_small(context)
    files = {f"{n:,} lines": write_words(context.work / f"{n}.txt", n) for n in (few, many)}
    contestants = [
        Contestant(name, "process", {
            "command": [sys.executable, "infer.py", f"run={run}", f"input={file}",
                        f"output={file}.out", "decoding=greedy"],
            "report": str(context.work / "none.json"),
        })
        for name, file in files.items()
    ]  # fmt: skip
    case = context.measure("Decoding a long file", contestants, 1, turn_seconds=None)
    rows = [
        [
            *_memory(measured, file),
            number(measured.seconds.median) if measured.seconds else "failed",
        ]
        for measured, file in zip(case.contestants, files.values(), strict=True)
    ]
    notes = [NOTE, "infer.py, greedy: LSTM, 16 units.", *failures([case])]
    columns = ["file of words", "size", "peak resident memory", "whole process, s"]
    return case, Table("Decoding a long file", columns, rows, notes)


def _memory(measured: Measured, file: Path) -> list[str]:
    peak = f"{measured.answers[-1]['peak_bytes'] / 2**20:,.0f} MiB" if measured.answers else "–"
    return [measured.name, f"{file.stat().st_size / 2**20:,.1f} MiB", peak]


def _train_small(context: Context) -> Path:
    """Trains a small model for an epoch and returns its run folder."""
    run = context.work / "streams"
    train, dev = write_pairs(context.work / "some_pairs.tsv", 10_000), context.dev
    command = [sys.executable, "train.py", "data=tsv", f"data.train={train}", f"data.dev={dev}",
               "data.target.tokens=word", "model.units=16", "training.epochs=1",
               "callbacks.tensorboard=false", f"run_dir={run}"]  # fmt: skip
    subprocess.run(command, cwd=ROOT, env=environment(), check=True, capture_output=True)
    return run
