"""Views of a leaderboard: a table for the terminal, and CSV."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterator
from typing import IO

from rich import box
from rich.table import Table
from rich.text import Text

from seq2seq.config.choices import Status
from seq2seq.console import Console
from seq2seq.errors import visible
from seq2seq.evaluation.leaderboard import Board, Row
from seq2seq.evaluation.metrics import format_mean

_MAX_CELL = 60  # characters
_MAX_NAMED = 2  # runs of a row that the terminal names
MOST_ROWS = 100  # that the terminal shows, unless asked for others


def board_table(board: Board, rows: int | None = MOST_ROWS) -> Table:
    """Returns the best rows of the board, or all, as a table of Rich."""
    table = Table(title=board.metric, box=box.SIMPLE_HEAD)
    table.add_column("", justify="right")
    for split in _splits(board):
        table.add_column(split, justify="right", no_wrap=True)
    for name in board.settings:
        table.add_column(name, overflow="fold")
    for name in ("runs", "time"):
        table.add_column(name, justify="right")
    table.add_column("folder", overflow="fold")
    for number, row in enumerate(board.rows[:rows], start=1):
        scores = [score_text(board, row, split) for split in _splits(board)]
        settings = [visible(text, _MAX_CELL) for text in row.settings]
        cells = [str(number), *scores, *settings, str(len(row.runs)), time_text(row), _folders(row)]
        table.add_row(*map(Text, cells))
    return table


def show_board(board: Board, console: Console, rows: int | None = MOST_ROWS) -> None:
    """Prints the best rows of the board, and the command that compares its best two runs."""
    console.print(board_table(board, rows))
    if rows is not None and len(board.rows) > rows:
        console.print(Text(f"{len(board.rows) - rows} more rows: rows=null, or format=csv"))
    best = [row.runs[0] for row in board.rows if row.status is Status.finished][:2]
    if len(best) == 2:
        names = ",".join(visible(str(run.path), 200) for run in best)
        line = f"compare the first two: python -m seq2seq.compare 'runs=[{names}]'"
        console.print(Text(line), soft_wrap=True)


def write_csv(board: Board, output: IO[str]) -> None:
    """Writes the board as CSV, with all digits."""
    writer = csv.writer(output, lineterminator="\n")
    splits = ("dev", "test")
    scores = [f"{split}_{board.metric}{end}" for split in splits for end in ("", "_sd")]
    writer.writerow(["rank", "status", *scores, *board.settings, "runs", "seconds", "folders"])
    for number, row in enumerate(board.rows, start=1):
        numbers = [number for split in splits for number in _mean_and_sd(row, split)]
        seconds = "" if row.mean_seconds is None else f"{row.mean_seconds:.1f}"
        folders = " ".join(str(run.path) for run in row.runs)
        start = [number, row.status, *numbers]
        writer.writerow([*start, *row.settings, len(row.runs), seconds, folders])


def score_text(board: Board, row: Row, split: str) -> str:
    """Returns the score of a row on a split, or why it has none."""
    if values := row.scores[split]:
        return format_mean(board.metric, values)
    return "" if row.status is Status.finished else str(row.status)


def time_text(row: Row) -> str:
    """Returns the mean training time, such as `1:02:03`."""
    if row.mean_seconds is None:
        return ""
    minutes, seconds = divmod(round(row.mean_seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def _mean_and_sd(row: Row, split: str) -> Iterator[str]:
    values = row.scores[split]
    yield f"{statistics.mean(values):.6g}" if values else ""
    yield f"{statistics.stdev(values):.6g}" if len(values) > 1 else ""


def _splits(board: Board) -> list[str]:
    """Returns dev, and test if a run has it."""
    return [split for split in ("dev", "test") if split == "dev" or _has_split(board, split)]


def _has_split(board: Board, split: str) -> bool:
    return any(row.scores[split] for row in board.rows)


def _folders(row: Row) -> str:
    named = [visible(str(run.path), 200) for run in row.runs[:_MAX_NAMED]]
    more = len(row.runs) - len(named)
    return "\n".join([*named, *([f"and {more} more"] if more else [])])
