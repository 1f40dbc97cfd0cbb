"""A sweep: jobs in processes of their own; what fails is recorded, what is missing done again."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from project import ROOT, TINY, compose_config, run_process
from small_trainings import TOY

from seq2seq.config.load import to_yaml
from seq2seq.files import is_locked
from seq2seq.runs.run_dir import RunDir
from seq2seq.training import sweep_end
from seq2seq.training.job import Job
from seq2seq.training.processes import Ended
from seq2seq.training.sweep_screen import differing

OPTIONS = [word for word in TOY if not word.startswith("run_dir")] + ["training.epochs=1"]
# A callback that ends the process in which it is, but only once in a folder; and a harmless one.
DYING = """
import os, pathlib, signal, keras

class Fine(keras.callbacks.Callback):
    pass

class KilledOnce(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        mark = pathlib.Path("killed")
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

class NotANumber(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        weights = self.model.trainable_variables[0]
        weights.assign(weights * float("nan"))

class Fate(keras.callbacks.Callback):
    def __init__(self, job):
        super().__init__()
        self.job = job

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 3 and self.job == "8-2":
            os.abort()
        if epoch == 3 and self.job == "12-3":
            NotANumber.on_epoch_begin(self, epoch)
"""


def sweep(folder, *words):
    """Runs `train.py -m` in a folder; returns the process and the rows of the table."""
    (folder / "dying.py").write_text(DYING)
    arguments = ["-m", *OPTIONS, *words]
    done = run_process(
        ROOT / "train.py", *arguments, cwd=folder, PYTHONPATH=f"{folder}{os.pathsep}{ROOT}"
    )
    newest = max(folder.rglob("sweep.csv"), key=lambda path: path.stat().st_mtime_ns)
    return done, table(newest)


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def told(rows):
    return [(row["status"], Path(row["run"]).name) for row in rows]


def test_failures_are_recorded_and_only_what_is_missing_is_done_again(tmp_path):
    # The folder of the first job's number holds a run of other settings.
    RunDir.create(tmp_path / "sweep" / "0").save_config(compose_config(*OPTIONS, "run_dir=x"), {})
    words = ["run_dir=sweep", "jobs=2"]
    words += ["callbacks.extra.end._target_=dying.Fine,dying.KilledOnce,dying.NotANumber"]
    done, rows = sweep(tmp_path, *words)
    assert done.returncode == 1
    assert told(rows) == [
        ("finished", "1"),
        ("failed", "2"),
        ("diverged", "3"),
    ], done.stderr
    assert rows[1]["problem"] == "its process was ended by SIGKILL, as when memory runs out"
    assert "not finite" in rows[2]["problem"]
    assert float(rows[0]["score"]) >= 0
    printed = done.stdout.decode()
    assert "failed: 2 of 3 jobs" in printed
    assert "(callbacks.extra.end._target_=dying.Fine)" in printed
    results = tmp_path / "sweep/1/results.json"
    before = results.stat().st_mtime_ns
    done, rows = sweep(tmp_path, *words)
    assert [row["status"] for row in rows] == ["left out", "finished", "diverged"]
    assert results.stat().st_mtime_ns == before
    assert "job 1       resumes" in done.stdout.decode()
    # A run is the same as if it was trained alone.
    assert RunDir(tmp_path / "sweep/2").load_config().jobs is None


def test_a_sweep_is_found_again_in_another_folder_of_the_same_name(tmp_path):
    words = ["data=tsv", "data.train=x.tsv", "data.dev=x.tsv", "data.dev_examples=null"]
    words += ["data.train_examples=null", "data.test_examples=null", "model.units=4"]
    (tmp_path / "x.tsv").write_text("ab\tba\n" * 20)
    _, first = sweep(tmp_path, *words)
    _, again = sweep(tmp_path, *words)
    assert (first[0]["status"], again[0]["status"]) == ("finished", "left out")
    assert again[0]["run"] == first[0]["run"]
    (tmp_path / "x.tsv").write_text("ab\tab\n" * 20)
    done, changed = sweep(tmp_path, *words)
    assert (done.returncode, changed[0]["status"]) == (0, "finished")
    assert changed[0]["run"] != first[0]["run"]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["model.units=0"], "model.units=0 is out of range"),
        (["init_from=latest"], "name a run"),
        (["data=tsv", "data.train=-", "data.dev=x"], "standard input can be read once"),
        (["decoding.n_best=2"], "needs decoding=beam"),
    ],
)
def test_a_mistake_in_a_job_starts_no_process(words, problem, train_command, capfd):
    assert train_command("-m", *OPTIONS, "run_dir=sweep", *words) == 1
    [row] = table(Path("sweep/sweep.csv"))
    assert problem in row["problem"]
    assert "begins" not in capfd.readouterr().out


def test_a_start_without_weights_is_a_failed_job(train_command, tmp_path, capfd):
    base = RunDir.create(tmp_path / "base")
    base.save_config(compose_config("run_dir=base"), {})
    assert train_command("-m", *OPTIONS, "run_dir=sweep", "init_from=base") == 1
    [row] = table(Path("sweep/sweep.csv"))
    assert (row["status"], "no best.weights.h5" in row["problem"]) == ("failed", True)


def test_an_error_of_the_program_ends_a_sweep(train_command, monkeypatch, capfd):
    def fail(*_):
        raise ValueError("never seen before")

    monkeypatch.setattr(sweep_end, "run_sweep", fail)
    assert train_command("-m", *OPTIONS, "run_dir=sweep") == 1
    assert "ValueError: never seen before" in capfd.readouterr().err


def test_overrides_of_all_jobs_are_not_repeated():
    assert differing(["a=1 b=1", "a=1 b=2"]) == ["b=1", "b=2"]
    assert differing(["a=1 b=1"]) == ["a=1 b=1"]


@pytest.mark.parametrize(
    ("code", "output", "problem"),
    [
        (0, ["fine"], ""),
        (2, ["...", "error: no such file"], "no such file"),
        (1, [], "its process ended with exit code 1"),
        (-signal.SIGSEGV, ["..."], "its process was ended by SIGSEGV"),
        (128 + signal.SIGTERM, ["..."], "it was stopped by SIGTERM, and saved"),
    ],
)
def test_the_end_of_a_process_is_told_in_a_line(code, output, problem):
    assert Ended(Job("x", "cpu"), code, output).problem == problem


def wait_for(is_true, process=None, seconds=120):
    """Waits until something is true; a process that ends meanwhile is a failure."""
    until = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < until
        assert process is None or process.poll() is None
        time.sleep(0.05)


def test_a_job_saves_and_stops_when_the_process_that_started_it_is_killed(tmp_path):
    settings = compose_config(*OPTIONS, "run_dir=x", "training.epochs=100000")
    process = subprocess.Popen(
        [sys.executable, "-m", "seq2seq.training.job_process"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    process.stdin.write(Job(str(tmp_path / "run"), "cpu", to_yaml(settings)).to_line())
    process.stdin.flush()
    run = RunDir(tmp_path / "run")
    wait_for(run.metrics.is_file, process)
    assert is_locked(run.path)
    process.stdin.close()  # as the system does when a process is killed
    assert process.wait() == 128 + signal.SIGTERM
    assert not is_locked(run.path)
    assert "resume with" in run.log.read_text()


TWELVE = [
    *(word for word in TINY if not word.startswith(("run_dir", "training.epochs"))),
    "training.epochs=30",
    "training.patience=null",
    "callbacks.tensorboard=false",
    "callbacks.extra.fate={_target_: dying.Fate, job: '${model.units}-${training.seed}'}",
    "model.units=8,12",
    "training.seed=range(1,7)",
    "run_dir=sweep",
    "jobs=2",
]


def start_twelve(folder):
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), "-m", *TWELVE],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
        stdout=subprocess.DEVNULL,
        stderr=(folder / "errors.txt").open("ab"),
    )


@pytest.mark.slow
def test_twelve_jobs_of_which_two_fail_survive_a_kill_of_the_sweep(tmp_path):
    (tmp_path / "dying.py").write_text(DYING)
    first, folder = start_twelve(tmp_path), tmp_path / "sweep"
    wait_for(lambda: len([*folder.glob("*/results.json")]) >= 3, first, seconds=300)
    first.kill()
    first.wait()
    done = {path.parent.name for path in folder.glob("*/results.json")}
    # Started again at once, while jobs of the killed sweep may still be saving.
    assert start_twelve(tmp_path).wait() == 1
    rows = table(folder / "sweep.csv")
    by_status = [row["status"] for row in rows]
    assert by_status.count("finished") + by_status.count("left out") == 10
    assert {i for i, status in enumerate(by_status) if status == "left out"} >= {*map(int, done)}
    assert rows[1]["status"] == "failed"
    assert "SIGABRT" in rows[1]["problem"]
    assert rows[8]["status"] == "diverged"
    times = {path: path.stat().st_mtime_ns for path in folder.glob("*/results.json")}
    assert len(times) == 10
    assert all(json.loads(path.read_text())["epochs"] == 30 for path in times)
    # A third start tries only the crash again.
    assert start_twelve(tmp_path).wait() == 1
    again = [row["status"] for row in table(folder / "sweep.csv")]
    assert again == ["left out", "failed", *["left out"] * 6, "diverged", *["left out"] * 3]
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/results.json")} == times
