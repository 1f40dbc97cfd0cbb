"""Views of a comparison of two runs: tables for the terminal, and a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from seq2seq.config.commands import CompareConfig
from seq2seq.console import Console
from seq2seq.errors import visible
from seq2seq.evaluation.comparison import Change, Comparison, compare_runs, find_pair
from seq2seq.evaluation.page import Page
from seq2seq.files import local_path
from seq2seq.inference.output_file import writing_output

_MAX_PRINTED, _MAX_ON_PAGE = 10, 200  # changed examples of either kind
_MAX_CELL = 200  # characters
_COLUMNS = ("source", "reference", "A", "B")


def show_comparison(config: CompareConfig) -> None:
    """Compares two runs; prints the result, and writes it as a page if `report` is set.

    Raises:
        UserError: The runs cannot be compared, or the page cannot be written.
    """
    sides = find_pair(config.runs)
    names = [str(side.folder.path) for side in sides]
    found = compare_runs(sides, config.data.test)
    _print(found, names)
    if config.report is not None:
        with writing_output(local_path(config.report)) as output:
            output.write(comparison_page(found, names))


def _print(found: Comparison, names: Sequence[str]) -> None:
    """Prints the scores of both runs and some of the examples that changed."""
    console = Console()
    for letter, name in zip("AB", names, strict=True):
        console.print(f"{letter}  {escape(name)}", soft_wrap=True, highlight=False)
    table = Table(title=f"{found.examples:,} sources of {escape(found.split)}", box=box.SIMPLE_HEAD)
    for column in ("", "A", "B", "B - A, 95 % interval"):
        table.add_column(column)
    for row in _score_rows(found):
        table.add_row(*map(escape, row))
    console.print(table)
    for title, changes in _kinds(found):
        shown = changes[:_MAX_PRINTED]
        table = Table(title=_title(title, shown, changes), box=box.SIMPLE_HEAD)
        for column in _COLUMNS:
            table.add_column(column, overflow="fold")
        for change in shown:
            table.add_row(*map(escape, _cells(change)))
        console.print(table)


def comparison_page(found: Comparison, names: Sequence[str]) -> str:
    """Returns the comparison as an HTML page."""
    page = Page("Comparison of two runs", visible(f"A: {names[0]}; B: {names[1]}", 5 * _MAX_CELL))
    page.heading(
        "Scores",
        f"{found.examples:,} sources of {visible(found.split, _MAX_CELL)}; the interval is of a "
        "paired bootstrap over examples. If it holds 0, the difference may be chance.",
    )
    page.table(["", "A", "B", "B - A, 95 % interval"], [*_score_rows(found)])
    for title, changes in _kinds(found):
        shown = changes[:_MAX_ON_PAGE]
        page.heading(title, f"{len(shown):,} of {len(changes):,} examples that one run has right.")
        page.table(_COLUMNS, [_cells(change) for change in shown])
    return page.html()


def _score_rows(found: Comparison) -> Iterator[tuple[str, str, str, str]]:
    (a, b), (low, high) = found.exact, found.exact_difference
    difference = f"{100 * (b - a):+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"
    yield "exact", f"{100 * a:.2f} %", f"{100 * b:.2f} %", difference
    (a, b), (low, high) = found.edits, found.edits_difference
    yield "edits per source", f"{a:.3f}", f"{b:.3f}", f"{b - a:+.3f} [{low:+.3f}, {high:+.3f}]"


def _kinds(found: Comparison) -> Iterator[tuple[str, list[Change]]]:
    yield "wrong → right", found.gained
    yield "right → wrong", found.lost


def _title(title: str, shown: Sequence[Change], changes: Sequence[Change]) -> str:
    return f"{title}: {len(shown):,} of {len(changes):,}"


def _cells(change: Change) -> list[str]:
    source, references, before, after = change
    cells = (source, " / ".join(references), before, after)
    return [visible(cell, _MAX_CELL) for cell in cells]
