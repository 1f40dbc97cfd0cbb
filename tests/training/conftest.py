"""Fixtures of the tests of training."""

import sys

import pytest

from seq2seq import cli


@pytest.fixture
def train_command(tmp_path, monkeypatch):
    """Returns a function that runs `train.py` in this process and folder, and returns its code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setenv("SEQ2SEQ_TRACEBACK", "0")

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["train.py", *words])
        try:
            cli.train()
        except SystemExit as stop:
            return stop.code or 0
        return 0

    return run
