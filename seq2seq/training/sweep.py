"""Job of a sweep: trained, resumed or left out, by what an earlier start of the sweep has done."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable
from pathlib import Path

from seq2seq.config.schema import RunConfig
from seq2seq.errors import UserError
from seq2seq.runs.provenance import inputs_of
from seq2seq.runs.run_dir import RunDir
from seq2seq.training.finished import find_finished
from seq2seq.training.run import resume, train
from seq2seq.training.sweep_report import JobResult


def train_job(
    config: RunConfig, folder: Path, earlier: Iterable[Path], hydra_record: dict[str, str]
) -> JobResult:
    """Trains a job that no earlier start of the sweep finished, and resumes one that it began.

    Args:
        config: All settings.
        folder: The run folder of a new job. Another one beside it is taken if it holds a run of
            other settings, as after values were added to the sweep.
        earlier: Folders in which an earlier start may have left runs.
        hydra_record: See `train`.

    Raises:
        UserError: As `train` and `resume`.
    """
    if config.init_from == "latest":
        raise UserError("init_from=latest would be the job before in a sweep: name a run")
    run, status = _find_earlier(config, earlier), "finished"
    if run is None:
        run = RunDir(_free_folder(folder))
        results = train(config, run.path, hydra_record)
    elif finished := find_finished(run, run.load_config().training):
        results, status = finished.results, "left out"
    else:
        results = resume(run.path)
    return JobResult(status, run.path, results["dev"][config.training.monitor])


def _find_earlier(config: RunConfig, folders: Iterable[Path]) -> RunDir | None:
    """Returns a run of the same settings and the same content of data files, if there is one."""
    inputs = inputs_of(config)
    for run in map(RunDir, sorted(folders)):
        with contextlib.suppress(UserError):
            record = run.load_record()
            is_same = {name: record.get(name) for name in inputs} == inputs
            if is_same and not record.get("changes") and run.config_file.is_file():
                return run
    return None


def _free_folder(folder: Path) -> Path:
    """Returns the folder, or the first numbered one beside it that holds no run."""
    others = (folder.with_name(str(number)) for number in itertools.count())
    runs = map(RunDir, itertools.chain([folder], others))
    return next(run.path for run in runs if not run.config_file.exists())
