"""Where the time of our own steps and searches goes."""

from __future__ import annotations

from typing import Any

from benchmarks.context import Context
from benchmarks.data import first_column
from benchmarks.interleave import Contestant
from benchmarks.parts.epoch import make_spec as make_epoch
from benchmarks.parts.step import SIZES
from benchmarks.parts.step import make_spec as make_step
from benchmarks.parts.words import make_spec as make_words
from benchmarks.report import failures, number
from benchmarks.results import Measured, PartResult, Table
from benchmarks.workers.protocol import cores

MOST_ROUNDS = 3
KINDS = ("matrix products", "everything else", "XLA's bookkeeping")
NOTES = [
    "Of the time of all cores together: what they did of XLA's programs in it. `waiting`: for the "
    "other core, for Python, on the way into a program and out of it.",
    "Matrix products cost any program of these sizes as much. The profiler takes time, too: up to "
    "a fifth, most of it outside of the products.",
]


def run(context: Context) -> PartResult:
    """Profiles training steps, an epoch, and with models of the part `epoch` search over words."""
    contestants = []
    for cell in ("lstm", "gru"):
        for size in [(5, 12, 16, 32)] if context.is_quick else SIZES:
            name = f"{cell.upper()} step, T, V, U, B = {', '.join(map(str, size))}"
            step = make_step(cell, *size)
            contestants.append(_contestant(name, step, step["steps"]))
    contestants.append(_contestant("epoch", {**make_epoch(context), "in_memory": True}))
    if context.trained is not None:
        first_column(context.dev, context.words)
        contestants += [
            _contestant(f"words, {search}", make_words(context, search))
            for search in ("greedy", "beam")
        ]
    cases = [
        context.measure(one.name, [one], MOST_ROUNDS, turn_seconds=None) for one in contestants
    ]
    rows = [_row(case.contestants[0]) for case in cases if case.contestants[0].answers]
    columns = ["what", "ms", *KINDS, "waiting"]
    table = Table("Shares of the cores' time", columns, rows, [*NOTES, *failures(cases)])
    return PartResult("Where time goes", cases, [table])


def _contestant(name: str, spec: dict[str, Any], work: float = 1.0) -> Contestant:
    return Contestant(name, "profile", spec, work=work)


def _row(measured: Measured) -> list[str]:
    """Sums all rounds up."""
    assert measured.seconds is not None
    answers, wall = measured.answers, sum(measured.rounds.values()) * measured.work
    kinds = [sum(answer["kinds"].get(kind, 0.0) for answer in answers) for kind in KINDS]
    shares = [seconds / (cores() * wall) for seconds in kinds]
    shares.append(1.0 - sum(shares))
    return [measured.name, number(measured.seconds.median * 1e3), *(f"{one:.0%}" for one in shares)]
