"""The rules of `config/machine_rule.py`: each choice beside its alternatives, on this machine."""

from __future__ import annotations

from benchmarks import report
from benchmarks.context import Context
from benchmarks.interleave import Contestant
from benchmarks.parts import step
from benchmarks.results import CaseResult, PartResult, Table

UNITS = (64, 128, 256, 512, 1024)
BATCHES = (16, 32, 128, 512)
LENGTH, VOCABULARY = 12, 40
PARTS = (1, 2, 4)
MIN_ROWS = 8
TOLERANCE = 1.05
NOTES = [
    "`chosen` is what null means on this machine for training.micro_batches and "
    "training.jit_compile; its micro-batches are in brackets. An alternative is faster if its "
    f"ratio is below 1; the last column tells whether the choice is within {TOLERANCE - 1:.0%} of "
    "the best one.",
]


def run(context: Context) -> PartResult:
    """Measures the sizes of the part `step`, and a grid of units and batches."""
    sizes = [("lstm", *size) for size in step.SIZES] + [("gru", *size) for size in step.SIZES]
    sizes += [("lstm", LENGTH, VOCABULARY, units, batch) for units in UNITS for batch in BATCHES]
    if context.is_quick:
        sizes = [("lstm", 5, 12, 16, 32)]
    result = PartResult("Choices that follow the machine")
    for size in sizes:
        made = contestants(step.make_spec(*size))
        result.cases.append(context.measure(step.case_name(*size), made, turn_seconds=0.5))
    result.tables.append(verdicts(result.cases))
    return result


def contestants(spec: dict) -> list[Contestant]:
    """Returns the choice, every number of micro-batches, and the step without XLA."""
    alternatives = {
        f"{parts} micro-batch{'es' * (parts != 1)}": f"training.micro_batches={parts}"
        for parts in PARTS
        if spec["batch"] >= MIN_ROWS * parts
    }
    alternatives["not compiled"] = "training.jit_compile=false"
    return [
        step.ours("chosen", spec),
        *(step.ours(name, {**spec, "settings": [word]}) for name, word in alternatives.items()),
    ]


def verdicts(cases: list[CaseResult]) -> Table:
    """Returns a row per case: milliseconds of the choice, ratios of the alternatives, a verdict."""
    names = list(dict.fromkeys(m.name for case in cases for m in case.contestants[1:]))
    rows = []
    for case in cases:
        chosen, *others = case.contestants
        ratios = {m.name: ratio.median for m in others if (ratio := case.ratio(m))}
        time = report.number(chosen.seconds.median * 1e3) if chosen.seconds else "failed"
        is_good = min(ratios.values(), default=1.0) * TOLERANCE >= 1
        rows.append(
            [
                case.name,
                f"{time} [{chosen.info.get('micro_batches', '–')}]",
                *(report.number(ratios[name]) if name in ratios else "–" for name in names),
                "yes" if is_good else "no",
            ]
        )
    columns = ["case", "chosen, ms", *(f"{name} ÷ chosen" for name in names), "good"]
    return Table("Choices (ratios)", columns, rows, NOTES)
