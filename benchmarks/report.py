"""Result tables, for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

from rich import box
from rich.markup import escape
from rich.table import Table as RichTable

from benchmarks.results import CaseResult, Measured, PartResult, Spread, Table

# Packages listed in the report; results.json lists all of them.
VERSIONS = ("python", "tensorflow", "keras", "numpy", "torch", "lightning", "yoyodyne")
HOW_TO_READ = (
    "Each cell is the median over the rounds. A number after × is the ratio of this contestant's "
    "time to ours in the same round, as median (minimum–maximum): above 1 we are faster, below 1 "
    "slower."
)


def number(value: float) -> str:
    """Formats a positive number with about three digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def spread(values: Spread | None, scale: float = 1.0) -> str:
    """Formats a spread as `median (minimum–maximum)`."""
    if values is None:
        return "–"
    median, minimum, maximum = (number(value * scale) for value in values)
    return f"{median} ({minimum}–{maximum})"


def cell(result: CaseResult, measured: Measured | None, scale: float) -> str:
    """Formats one contestant's time and its ratio to the first contestant's."""
    if measured is None:
        return "–"
    if measured.seconds is None:
        return "failed" if measured.error else "…"
    time = number(measured.seconds.median * scale)
    if measured is result.contestants[0]:
        return time
    ratio = result.ratio(measured)
    return f"{time} · ×{spread(ratio)}" if ratio else time


def case_table(result: CaseResult) -> RichTable:
    """Returns the table of one case, with a row per contestant."""
    columns = ["contestant", "ms", "this ÷ ours", "rounds", "first s", "parameters"]
    table = RichTable(*columns, title=result.name, box=box.SIMPLE)
    for measured in result.contestants:
        state = measured.error.strip().splitlines()[-1] if measured.error else None
        table.add_row(
            measured.name,
            escape(state) if state else spread(measured.seconds, 1e3),
            "" if measured is result.contestants[0] else spread(result.ratio(measured)),
            str(len(measured.rounds)),
            f"{measured.first_seconds:.1f}",
            f"{measured.info['parameters']:,}" if "parameters" in measured.info else "",
        )
    return table


def comparison(
    title: str, cases: Sequence[CaseResult], unit: str = "ms", scale: float = 1e3
) -> Table:
    """Returns a table with a row per case and a column per contestant, and verdicts below it."""
    names = list(dict.fromkeys(m.name for case in cases for m in case.contestants))
    rows = []
    for case in cases:
        by_name = {measured.name: measured for measured in case.contestants}
        rows.append([case.name, *(cell(case, by_name.get(name), scale) for name in names)])
    notes = [verdict(name, cases) for name in names[1:]] + failures(cases)
    return Table(f"{title} ({unit})", ["case", *names], rows, [HOW_TO_READ, *notes])


def verdict(name: str, cases: Sequence[CaseResult]) -> str:
    """Lists the cases in which the first contestant is faster or slower in every round."""
    found: dict[str, list[str]] = {"faster": [], "slower": [], "undecided": []}
    for case in cases:
        for measured in case.contestants:
            ratio = case.ratio(measured) if measured.name == name else None
            if ratio is not None:
                word = "faster" if ratio.minimum > 1 else "slower" if ratio.maximum < 1 else None
                found[word or "undecided"].append(f"{case.name} ×{number(ratio.median)}")
    verdicts = [
        f"{word} in {len(where)} ({'; '.join(where)})" for word, where in found.items() if where
    ]
    ours = cases[0].contestants[0].name
    return (
        f"{ours} against {name}, over all rounds: " + (", ".join(verdicts) or "not measured") + "."
    )


def failures(cases: Sequence[CaseResult]) -> list[str]:
    """Lists the contestants that failed, each with the last line of the reason."""
    return [
        f"{measured.name} failed in {case.name}: {measured.error.strip().splitlines()[-1]}"
        for case in cases
        for measured in case.contestants
        if measured.error
    ]


def utilisation(cases: Sequence[CaseResult]) -> Table:
    """Returns a table of the share of its turns in which a contestant kept the GPU busy."""
    return _by_contestant("Time in which some kernel runs on the GPU (%)", cases, _percent)


def _percent(measured: Measured | None) -> str:
    answers = measured.answers if measured else []
    found = [a["gpu_percent"] for a in answers if a.get("gpu_percent") is not None]
    return f"{fmean(found):.0f}" if found else "–"


def parameters(cases: Sequence[CaseResult]) -> Table:
    """Returns a table of every contestant's trained weights and first repetition."""
    title = "Parameters; seconds of the first repetition, which includes compilation"
    return _by_contestant(title, cases, _about)


def _by_contestant(
    title: str, cases: Sequence[CaseResult], cell: Callable[[Measured | None], str]
) -> Table:
    """Returns a table with a row per case and a column per contestant."""
    names = list(dict.fromkeys(m.name for case in cases for m in case.contestants))
    rows = []
    for case in cases:
        by_name = {measured.name: measured for measured in case.contestants}
        rows.append([case.name, *(cell(by_name.get(name)) for name in names)])
    return Table(title, ["case", *names], rows)


def _about(measured: Measured | None) -> str:
    if measured is None or "parameters" not in measured.info:
        return "–"
    return f"{measured.info['parameters']:,}; {number(measured.first_seconds)} s"


def rich_table(table: Table) -> RichTable:
    """Returns a finished table for the terminal."""
    shown = RichTable(*table.columns, title=table.title, box=box.SIMPLE, caption_justify="left")
    for row in table.rows:
        shown.add_row(*map(escape, row))
    shown.caption = escape("\n".join(table.notes)) if table.notes else None
    return shown


def markdown(parts: Sequence[PartResult], versions: dict[str, dict[str, str]]) -> str:
    """Returns the whole report."""
    lines = ["# Benchmark results", ""]
    lines += ["Written by `python -m benchmarks`; `results.json` holds every round.", ""]
    for part in parts:
        lines += [f"## {part.name}", ""]
        lines += ["; ".join(f"{name}: {value}" for name, value in part.about.items()), ""]
        for table in part.tables:
            lines += [f"### {table.title}", "", _row(table.columns)]
            lines += [_row(["---"] * len(table.columns)), *map(_row, table.rows), ""]
            lines += [f"- {note}" for note in table.notes] + [""] * bool(table.notes)
    lines += ["## Versions", ""]
    for name, packages in versions.items():
        shown = [package for package in VERSIONS if package in packages]
        listed = ", ".join(f"{package} {packages[package]}" for package in shown)
        lines += [f"{name}: {listed}", ""]
    return "\n".join(lines).rstrip() + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in cells) + " |"
