"""Sweep (`python train.py -m ...`): each job is a process of its own, several at a time.

A job that fails or crashes is recorded and ends no other. Started again, a sweep leaves out what is
finished and resumes what was interrupted. TensorFlow is loaded by the jobs alone.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from seq2seq.config.choices import Status
from seq2seq.config.load import to_yaml
from seq2seq.config.schema import RunConfig
from seq2seq.errors import UserError
from seq2seq.runs.provenance import inputs_of
from seq2seq.runs.run_dir import RunDir
from seq2seq.runs.status import status_of
from seq2seq.training.job import Job
from seq2seq.training.processes import Ended, Processes
from seq2seq.training.signals import StoppedBySignal, StopRequest
from seq2seq.training.sweep_job import Plan, SweepJob
from seq2seq.training.sweep_screen import SweepScreen

_MAX_PRINTED = 40  # lines of a crash


def run_sweep(jobs: Sequence[SweepJob], places: int, screen: SweepScreen) -> None:
    """Trains, resumes or leaves out every job, and keeps its row up to date.

    Args:
        jobs: The jobs, which get their results.
        places: How many are trained at a time.
        screen: Shows them.

    Raises:
        StoppedBySignal: A signal asked to stop; all have saved checkpoints.
    """
    waiting = [job for job in jobs if job.plan is not None]
    running: dict[Job, tuple[SweepJob, float]] = {}  # and when it began
    with (
        screen,
        StopRequest() as stop,
        Processes(max(1, min(places, len(waiting))), stop) as processes,
    ):
        while waiting or running:
            # Those that another process trains come last; perhaps it finishes them.
            for job in [*waiting]:
                if not processes.has_place:
                    break
                before = job.problem
                begun = begin(job, [one.folder for one in running])
                if job.status != "waiting":
                    waiting.remove(job)
                if job.status != "waiting" or job.problem != before:
                    screen.show(job)
                if begun is not None:
                    running[begun] = job, time.monotonic()
                    processes.start(begun)
            ended = processes.wait()
            if stop.signal:
                raise StoppedBySignal(stop.signal)
            screen.look()
            for one in ended:
                job, began = running.pop(one.job)
                job.seconds = time.monotonic() - began
                _conclude(job, one)
                screen.show(job)


def begin(job: SweepJob, taken: Sequence[str]) -> Job | None:
    """Decides what is left to do of a job, sets its status, and returns what to train, if any.

    Args:
        job: The job, whose status stays if another process trains it.
        taken: The folders of running jobs.
    """
    assert job.plan is not None
    try:
        return _resume(job, job.plan) if job.plan.config.resume else _train(job, job.plan, taken)
    except (UserError, OSError) as error:
        job.status, job.problem = "failed", str(error)
        return None


def _resume(job: SweepJob, plan: Plan) -> Job:
    """Begins a job that resumes a named run."""
    config = plan.config
    job.run = RunDir.open(str(config.resume), setting="resume")
    job.status = "running"
    return Job(str(job.run.path), config.device, changes=plan.changes, trust=config.trust)


def _train(job: SweepJob, plan: Plan, taken: Sequence[str]) -> Job | None:
    """Begins a job that is a new run, or one that an earlier start of the sweep began."""
    job.inputs = job.inputs or inputs_of(plan.config)
    folder, pattern = plan.places
    earlier = _find_earlier(job.inputs, folder.glob(pattern))
    status = status_of(earlier) if earlier else None
    job.problem = "another process trains it" if status is Status.running else ""
    if job.problem:
        return None
    job.run = earlier or RunDir(_free_folder(plan.folder, taken))
    path, device = str(job.run.path), plan.config.device
    if status is Status.finished:
        job.status, job.score = "left out", score_of(job.run)
        return None
    if status is Status.diverged:
        # The same steps would diverge again.
        job.status, job.problem = "diverged", f"before this start: see {job.run.log}"
        return None
    job.status = "running"
    if earlier:
        return Job(path, device, trust=is_trusted(earlier, plan.config))
    return Job(path, device, to_yaml(plan.config), plan.hydra_record)


def is_trusted(run: RunDir, config: RunConfig) -> bool:
    """Tells whether a run may execute the code that it names: this command names the same."""
    kept = run.load_config()
    before = (kept.optimizer, kept.callbacks.extra)
    return config.trust or before == (config.optimizer, config.callbacks.extra)


def _conclude(job: SweepJob, ended: Ended) -> None:
    """Sets the result of a job whose process has ended."""
    assert job.run is not None
    job.status, job.problem = "finished", ended.problem
    try:
        if not job.problem:
            job.score = score_of(job.run)
    except UserError as error:
        job.problem = str(error)
    if job.problem:
        has_diverged = status_of(job.run) is Status.diverged
        job.status = "diverged" if has_diverged else "failed"
        # A mistake of the user is one line; a crash tells more.
        if ended.code not in (0, 2):
            sys.stderr.write("".join(f"{line}\n" for line in ended.output[-_MAX_PRINTED:]))
    if not job.run.config_file.is_file():
        job.run = None


def score_of(run: RunDir) -> float:
    """Returns the monitored dev metric of a finished run.

    Raises:
        UserError: A file of the run is damaged.
    """
    monitor = run.load_config().training.monitor.value
    try:
        return float(run.load_results()["dev"][monitor])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{run.results}: has no dev {monitor}") from error


def _find_earlier(inputs: dict[str, Any], folders: Iterable[Path]) -> RunDir | None:
    """Returns a run of the same settings and the same content of data files, if there is one.

    Of several, it is a finished one.
    """
    found: list[RunDir] = []
    for run in map(RunDir, sorted(folders)):
        with contextlib.suppress(UserError):
            record = run.load_record()
            is_same = {name: record.get(name) for name in inputs} == inputs
            if is_same and not record.get("changes") and run.config_file.is_file():
                found.append(run)
    return min(found, key=lambda run: not run.results.is_file(), default=None)


def _free_folder(folder: Path, taken: Sequence[str]) -> Path:
    """Returns the folder, or the first numbered one beside it that holds no run."""
    others = (folder.with_name(str(number)) for number in itertools.count())
    runs = map(RunDir, itertools.chain([folder], others))
    return next(
        run.path for run in runs if not run.config_file.exists() and str(run.path) not in taken
    )
