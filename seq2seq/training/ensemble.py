"""Ensemble (`ensemble=N`): N runs that differ in their seed, trained side by side, scored together.

Each member is an ordinary run in a folder inside the ensemble's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from seq2seq.config.changes import apply_changes
from seq2seq.config.load import to_yaml
from seq2seq.config.schema import RunConfig
from seq2seq.data.examples import Splits
from seq2seq.data.splits import load_split
from seq2seq.errors import UserError
from seq2seq.evaluation.evaluate_model import Evaluation, prediction_rows
from seq2seq.evaluation.metrics import format_mean
from seq2seq.evaluation.summary import SUMMARY_CAPTION, summarize_splits, summary_rows
from seq2seq.files import locked
from seq2seq.hardware import cores, has_gpu
from seq2seq.inference.predictor import Predictor
from seq2seq.runs.ensemble_dir import EnsembleDir
from seq2seq.runs.run_dir import RunDir
from seq2seq.training.finished import find_finished
from seq2seq.training.job import Job
from seq2seq.training.keras_objects import refuse_foreign_code
from seq2seq.training.processes import Processes
from seq2seq.training.run_bars import RunBars
from seq2seq.training.screen import Screen, command, short_path
from seq2seq.training.signals import StoppedBySignal, StopRequest


def train_ensemble(config: RunConfig, folder: Path, hydra_record: dict[str, str]) -> dict[str, Any]:
    """Trains the members with the seeds `training.seed`, `training.seed` + 1, …, and scores them.

    Args:
        config: All settings.
        folder: The folder of the ensemble, which gets a run folder for each member.
        hydra_record: Text files to keep under `.hydra/`.

    Returns:
        The content of `results.json`: for each split the scores of the `members` and of the
        ensemble.

    Raises:
        UserError: The folder holds a run or an ensemble, or a member cannot be trained.
        StoppedBySignal: A signal asked to stop; the members have saved checkpoints.
    """
    if config.init_from == "latest":
        raise UserError("init_from=latest would be another member: name a run")
    ensemble = EnsembleDir(folder)
    if ensemble.exists:
        raise UserError(
            f"run_dir={folder} already holds an ensemble; choose another folder, or resume it with "
            f"resume={folder}"
        )
    RunDir.create(folder)
    ensemble.save(config, hydra_record)
    return _train(ensemble)


def find_ensemble(name: str) -> EnsembleDir | None:
    """Returns the ensemble that is to be resumed: a folder, or `latest`; None: it is a run.

    Raises:
        UserError: `latest`, and there is no run.
    """
    path = RunDir.latest_started().path.parent if name == "latest" else name
    ensemble = EnsembleDir(path)
    return ensemble if ensemble.exists else None


def resume_ensemble(
    ensemble: EnsembleDir, changes: Sequence[str] = (), trust: bool = False
) -> dict[str, Any]:
    """Trains the members that are not finished, and scores all.

    Args:
        ensemble: The folder.
        changes: Overrides for all members, such as `training.epochs=200`.
        trust: See `resume`.

    Raises:
        UserError: As `train_ensemble` and `resume`.
        StoppedBySignal: As `train_ensemble`.
    """
    if not trust:
        config = ensemble.load_config()
        refuse_foreign_code([config.optimizer, config.callbacks.extra], ensemble.file)
    return _train(ensemble, changes, trust)


def _train(
    ensemble: EnsembleDir, changes: Sequence[str] = (), trust: bool = False
) -> dict[str, Any]:
    screen, jobs, config = Screen(), dict[RunDir, Job](), ensemble.load_config()
    device = "auto" if has_gpu() else "cpu"  # as this process chose, which has warned already
    for number, path in enumerate(ensemble.members(), start=1):
        run = RunDir(path)
        if not run.config_file.is_file():
            member, _ = apply_changes(ensemble.member_config(number), changes)
            jobs[run] = Job(str(path), device, to_yaml(member), ensemble.load_hydra_record())
        elif changes or not find_finished(run, run.load_config().training):
            jobs[run] = Job(str(path), device, changes=[*changes], trust=trust)
    with locked(ensemble.path):
        try:
            # A GPU trains one after another.
            train_side_by_side(jobs, config.jobs or (1 if has_gpu() else cores()), screen)
        except (UserError, StoppedBySignal):
            if any(RunDir(path).config_file.exists() for path in ensemble.members()):
                screen.line(f"resume with: {command('train', 'resume', ensemble.path)}")
            else:  # A mistake in the settings or the data leaves no folder behind.
                ensemble.remove()
            raise
        return _score(ensemble, screen)


def train_side_by_side(jobs: dict[RunDir, Job], places: int, screen: Screen) -> None:
    """Trains members, `places` at a time, and shows how far they are.

    Raises:
        UserError: A member cannot be trained; the others that had begun have saved checkpoints.
        StoppedBySignal: A signal asked to stop; all have saved checkpoints.
    """
    queue = [*jobs.items()]
    with (
        RunBars(screen.console) as bars,
        StopRequest() as stop,
        Processes(max(1, min(places, len(jobs))), stop) as processes,
    ):
        while queue or processes.running:
            while queue and processes.has_place:
                run, job = queue.pop(0)
                bars.add(run, f"member {run.path.name}")
                processes.start(job)
            ended = processes.wait()
            if stop.signal:
                raise StoppedBySignal(stop.signal)
            bars.look()
            for one in ended:
                if one.problem:
                    raise UserError(f"member {Path(one.job.folder).name}: {one.problem}")


def _score(ensemble: EnsembleDir, screen: Screen) -> dict[str, Any]:
    """Scores the ensemble on dev and test, shows it beside its members, and writes the results."""
    folder, runs = RunDir(ensemble.path), [RunDir.open(path) for path in ensemble.members()]
    alone = [run.load_results() for run in runs]
    predictor, config = Predictor.load(runs), runs[0].load_config()
    assert config.training.batch_size is not None  # A run keeps what was null.
    evaluate = Evaluation(predictor, config.training.batch_size, config.training.bleu)
    # A member may have ended without test scores, because the file was missing.
    has_test = all("test" in one for one in alone)
    test = load_split(config.data, "test") if has_test else []
    splits = Splits([], load_split(config.data, "dev"), test)
    results, decoded = summarize_splits(evaluate, splits, config.training.word_error_rate)
    for name, scored in decoded.items():
        folder.save_predictions(name, prediction_rows(scored, config.data))
        screen.table(_table(name, [one[name] for one in alone], results[name]))
    results["members"] = alone
    folder.save_results(results)
    path = folder.path
    screen.rows({"run folder": short_path(path), "decode": command("infer", "run", path)})
    return results


def _table(split: str, alone: Sequence[dict[str, Any]], together: dict[str, Any]) -> Table:
    title = f"{split.capitalize()}, {len(alone)} members"
    table = Table(title=title, caption=SUMMARY_CAPTION)
    for column in ("", "mean of the members", "ensemble"):
        table.add_column(column, justify="right" if column else "left")
    for label, cell in summary_rows({split: together}):
        name = label.replace(" ", "_")
        table.add_row(label, format_mean(name, [one[name] for one in alone]), cell)
    return table
