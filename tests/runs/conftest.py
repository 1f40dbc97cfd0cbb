"""A small finished run with features, with its data in a folder beside it."""

import contextlib

import pytest
import tensorflow as tf
from damages import TASK, call, write_data

from seq2seq import cli


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    write_data(folder)
    with contextlib.chdir(folder), untraced():
        code, errors = call(cli.train, *TASK, "run_dir=run")
    assert code == 0, errors
    return folder / "run"


@pytest.fixture(name="untraced")
def untraced_fixture():
    with untraced():
        yield


@contextlib.contextmanager
def untraced():
    """Runs functions op by op: to trace and compile them takes longer than a small run."""
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)
