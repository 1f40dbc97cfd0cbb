"""Killed and resumed runs end as if never stopped, to the last bit."""

import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest
from project import ROOT, run_process
from same_runs import assert_same_runs, points

TRAIN = ROOT / "train.py"
# All that a resumed run could lose: dropout, shuffling, a schedule, patience, a callback's counter.
OPTIONS = [
    "model=attention",
    "model.units=12",
    "model.encoder.units=6",
    "model.embedding_size=8",
    "model.dropout=0.3",
    "data.train_examples=640",
    "data.dev_examples=40",
    "data.test_examples=30",
    "optimizer=adam_cosine",
    "training.batch_size=32",
    "training.epochs=6",
    "training.patience=3",
    "training.monitor=symbol_error_rate",
    "training.checkpoint_steps=7",
    "training.checkpoint_epochs=1",
    "training.steps_per_execution=3",
    "callbacks.histograms_every=2",
    "callbacks.examples=2",
    "+callbacks.extra.wait._target_=keras.callbacks.EarlyStopping",
    "+callbacks.extra.wait.monitor=val_loss",
    "+callbacks.extra.wait.patience=2",
]
UNCOMPILED = ["training.jit_compile=false", "decoding.jit_compile=false"]
# Kills itself before or after the n-th renaming of a finished temporary file.
KILLED_WHILE_WRITING = """
import os, pathlib, runpy, signal, sys
left, when = int(sys.argv.pop(1)), sys.argv.pop(1)
replace = pathlib.Path.replace
def count():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
def killed(self, target):
    if when == "before":
        count()
    result = replace(self, target)
    if when == "after":
        count()
    return result
pathlib.Path.replace = killed
sys.argv.pop(0)
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="session")
def straight(tmp_path_factory):
    """A run without interruption."""
    cwd = tmp_path_factory.mktemp("straight")
    result = run_process(TRAIN, *OPTIONS, *UNCOMPILED, "run_dir=run", cwd=cwd)
    assert result.returncode == 0, result.stderr.decode()
    return cwd / "run"


def start(*arguments, cwd):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_between_writes(arguments, rng, cwd):
    """Starts a process that kills itself at a random file; tells whether it got that far."""
    (cwd / "killed.py").write_text(KILLED_WHILE_WRITING)
    moment = [rng.randint(1, 25), rng.choice(["before", "after"])]
    process = start("killed.py", *moment, TRAIN, *arguments, cwd=cwd)
    return process.wait() == -signal.SIGKILL


def kill_at_any_time(arguments, rng, cwd):
    """Starts a process and kills it at a random moment after the first sign of training."""
    before = {path.name for path in cwd.rglob("*")}
    process = start(TRAIN, *arguments, cwd=cwd)
    while process.poll() is None and {path.name for path in cwd.rglob("*")} <= before:
        pass
    try:
        process.wait(rng.uniform(0, 6))
    except subprocess.TimeoutExpired:
        process.kill()
    return process.wait() == -signal.SIGKILL


def train_with_kills(kills, kill, options, cwd, seed):
    """Trains with up to `kills` interruptions; returns their number."""
    rng = random.Random(seed)
    count = 0
    for _ in range(kills):
        has_begun = (cwd / "run" / "config.yaml").exists()
        arguments = ["resume=run"] if has_begun else [*options, "run_dir=run"]
        count += kill(arguments, rng, cwd)
        if (cwd / "run" / "results.json").exists():
            break
    has_begun = (cwd / "run" / "config.yaml").exists()
    arguments = ["resume=run"] if has_begun else [*options, "run_dir=run"]
    last = run_process(TRAIN, *arguments, cwd=cwd)
    assert last.returncode == 0, last.stderr.decode()
    return count


@pytest.mark.parametrize(
    ("kill", "seed"),
    [
        (kill_between_writes, 1),
        pytest.param(kill_at_any_time, 2, marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_ends_as_if_never_killed(kill, seed, straight, tmp_path):
    assert train_with_kills(3, kill, [*OPTIONS, *UNCOMPILED], tmp_path, seed) > 0
    assert_same_runs(straight, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("kill", [kill_between_writes, kill_at_any_time])
@pytest.mark.parametrize("seed", [3, 4, 5])
def test_a_run_killed_often_ends_as_if_never_killed(kill, seed, straight, tmp_path):
    assert train_with_kills(6, kill, [*OPTIONS, *UNCOMPILED], tmp_path, seed) > 1
    assert_same_runs(straight, tmp_path / "run")


@pytest.mark.slow
def test_a_compiled_run_killed_often_ends_as_if_never_killed(tmp_path):
    options = [*OPTIONS, "training.deterministic=true", "training.micro_batches=2"]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    straight = run_process(TRAIN, *options, "run_dir=run", cwd=tmp_path / "a")
    assert straight.returncode == 0, straight.stderr.decode()
    assert train_with_kills(5, kill_between_writes, options, tmp_path / "b", seed=6) > 1
    assert_same_runs(tmp_path / "a" / "run", tmp_path / "b" / "run")


def test_tensorboard_has_every_point_once(straight):
    """The events that `assert_same_runs` compares are there, and every epoch has one."""
    found = points(straight / "dev")
    epochs = len(np.unique([step for _, step, _ in found]))
    assert [step for tag, step, _ in found if tag == "loss"] == list(range(1, epochs + 1))
    assert {"loss", "sequence_accuracy", "decoded"} <= {tag for tag, _, _ in found}
