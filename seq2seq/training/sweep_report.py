"""Sweep (`python train.py -m ...`): jobs that fail do not end it, and a table sums it up.

Hydra runs the jobs one after another and calls the methods of `SweepReport`, which `train.yaml`
names in `hydra.callbacks`.
"""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import traceback
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from seq2seq.errors import UserError, visible
from seq2seq.evaluation.metrics import format_mean
from seq2seq.files import write_text
from seq2seq.runs.run_dir import RunDir

log = logging.getLogger(__name__)

_MAX_LINE = 500


class Job(NamedTuple):
    """A job of a sweep, as a row of its table.

    Attributes:
        overrides: Its overrides, as on the command line.
        status: `finished`; `failed`; `left out`: an earlier start of the sweep finished it.
        score: The monitored dev metric of the best epoch, empty without one.
        run: The run folder, empty if there is none.
        problem: The reason of a failure.
    """

    overrides: str
    status: str
    score: str = ""
    run: str = ""
    problem: str = ""


class JobResult(NamedTuple):
    """Result of a job that did not fail."""

    status: str
    run: Path
    score: float


class SweepReport(Callback):
    """The table of a sweep: `sweep.csv` in its folder after each job, on the screen at its end."""

    def __init__(self) -> None:
        self._jobs: list[Job] = []

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Records a job, and its failure as an ordinary result, so that the others run."""
        if config.hydra.mode is not RunMode.MULTIRUN:
            return
        overrides = " ".join(HydraConfig.get().overrides.task)
        is_failed = job_return.status is JobStatus.FAILED
        job_return.status = JobStatus.COMPLETED  # Hydra raises the first failure at the end.
        result = job_return.return_value
        if is_failed:
            log.error("error: job %d failed: %s", len(self._jobs), result)
            self._jobs.append(_failed(overrides, result, Path(config.hydra.runtime.output_dir)))
        elif result is not None:
            score = f"{result.score:.4f}"
            self._jobs.append(Job(overrides, result.status, score, str(result.run)))
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([Job._fields, *self._jobs])
        write_text(Path(config.hydra.sweep.dir, "sweep.csv"), text.getvalue())

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Prints the table, and ends the program with exit code 1 if a job failed."""
        from rich.table import Table
        from rich.text import Text

        from seq2seq.console import Console

        table = Table("job", "status", f"dev {config.training.monitor}", "overrides that differ")
        words = [job.overrides.split(" ") for job in self._jobs]
        common = set(words[0]).intersection(*words[1:]) if words[1:] else set()
        for number, job in enumerate(self._jobs):
            differing = " ".join(word for word in words[number] if word not in common)
            overrides = Text(visible(differing, 200), overflow="fold")
            table.add_row(str(number), job.status, job.score, overrides)
        console = Console()
        console.print(table)
        for line in means_over_seeds(self._jobs, config.training.monitor, common):
            console.print(Text(visible(line, _MAX_LINE)), soft_wrap=True)
        if failed := sum(job.status == "failed" for job in self._jobs):
            log.error("%d of %d jobs failed", failed, len(self._jobs))
            raise SystemExit(1)


def means_over_seeds(jobs: Sequence[Job], monitor: str, common: Collection[str]) -> Iterator[str]:
    """Yields mean and standard deviation of jobs that differ in `training.seed` alone, a line each.

    Args:
        jobs: The jobs of a sweep.
        monitor: The metric to report, of the dev set and, if there is one, of the test set.
        common: The overrides of all jobs, which need not be named.
    """
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for job in jobs:
        words = (w for w in job.overrides.split(" ") if not w.startswith("training.seed="))
        if job.status != "failed" and job.run:
            name = tuple(word for word in words if word not in common)
            with contextlib.suppress(UserError):  # The run may have been moved since.
                groups.setdefault(name, []).append(RunDir(job.run).load_results())
    for name, results in groups.items():
        if len(results) > 1:
            scores = {
                split: [one[split][monitor] for one in results]
                for split in ("dev", "test")
                if all(split in one for one in results)
            }
            told = ", ".join(
                f"{split} {monitor} {format_mean(monitor, own)}" for split, own in scores.items()
            )
            prefix = f"{' '.join(name)}: " if name else ""
            yield f"{prefix}{told} ({len(results)} seeds)"


def _failed(overrides: str, error: Exception, folder: Path) -> Job:
    """Returns the row of a failure; prints the traceback of one that is not a user's mistake."""
    if not isinstance(error, UserError):
        traceback.print_exception(error)
    run = str(folder) if (folder / "config.yaml").exists() else ""
    return Job(overrides, "failed", run=run, problem=visible(str(error), 1000))
