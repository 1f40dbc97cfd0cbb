"""Fixtures of all tests, and the threads they may use."""

import os
import signal
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Tests run side by side; more threads than cores only wait for each other.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

# Every test compiles what it tests, and leaves nothing in the home folder.
os.environ["SEQ2SEQ_CACHE"] = "off"

# Numbers, and the choices that depend on the device, are those of a CPU; but see `make test-gpu`.
if os.environ.get("SEQ2SEQ_TEST_GPU") != "1":
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
else:
    # Tests in several processes share its memory.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

import hypothesis
import pytest
from project import ROOT, TINY, compose_config, run_process

# Under nohup or in the background of a shell the tests, and so the programs that they start, would
# ignore these signals.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says something of the machine, nothing of the code.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.register_profile("many", deadline=None, max_examples=10_000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "project"))


@pytest.fixture(name="compose", scope="session")
def compose_fixture():
    return compose_config


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """A run of the toy task, trained by a real process; the folder it was started in."""
    folder = tmp_path_factory.mktemp("tiny")
    options = [word for word in TINY if not word.startswith(("run_dir", "callbacks"))]
    result = run_process(ROOT / "train.py", *options, cwd=folder)
    assert result.returncode == 0, result.stderr.decode()
    [run] = (folder / "outputs" / "reverse").iterdir()
    return folder, run


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Returns a function that runs a command in this process, in `tmp_path`, and returns its code.

    Its arguments are the command's function, the name of its script, and the words after it.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setenv("SEQ2SEQ_TRACEBACK", "0")

    def run(main, script, *words):
        monkeypatch.setattr(sys, "argv", [script, *words])
        try:
            main()
        except SystemExit as stop:
            return stop.code or 0
        return 0

    return run
