"""The machine's limit, and how near a training step of ours comes to it."""

from __future__ import annotations

from benchmarks.context import Context
from benchmarks.interleave import Contestant
from benchmarks.parts.step import FORMULA, flops, make_spec, ours
from benchmarks.report import failures, number
from benchmarks.results import PartResult, Table


def run(context: Context) -> PartResult:
    """Measures matrix products and our training step in turns."""
    size = (5, 12, 16, 32) if context.is_quick else (20, 30, 512, 256)
    side = 128 if context.is_quick else 2048
    spec = make_spec("lstm", *size)
    product = {"size": side, "library": "tensorflow"}
    contestants = [
        ours("our step, float32", spec),
        ours("our step, mixed_bfloat16", {**spec, "precision": "mixed_bfloat16"}),
        Contestant("NumPy matmul, float32", "machine_limit", {**product, "library": "numpy"}),
        Contestant("TF matmul, float32", "machine_limit", {**product, "precision": "float32"}),
        Contestant("TF matmul, bfloat16", "machine_limit", {**product, "precision": "bfloat16"}),
    ]
    case = context.measure("Machine's limit", contestants)
    counts = [flops("lstm", *size)] * 2 + [2.0 * side**3] * 3
    # The rate that a step is compared with: the best round of any product of its precision.
    best = [
        count / measured.seconds.minimum if measured.seconds else 0.0
        for count, measured in zip(counts, case.contestants, strict=True)
    ]
    limits = [max(best[2:4]), best[4]]
    rows = []
    for i, (count, measured) in enumerate(zip(counts, case.contestants, strict=True)):
        if measured.seconds is None:
            rows.append([measured.name, "failed", "", "", ""])
            continue
        share = f"{best[i] / limits[i]:.0%}" if i < 2 and limits[i] else ""
        rate = count / measured.seconds.median
        rows.append([measured.name, number(count / 1e9), number(best[i] / 1e9),
                     number(rate / 1e9), share])  # fmt: skip
    title = f"GFLOP/s: matmul {side}³, and an LSTM step at T, V, U, B = {', '.join(map(str, size))}"
    columns = ["what", "GFLOP", "GFLOP/s, best", "GFLOP/s, median", "share of matmul, best of both"]
    notes = [FORMULA, *failures([case])]
    return PartResult("The machine's limit", [case], [Table(title, columns, rows, notes)])
