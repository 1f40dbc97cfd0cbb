"""Results of a tuning: the best settings as an experiment, and a page."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from seq2seq.config.commands import TuneConfig
from seq2seq.config.experiment import experiment_text
from seq2seq.errors import UserError, visible
from seq2seq.evaluation.metrics import format_metric
from seq2seq.evaluation.page import Page
from seq2seq.files import write_text
from seq2seq.training.screen import Screen, short_path
from seq2seq.training.study import Study, words_of

_MIN_TRIALS = 4  # finished ones, before anything is said of the settings' importance
_MAX_CELL = 200  # characters


def show_results(study: Study, config: TuneConfig, folder: Path, screen: Screen) -> None:
    """Prints the best trial and the importance of settings; writes the experiment and the page.

    Raises:
        UserError: No trial has finished.
    """
    trials = study.study.get_trials(deepcopy=False)
    states = study.optuna.trial.TrialState
    finished = [trial for trial in trials if trial.state == states.COMPLETE]
    if not finished:
        raise UserError(f"{folder}: none of {len(trials)} trials has finished")
    best = study.study.best_trial
    importances = _importances(study, len(finished))
    words = words_of(best.params)
    told = (
        f"best trial {best.number}: dev {study.monitor} {format_metric(study.monitor, best.value)}"
    )
    file = folder / "experiment" / "best.yaml"
    comment = f"{told}, of {len(trials)} trials"
    write_text(file, experiment_text([*config.overrides, *words], comment))
    write_text(folder / "report.html", _page(study, trials, importances, told))
    screen.line(f"{told}, of {len(trials)} trials ({len(finished)} finished)")
    table = Table("setting", "best", "importance", box=box.SIMPLE_HEAD)
    for word in words:
        name, _, value = word.partition("=")
        table.add_row(name, value, f"{importances[name]:.2f}" if importances else "")
    screen.table(table)
    where = short_path(folder)
    screen.rows(
        {
            "report": f"{where}/report.html",
            "again": f"python train.py --config-dir {where} experiment=best",
        }
    )


def _importances(study: Study, finished: int) -> dict[str, float]:
    """Returns the share of each setting in good results (PED-ANOVA, Watanabe et al. 2023)."""
    if finished < _MIN_TRIALS:
        return {}
    importance = study.optuna.importance
    with warnings.catch_warnings(action="ignore"):
        found = importance.get_param_importances(
            study.study, evaluator=importance.PedAnovaImportanceEvaluator()
        )
    return {name: float(value) for name, value in found.items()}


def _page(study: Study, trials: list[Any], importances: dict[str, float], told: str) -> str:
    page = Page("Tuning", told)
    if importances:
        page.heading(
            "Importance",
            "The share of each setting in what sets good trials apart; the sum is 1.",
        )
        page.table(["setting", "importance"], [[n, f"{v:.2f}"] for n, v in importances.items()])
    page.heading("Trials", "In the order in which they began; a pruned one was stopped early.")
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    rows = []
    for trial in trials:
        score = "" if trial.value is None else format_metric(study.monitor, trial.value)
        params = dict(word.partition("=")[::2] for word in words_of(trial.params))
        cells = [visible(params.get(name, ""), _MAX_CELL) for name in names]
        epochs = str(max(trial.intermediate_values, default=""))
        rows.append([str(trial.number), score, trial.state.name.lower(), *cells, epochs])
    page.table(["trial", f"dev {study.monitor}", "state", *names, "epochs"], rows)
    return page.html()
