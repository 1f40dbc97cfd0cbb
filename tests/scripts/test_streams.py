"""Closed, full and broken standard streams, and signals at any moment: told, and nothing lost."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from project import ROOT, TINY

OPTIONS = [
    *(word for word in TINY if not word.startswith("run_dir")),
    "callbacks.tensorboard=false",
]
# A program in the frame of every command. Its task prints one line.
TASK = """
from seq2seq.config.program import program
@program("evaluate")
def main(config):
    print("the answer")
main()
"""
FULL = "error: standard output cannot be written: No space left on device\n"
CLOSED = "error: standard output cannot be written: Bad file descriptor\n"


def environment(*folders):
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*folders, ROOT]))}


def run_in_shell(command, cwd, *folders):
    """Runs a line of bash, in which $PYTHON is this Python; returns (exit code, output, errors)."""
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=cwd,
        env={**environment(*folders), "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    return result.returncode, result.stdout, result.stderr


@pytest.fixture
def without_tensorflow(tmp_path):
    """A folder with stand-ins for the real libraries: they load at once and find no GPU."""
    (tmp_path / "keras.py").write_text("")
    no_gpu = "class config:\n    list_physical_devices = staticmethod(lambda kind: [])\n"
    (tmp_path / "tensorflow.py").write_text(no_gpu)
    (tmp_path / "task.py").write_text(TASK)
    return tmp_path


@pytest.mark.parametrize(
    ("streams", "expected"),
    [
        ("<&-", (0, "the answer\n", "")),
        ("2>&-", (0, "the answer\n", "")),
        ("2>/dev/full", (0, "the answer\n", "")),
        (">&-", (2, "", CLOSED)),
        (">/dev/full", (2, "", FULL)),
        (">/dev/full 2>&1", (2, "", "")),
        ("<&- >&- 2>&-", (2, "", "")),
        ("| true", (0, "", "")),
        ("--cfg job | head -n 1", (0, "run: x\n", "")),
        ("--cfg job >/dev/full", (2, "", FULL)),
        ("--help | head -n 0", (0, "", "")),
        ("nosuch=1 2>/dev/full", (2, "", "")),
    ],
)
def test_every_program_tells_of_its_streams_in_one_line(streams, expected, without_tensorflow):
    command = f"$PYTHON task.py run=x {streams}"
    assert run_in_shell(command, without_tensorflow, without_tensorflow) == expected


@pytest.mark.parametrize(
    "program",
    [
        ["train.py"],
        ["infer.py", f"run={ROOT}/tests/fixtures/run_0_1"],
        ["-m", "seq2seq.evaluate", "run=x"],
        ["-m", "seq2seq.states"],
        ["-m", "seq2seq.reproduce", "run=x"],
        ["-m", "seq2seq", "train"],
    ],
)
@pytest.mark.parametrize("library", ["hydra", "keras"])
def test_ctrl_c_while_a_library_loads(library, program, tmp_path):
    (tmp_path / f"{library}.py").write_text(
        "import pathlib, time\npathlib.Path('loading').touch()\ntime.sleep(60)\n"
    )
    script = [ROOT / program[0], *program[1:]] if program[0].endswith(".py") else program
    process = subprocess.Popen(
        [sys.executable, *script],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    wait_until((tmp_path / "loading").exists, process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate()
    assert (process.returncode, output) == (130, b"interrupted\n")


def wait_until(condition, process):
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def test_training_goes_on_without_a_reader(tmp_path):
    train = f"$PYTHON {ROOT}/train.py {' '.join(OPTIONS)} run_dir=run"
    code, output, errors = run_in_shell(f"{train} <&- | head -n 1", tmp_path)
    assert code == 0, errors
    [line] = output.splitlines()
    assert line.startswith("data ")
    [line] = errors.splitlines()
    assert line.startswith("standard output cannot be written (Broken pipe); the training goes on")
    assert json.loads((tmp_path / "run" / "results.json").read_text())["epochs"] == 2
    log = (tmp_path / "run" / "train.log").read_text()
    assert " 2/2 " in log
    assert "infer.py run=run" in log


def test_a_hangup_is_answered_with_closed_streams(tmp_path):
    endless = [*OPTIONS, "training.epochs=100000", "training.patience=null", "run_dir=run"]
    # The shell replaces itself, so that the signal meets the training.
    process = subprocess.Popen(
        ["bash", "-c", f"exec {sys.executable} {ROOT}/train.py {' '.join(endless)} >&- 2>&-"],
        cwd=tmp_path,
        env=environment(),
    )
    try:
        wait_until((tmp_path / "run" / "metrics.csv").exists, process)
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=300) == 128 + signal.SIGHUP
    finally:
        process.kill()
    log = (tmp_path / "run" / "train.log").read_text()
    assert "stopped and saved; resume with: python train.py resume=run\n" in log
    with (tmp_path / "run" / "metrics.csv").open() as file:
        assert [*csv.DictReader(file)]
    assert [*(tmp_path / "run" / "checkpoints").glob("*.npz")]


def test_answers_that_cannot_be_written(tmp_path):
    run = ROOT / "tests" / "fixtures" / "run_0_1"
    command = f"echo 1 2 | $PYTHON {ROOT}/infer.py run={run} decoding.jit_compile=false"
    assert run_in_shell(f"{command} >/dev/full", tmp_path) == (2, "", FULL)
