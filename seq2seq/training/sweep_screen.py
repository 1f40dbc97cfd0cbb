"""Screen of a sweep: bars of the running jobs, a line for each that ends, and `sweep.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from seq2seq.errors import visible
from seq2seq.evaluation.metrics import format_metric
from seq2seq.files import write_text
from seq2seq.training.run_bars import RunBars
from seq2seq.training.screen import Screen, short_time
from seq2seq.training.sweep_job import SweepJob

_COLUMNS = ("overrides", "status", "score", "run", "problem", "seconds")
_MAX_LINE = 500  # characters


class SweepScreen:
    """A context that shows the jobs of a sweep, and keeps `sweep.csv` up to date."""

    def __init__(self, jobs: Sequence[SweepJob], table: Path, screen: Screen) -> None:
        """Writes the table; `jobs` are all jobs in their order."""
        self._jobs, self._table = jobs, table
        self._names = differing([job.overrides for job in jobs])
        self._screen = screen
        self._bars = RunBars(self._screen.console, only_at_a_terminal=True)
        self._save()

    def __enter__(self) -> SweepScreen:
        self._bars.__enter__()
        for job in self._jobs:
            if job.plan is None:
                self.show(job)
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.__exit__()

    def look(self) -> None:
        """Brings the bars up to date."""
        self._bars.look()

    def show(self, job: SweepJob) -> None:
        """Shows a job whose status has changed."""
        self._save()
        number = self._jobs.index(job)
        name, text = f"job {number}", self._names[number]
        told = job.status
        if job.status == "running":
            assert job.run is not None
            self._bars.add(job.run, name, text)
            told = "resumes" if job.run.config_file.is_file() else "begins"
        elif job.run is not None:
            self._bars.remove(job.run)
        if job.seconds:
            told += f" after {short_time(job.seconds)}"
        if job.score is not None:
            assert job.plan is not None
            monitor = job.plan.config.training.monitor.value
            told += f", dev {monitor} {format_metric(monitor, job.score)}"
        if job.problem:
            told += f": {job.problem}"
        self._screen.line(visible(f"{name:<11} {told}{f'  ({text})' if text else ''}", _MAX_LINE))

    def _save(self) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for job in self._jobs:
            score = "" if job.score is None else f"{job.score:.4f}"
            seconds = f"{job.seconds:.0f}" if job.seconds else ""
            run = str(job.run.path) if job.run else ""
            writer.writerow([job.overrides, job.status, score, run, job.problem, seconds])
        write_text(self._table, text.getvalue())


def differing(overrides: Iterable[str]) -> list[str]:
    """Returns the overrides of each job without those that all jobs have."""
    words = [one.split(" ") for one in overrides]
    common = set(words[0]).intersection(*words[1:]) if words[1:] else set()
    return [" ".join(word for word in own if word not in common) for own in words]
