"""The machine's limit, and how near a training step of ours comes to it."""

from __future__ import annotations

from benchmarks.context import Context
from benchmarks.interleave import Contestant
from benchmarks.parts.step import make_spec, ours
from benchmarks.report import failures, number
from benchmarks.results import PartResult, Table

FORMULA = (
    "FLOPs of an LSTM step: 3 · (2 · [2 · B · T · U · 4U] + [2 · B · T · U · V]). Forward, the "
    "encoder's and the decoder's recurrent products and the logits; each product costs as much "
    "again for the gradient of either factor, hence 3. One-hot inputs are gathered rows and count "
    "zero, as do gates, softmax and Adam."
)


def step_flops(length: int, vocabulary: int, units: int, batch: int) -> float:
    """Returns the floating-point operations of one training step; see `FORMULA`."""
    tokens = batch * length
    recurrent = 2 * tokens * units * 4 * units
    logits = 2 * tokens * units * vocabulary
    return 3.0 * (2 * recurrent + logits)


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
    flops = [step_flops(*size)] * 2 + [2.0 * side**3] * 3
    # The rate that a step is compared with: the best round of any product of its precision.
    best = [
        count / measured.seconds.minimum if measured.seconds else 0.0
        for count, measured in zip(flops, case.contestants, strict=True)
    ]
    limits = [max(best[2:4]), best[4]]
    rows = []
    for i, (count, measured) in enumerate(zip(flops, case.contestants, strict=True)):
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
