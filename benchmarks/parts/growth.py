"""How our training step grows with length, batch, units and vocabulary, and its memory."""

from __future__ import annotations

from benchmarks.context import Context
from benchmarks.parts.step import make_spec, ours
from benchmarks.report import failures, number, spread
from benchmarks.results import CaseResult, PartResult, Table

BASE = make_spec("lstm", 20, 100, 256, 64)
SERIES = {
    "length T": (("length",), (10, 20, 40, 80)),
    "batch B": (("batch",), (16, 64, 256)),
    "units U": (("units",), (64, 128, 256, 512, 1024)),
    "source vocabulary": (("source_vocabulary",), (100, 1_000, 10_000, 50_000)),
    "both vocabularies": (("source_vocabulary", "target_vocabulary"), (100, 1_000, 10_000, 50_000)),
}


def run(context: Context) -> PartResult:
    """Varies one number at a time around a base point, then looks at the memory."""
    result = PartResult("Growth")
    for title, (keys, values) in SERIES.items():
        points = values[:2] if context.is_quick else values
        base = {**BASE, "steps": 2}
        if context.is_quick:
            base |= {"length": 5, "units": 16, "batch": 16}
        specs = [{**base, **dict.fromkeys(keys, value)} for value in points]
        contestants = [ours(f"{v:,}", spec) for v, spec in zip(points, specs, strict=True)]
        case = context.measure(f"Growth with {title}", contestants)
        result.cases.append(case)
        result.tables.append(_growth_table(title, points, case))
    case, table = _memory(context)
    result.cases.append(case)
    result.tables.append(table)
    return result


def _growth_table(title: str, values: tuple[int, ...], case: CaseResult) -> Table:
    rows = []
    for value, measured in zip(values, case.contestants, strict=True):
        ratio = case.ratio(measured)
        growth = f"× {number(ratio.median)}" if ratio else "–"
        rows.append(
            [measured.name, f"× {number(value / values[0])}", spread(measured.seconds, 1e3), growth]
        )
    base = ", ".join(f"{BASE[key]} {key.replace('_', ' ')}" for key in
                     ("length", "source_vocabulary", "units", "batch"))  # fmt: skip
    notes = [f"Around an LSTM step with: {base}.", *failures([case])]
    columns = [title, "grows", "ms per step, median (least–greatest)", "time grows"]
    return Table(f"Growth with {title}", columns, rows, notes)


def _memory(context: Context) -> tuple[CaseResult, Table]:
    """Compares the peak memory of training processes with what dense tensors would take."""
    many = 500 if context.is_quick else 50_000
    # Long sequences, so that dense ones would be far larger than the weights.
    shape = {"length": 50, "batch": 256, "units": 64, "steps": 1}
    if context.is_quick:
        shape |= {"length": 5, "batch": 16, "units": 16}
    specs = [
        {**BASE, **shape, "source_vocabulary": source, "target_vocabulary": target}
        for source, target in ((100, 100), (many, 100), (many, many))
    ]
    sizes = [(spec["source_vocabulary"], spec["target_vocabulary"]) for spec in specs]
    contestants = [
        ours(f"{source:,} and {target:,}", spec)
        for (source, target), spec in zip(sizes, specs, strict=True)
    ]
    case = context.measure("Memory", contestants, most_rounds=2, turn_seconds=None)
    rows = []
    for (source, target), measured in zip(sizes, case.contestants, strict=True):
        if not measured.answers:
            rows.append([measured.name, "failed", "", "", ""])
            continue
        # float32 weights, two moments of Adam, and a gradient per micro-batch
        kept = (3 + measured.info["micro_batches"]) * 4 * measured.info["parameters"]
        dense = [4 * shape["batch"] * shape["length"] * size for size in (source, target)]
        peak = measured.answers[-1]["peak_bytes"]
        rows.append(
            [measured.name, *(f"{value / 2**20:,.0f} MiB" for value in (peak, kept, *dense))]
        )
    columns = ["words of source and target", "peak resident memory of the process",
               "weights, Adam and gradients are", "a dense one-hot source [B, S, V] would be",
               "all logits [B, T, V] would be"]  # fmt: skip
    title = "Peak memory of training, T={length} B={batch} U={units}".format(**shape)
    notes = ["TensorFlow alone takes several hundred MiB.", *failures([case])]
    return case, Table(title, columns, rows, notes)
