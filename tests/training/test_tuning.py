"""Tuning: trials are shared by processes, resumed after a kill, and the best is an experiment."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from project import ROOT, compose_config
from small_trainings import TOY

from seq2seq import tune as command_module
from seq2seq.config import load as settings
from seq2seq.config.experiment import experiment_text
from seq2seq.errors import UserError
from seq2seq.files import locked
from seq2seq.training.search_space import Range, read_space
from seq2seq.training.study import Study, suggest

SPACE = ["space.model.units.choices=[8,12,16]", "space.optimizer.learning_rate.low=0.001"]
OPTIONS = [word for word in TOY if not word.startswith("run_dir")]


def study(folder, trials=20):
    config = compose_config(f"run_dir={folder}", f"trials={trials}", name="tune")
    return Study(config)


def test_a_space_has_choices_and_ranges():
    values = {"model": {"units": {"choices": [8, None]}, "layers": {"low": 1, "high": 3}}}
    values["optimizer"] = {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}
    assert read_space(values) == {
        "model.units": [8, None],
        "model.layers": Range(1, 3, False),
        "optimizer.learning_rate": Range(1e-4, 1e-2, True),
    }


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({}, "names no setting"),
        ({"a": 1}, "space.a=1: needs choices"),
        ({"a": {"choices": []}}, r"space.a.choices: must be a list"),
        ({"a": {"low": 1}}, "space.a: needs choices, or low, high"),
        ({"a": {"low": 2, "high": 1}}, "is not a range"),
        ({"a": {"low": 0, "high": 1, "log": True}}, "above 0"),
        ({"a": {"b": {"low": "x", "high": 1}}}, "space.a.b: .* is not a range"),
    ],
)
def test_a_wrong_space_is_refused(values, problem):
    with pytest.raises(UserError, match=problem):
        read_space(values)


def test_a_trial_belongs_to_the_process_that_has_locked_it(tmp_path):
    first, second = study(tmp_path), study(tmp_path)
    space = read_space({"model": {"units": {"choices": [*range(1, 1000)]}}})
    (a, _), (b, _) = first.next_trial(), second.next_trial()
    assert (a.number, b.number) == (0, 1)
    params = suggest(a, space)
    # The first process is killed, and its job still saves.
    first._claims[0].close()
    run = tmp_path / "0" / "run"
    run.mkdir()
    with locked(run):
        c, _ = second.next_trial()
        assert c.number == 2
        assert study(tmp_path, trials=3).next_trial() == (None, True)
    again, _ = second.next_trial()
    assert (again.number, suggest(again, space)) == (0, params)
    second.conclude(again, 0.5, is_pruned=False)
    second.conclude(b, None, is_pruned=True)
    second.conclude(c, None, is_pruned=False)
    states = [trial.state.name for trial in second.study.get_trials()]
    assert states == ["COMPLETE", "PRUNED", "FAIL"]
    assert study(tmp_path, trials=3).next_trial() == (None, False)


def test_the_best_settings_are_an_experiment(tmp_path):
    words = ["experiment=g2p", "data.train=a.tsv", "data.dev=b.tsv", "model=attention"]
    words += ["optimizer=sgd", "optimizer.learning_rate=0.003", "model.units=64", "device=cpu"]
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "best.yaml").write_text(experiment_text(words, "a comment"))
    with initialize_config_dir(str(settings.CONFIGS), version_base="1.3"):
        overrides = ["experiment=best", f"hydra.searchpath=[{tmp_path}]", "device=cpu"]
        composed = settings.from_hydra(hydra_compose("train", overrides), settings.RunConfig)
    asked = compose_config(*words)
    composed.run_dir = asked.run_dir = ""
    assert composed == asked


def test_mistakes_are_told_before_a_trial_begins(command, capsys):
    for words, problem in (
        (["model.unit=3"], "did you mean model.units"),
        (["space.model.units=3"], "space.model.units=3: needs choices"),
        (["trials=0"], "trials=0 is out of range"),
    ):
        code = command(command_module.main, "tune", "run_dir=t", *words)
        error = capsys.readouterr().err
        assert (code, error.count("\n")) == (2, 1)
        assert problem in error


def start(folder, output, *words):
    return subprocess.Popen(
        [sys.executable, "-m", "seq2seq.tune", "run_dir=t", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=(folder / output).open("ab"),
        stderr=subprocess.STDOUT,
    )


def states(folder):
    """The state of each trial, as far as the study exists."""
    if not (folder / "t" / "study.log").is_file():
        return []
    return [trial.state.name for trial in study(folder / "t").study.get_trials()]


@pytest.mark.slow
def test_twenty_trials_of_two_processes_of_which_one_is_killed(tmp_path):
    words = ["trials=20", "warmup_epochs=2", "training.epochs=12", "training.patience=null"]
    words += ["training.monitor=loss", "space.model.units.choices=[4,8,16,32]"]
    words += ["space.optimizer.learning_rate.low=0.0001", *OPTIONS]
    first, second = start(tmp_path, "first", *words), start(tmp_path, "second", *words)

    def trained_by_first():
        """The number of the trial that the first process trains, once it has an epoch."""
        lines = (tmp_path / "first").read_text().splitlines()
        begun = re.match(r"trial (\d+) +begins", lines[-1]) if lines else None
        is_there = begun and (tmp_path / "t" / begun[1] / "run" / "metrics.csv").is_file()
        return begun[1] if is_there else None

    until = time.monotonic() + 900
    while states(tmp_path).count("COMPLETE") < 4 or trained_by_first() is None:
        assert time.monotonic() < until
        assert first.poll() is None
        time.sleep(0.1)
    first.send_signal(signal.SIGKILL)
    first.wait()
    killed = trained_by_first()
    again = start(tmp_path, "again", *words)
    assert (second.wait(), again.wait()) == (0, 0)
    found = states(tmp_path)
    assert len(found) == 20
    assert {*found} == {"COMPLETE", "PRUNED"}
    assert "PRUNED" in found
    after = (tmp_path / "second").read_text() + (tmp_path / "again").read_text()
    assert re.search(rf"^trial {killed} +resumes", after, re.MULTILINE)
    best = yaml.safe_load((tmp_path / "t" / "experiment" / "best.yaml").read_text())
    assert best["model"]["units"] in (4, 8, 16, 32)
    page = (tmp_path / "t" / "report.html").read_text()
    assert "Importance" in page
