"""Run folder: its text files, the newest run, and error messages."""

import pytest

from seq2seq.errors import UserError
from seq2seq.runs.run_dir import RunDir


def test_metrics_leave_empty_what_was_not_measured(tmp_path):
    run = RunDir.create(tmp_path / "r")
    run.save_metrics([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "dev_loss": 3.0}])
    assert run.metrics.read_text() == "epoch,loss,dev_loss\n1,2.0,\n2,1.0,3.0\n"


def test_latest_is_the_newest_trained_run(tmp_path):
    import os

    with pytest.raises(UserError, match="no trained run"):
        RunDir.latest(tmp_path)
    for age, name in enumerate(("a/new", "b/old", "c/untrained")):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text("")
        if name != "c/untrained":
            (folder / "best.weights.h5").write_bytes(b"")
            os.utime(folder / "best.weights.h5", (100 - age, 100 - age))
    assert RunDir.latest(tmp_path).path == tmp_path / "a/new"


def test_settings_of_another_version_are_named(tmp_path):
    run = RunDir.create(tmp_path / "r")
    run.config_file.write_text("name: x\nmodel: {unitz: 3}\n")
    with pytest.raises(UserError, match=r"config\.yaml.*unitz"):
        run.load_config()
    with pytest.raises(UserError, match="already holds a run"):
        RunDir.create(tmp_path / "r")


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be created"):
        RunDir.create(tmp_path / "file" / "run")


def test_events_of_an_earlier_version_stay_in_their_folder(tmp_path):
    assert RunDir(tmp_path).tensorboard == tmp_path
    (tmp_path / "tensorboard").mkdir()
    assert RunDir(tmp_path).tensorboard == tmp_path / "tensorboard"
