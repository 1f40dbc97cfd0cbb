"""Training of an ensemble: members in processes of their own, resumed, and scored together."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from project import ROOT, TINY, compose_config, run_process

from seq2seq.config.load import from_yaml
from seq2seq.config.schema import RunConfig
from seq2seq.evaluation.evaluate_run import evaluate_run
from seq2seq.runs.ensemble_dir import EnsembleDir
from seq2seq.runs.run_dir import RunDir
from seq2seq.training import ensemble

# Micro-batches: by default they follow the number of cores.
WORDS = [*TINY[:-1], "training.micro_batches=1", "ensemble=2", "callbacks.tensorboard=false"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("ensemble")
    done = run_process(ROOT / "train.py", *WORDS, "run_dir=e", cwd=place)
    assert done.returncode == 0, done.stderr
    return place / "e"


def weights(run):
    return (run / "best.weights.h5").read_bytes()


def test_members_are_the_runs_of_consecutive_seeds(folder, tmp_path):
    words = [word for word in WORDS if not word.startswith("ensemble")]
    run_process(ROOT / "train.py", *words, "training.seed=2", "run_dir=r", cwd=tmp_path)
    assert weights(folder / "2") == weights(tmp_path / "r")
    assert weights(folder / "1") != weights(tmp_path / "r")


def test_the_results_are_those_of_members_and_of_all_together(folder):
    results = json.loads((folder / "results.json").read_text())
    alone = [json.loads((folder / name / "results.json").read_text()) for name in "12"]
    assert results["members"] == alone
    together = evaluate_run(compose_config(f"run=[{folder}/1,{folder}/2]", name="evaluate"))
    assert results["test"]["intervals"] == together.pop("intervals")
    assert {k: v for k, v in results["test"].items() if k != "intervals"} == together
    assert (folder / "predictions" / "test.tsv").is_file()


def test_the_folder_is_the_ensemble_for_every_command(folder, monkeypatch):
    members = [folder / "1", folder / "2"]
    assert [run.path for run in RunDir.find_all(str(folder))] == members
    (folder.parent / "outputs").symlink_to(folder.parent)
    monkeypatch.chdir(folder.parent)
    assert [run.path.resolve() for run in RunDir.find_all("latest")] == members


def test_a_finished_ensemble_has_nothing_left(folder, train_command):
    before = [(folder / name / "results.json").stat().st_mtime_ns for name in "12"]
    assert train_command(f"resume={folder}") == 0
    assert [(folder / name / "results.json").stat().st_mtime_ns for name in "12"] == before


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["data=tsv", "data.train=F"], "^error: data=tsv needs a file .*: add data.dev=FILE"),
        (["model.copy=true"], r"member [12]: model\.copy=true"),
        (["init_from=latest"], "name a run"),
        (["training.seed=1,2", "-m"], "without -m"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_folder(
    words, problem, train_command, tmp_path, capfd, caplog
):
    assert train_command("ensemble=2", "run_dir=e", *words) in (1, 2)
    assert re.search(problem, capfd.readouterr().err + caplog.text)
    assert not (tmp_path / "e" / "ensemble.yaml").exists()


def test_settings_of_a_folder_from_elsewhere_run_no_code(folder, train_command, tmp_path, capfd):
    text = (folder / "ensemble.yaml").read_text()
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "ensemble.yaml").write_text(
        text.replace("  extra: {}", "  extra: {bad: {_target_: os.system, command: 'touch bad'}}")
    )
    assert train_command(f"resume={strange}") == 2
    assert "add trust=true" in capfd.readouterr().err
    assert not (tmp_path / "bad").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_ensemble_resumes_to_the_same_weights(number, folder, tmp_path):
    words = [*WORDS, "training.epochs=40", f"run_dir={tmp_path}/e"]
    process = subprocess.Popen([sys.executable, str(ROOT / "train.py"), *words], cwd=ROOT)
    while not (tmp_path / "e" / "2" / "metrics.csv").is_file():
        time.sleep(0.1)
    process.send_signal(number)
    assert process.wait() == 128 + number
    done = run_process(ROOT / "train.py", f"resume={tmp_path}/e", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    whole = tmp_path / "whole"
    assert run_process(ROOT / "train.py", *words[:-1], f"run_dir={whole}", cwd=ROOT).returncode == 0
    for name in "12":
        assert weights(tmp_path / "e" / name) == weights(whole / name)


def test_a_change_is_for_members_that_have_not_begun_too(folder, tmp_path, monkeypatch):
    alone = shutil.copytree(folder, tmp_path / "e")
    shutil.rmtree(alone / "2")
    found = []
    monkeypatch.setattr(
        ensemble, "train_side_by_side", lambda jobs, *_: found.extend(jobs.values())
    )
    monkeypatch.setattr(ensemble, "_score", lambda *_: {})
    ensemble.resume_ensemble(EnsembleDir(alone), ["training.epochs=7"])
    first, second = found
    assert first.changes == ["training.epochs=7"]
    assert from_yaml(second.config, RunConfig).training.epochs == 7


def test_members_without_test_scores_are_scored_on_dev(folder, tmp_path):
    alone = shutil.copytree(folder, tmp_path / "e")
    results = json.loads((alone / "1" / "results.json").read_text())
    del results["test"]
    (alone / "1" / "results.json").write_text(json.dumps(results))
    found = ensemble.resume_ensemble(EnsembleDir(alone))
    assert "dev" in found
    assert "test" not in found
