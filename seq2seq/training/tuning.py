"""Tuning: the trials of a study run in processes of their own, and bad ones are stopped early."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seq2seq.config.commands import TuneConfig
from seq2seq.errors import UserError, visible
from seq2seq.evaluation.metrics import format_metric
from seq2seq.runs.run_dir import RunDir
from seq2seq.training.job import Job
from seq2seq.training.processes import Ended, Processes
from seq2seq.training.run_bars import RunBars
from seq2seq.training.screen import Screen, short_time
from seq2seq.training.signals import StoppedBySignal, StopRequest
from seq2seq.training.study import Study
from seq2seq.training.sweep import score_of
from seq2seq.training.tuning_report import show_results

_MAX_LINE = 500  # characters


@dataclass(eq=False)
class _Running:
    """A trial that this process trains.

    Attributes:
        trial: Optuna's.
        run: The run folder.
        text: Its settings.
        began: When, in seconds.
        reported: The epochs that the study knows.
        is_pruned: Whether it was asked to stop.
    """

    trial: Any
    run: RunDir
    text: str
    began: float = field(default_factory=time.monotonic)
    reported: set[int] = field(default_factory=set)
    is_pruned: bool = False


def tune(config: TuneConfig) -> None:
    """Trains the trials of `config`, and shows and writes what was found.

    Raises:
        UserError: The settings do not fit, Optuna is missing, or no trial has finished.
        StoppedBySignal: A signal asked to stop; the trials have saved checkpoints.
    """
    study, screen = Study(config), Screen()
    running: dict[Job, _Running] = {}
    with (
        RunBars(screen.console, only_at_a_terminal=True) as bars,
        StopRequest() as stop,
        Processes(config.jobs, stop) as processes,
    ):
        may_come = True
        while may_come or running:
            while processes.has_place:
                trial, may_come = study.next_trial()
                if trial is None:
                    break
                if begun := _begin(study, trial, screen):
                    job, one = begun
                    running[job] = one
                    bars.add(one.run, f"trial {trial.number}", one.text)
                    processes.start(job)
            ended = processes.wait()
            if stop.signal:
                screen.line("stopped and saved; the same command goes on")
                raise StoppedBySignal(stop.signal)
            bars.look()
            for job, one in running.items():
                if study.should_stop(one.trial, one.run, one.reported) and not one.is_pruned:
                    one.is_pruned = True
                    processes.stop(job)
            for end in ended:
                one = running.pop(end.job)
                bars.remove(one.run)
                _conclude(study, one, end, screen)
    show_results(study, config, Path(config.run_dir), screen)


def _begin(study: Study, trial: Any, screen: Screen) -> tuple[Job, _Running] | None:
    """Returns what to train for a trial; None: its settings are refused, which fails it."""
    try:
        job, words = study.job_of(trial)
    except UserError as error:
        _tell(screen, trial, f"failed: {error}")
        study.conclude(trial, None, is_pruned=False)
        return None
    one = _Running(trial, RunDir(job.folder), " ".join(words))
    _tell(screen, trial, "begins" if job.config else "resumes", one.text)
    return job, one


def _conclude(study: Study, one: _Running, end: Ended, screen: Screen) -> None:
    """Tells the study the result of a trial whose process has ended."""
    value, problem = None, end.problem
    if not problem:
        try:
            value = score_of(one.run)
        except UserError as error:
            problem = str(error)
    after = f"after {short_time(time.monotonic() - one.began)}"
    if value is not None:
        score = format_metric(study.monitor, value)
        _tell(screen, one.trial, f"finished {after}, dev {study.monitor} {score}", one.text)
    elif one.is_pruned:
        told = f"stopped {after}: worse than most after {max(one.reported)} epochs"
        _tell(screen, one.trial, told, one.text)
    else:
        _tell(screen, one.trial, f"failed {after}: {problem}", one.text)
    study.conclude(one.trial, value, is_pruned=one.is_pruned)


def _tell(screen: Screen, trial: Any, told: str, text: str = "") -> None:
    name = f"trial {trial.number}"
    screen.line(visible(f"{name:<11} {told}{f'  ({text})' if text else ''}", _MAX_LINE))
