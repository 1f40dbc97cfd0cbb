"""Bars of runs that other processes train, read from their folders."""

from __future__ import annotations

import contextlib

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from seq2seq.config.schema import TrainingConfig
from seq2seq.errors import UserError
from seq2seq.evaluation.metrics import METRICS, format_metric
from seq2seq.runs.run_dir import RunDir


class RunBars:
    """A context that shows a bar for each run: its epoch, its best dev score, and its time."""

    def __init__(self, console: Console, *, only_at_a_terminal: bool = False) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("epoch {task.completed:.0f} of {task.fields[epochs]}"),
            TextColumn("{task.fields[score]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            console=console,
            disable=only_at_a_terminal and not console.is_terminal,
        )
        self._tasks: dict[RunDir, TaskID] = {}
        self._settings: dict[RunDir, TrainingConfig] = {}

    def __enter__(self) -> RunBars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def add(self, run: RunDir, name: str, text: str = "") -> None:
        """Adds the bar of a run, with a text behind it."""
        self._tasks[run] = self._progress.add_task(
            name, total=None, epochs="?", score="", text=text
        )

    def remove(self, run: RunDir) -> None:
        """Removes the bar of a run, if it has one."""
        if run in self._tasks:
            self._progress.remove_task(self._tasks.pop(run))

    def look(self) -> None:
        """Brings all bars up to date, as far as the runs' files exist already."""
        for run, task in self._tasks.items():
            with contextlib.suppress(UserError, ValueError):
                if run not in self._settings:
                    self._settings[run] = run.load_config().training
                settings, rows = self._settings[run], run.load_metrics()
                name = settings.monitor.value
                scores = [float(row[key]) for row in rows if row.get(key := f"dev_{name}")]
                best = max(scores, key=METRICS[name].rank, default=None)
                self._progress.update(
                    task,
                    total=settings.epochs,
                    completed=len(rows),
                    epochs=settings.epochs,
                    score="" if best is None else format_metric(name, best),
                )
