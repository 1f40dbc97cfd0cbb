"""Hydra's callback of a sweep: it collects the jobs that Hydra lists, and then runs them.

`configs/train.yaml` names it in `hydra.callbacks`. Hydra's own launcher runs jobs one after another
in one process; there the function of a job only returns its plan. Hydra accepts launchers from its
plugin packages alone, which every other program with Hydra would load, too.
"""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from seq2seq.config.program import collects_jobs
from seq2seq.errors import UserError
from seq2seq.training.sweep_job import Plan, SweepJob

log = logging.getLogger(__name__)


class SweepHook(Callback):
    """Collects the jobs of a sweep, runs them, and shows their results."""

    def __init__(self) -> None:
        self._jobs: list[SweepJob] = []

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Silences Hydra's list of the jobs, which would come before any has begun."""
        logging.getLogger(BasicLauncher.__module__).setLevel(logging.WARNING)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Keeps the plan of a job. Its failure is an ordinary result, so that the others run."""
        if config.hydra.mode is not RunMode.MULTIRUN:
            return
        overrides = " ".join(word.lstrip("+") for word in HydraConfig.get().overrides.task)
        is_failed = job_return.status is JobStatus.FAILED
        job_return.status = JobStatus.COMPLETED  # Hydra raises the first failure at the end.
        result = job_return.return_value
        if is_failed:
            if not isinstance(result, UserError):
                traceback.print_exception(result)
            if not collects_jobs():  # Otherwise the screen of the sweep has a line for it.
                log.error("error: job %s failed: %s", config.hydra.job.num, result)
            self._jobs.append(SweepJob(overrides, None, "failed", problem=str(result)))
        elif isinstance(result, Plan):
            self._jobs.append(SweepJob(overrides, result))

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Runs the jobs, unless a launcher has, and ends the program with 1 if one failed."""
        from seq2seq.training.sweep_end import finish_sweep

        finish_sweep(self._jobs, config.jobs or 1, Path(config.hydra.sweep.dir))
