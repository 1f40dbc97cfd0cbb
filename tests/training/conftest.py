"""Fixtures of the tests of training."""

import pytest

from seq2seq import cli


@pytest.fixture
def train_command(command):
    """Returns a function that runs `train.py` in this process and folder, and returns its code."""
    return lambda *words: command(cli.train, "train.py", *words)
