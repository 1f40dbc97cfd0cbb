"""Run folder: its text files, the newest run, and error messages."""

import dataclasses
import os

import pytest
from project import compose_config

from seq2seq.errors import UserError
from seq2seq.runs.run_dir import RunDir


def test_metrics_leave_empty_what_was_not_measured(tmp_path):
    run = RunDir.create(tmp_path / "r")
    run.save_metrics([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "dev_loss": 3.0}])
    assert run.metrics.read_text() == "epoch,loss,dev_loss\n1,2.0,\n2,1.0,3.0\n"


@pytest.fixture
def make_run(tmp_path):
    def make(name, started, written, is_trained=True):
        run = RunDir(tmp_path / name)
        run.path.mkdir(parents=True)
        run.save_record({"started": started} if started else {})
        for file in (run.config_file, run.best_weights)[: 1 + is_trained]:
            file.write_bytes(b"")
        for file in (run.record, *run.path.iterdir()):
            os.utime(file, (written, written))
        return run

    return make


def test_latest_is_the_run_that_was_started_last(tmp_path, make_run):
    with pytest.raises(UserError, match="no trained run"):
        RunDir.latest(tmp_path)
    with pytest.raises(UserError, match="resume=latest: no run"):
        RunDir.latest_started(tmp_path)
    long = make_run("a/long", "2026-01-31T12:00:00+00:00", written=2e9)
    make_run("b/resumed", "2025-01-31T12:00:00+00:00", written=2.1e9)
    # 12:30 in Paris is before 12:00 in London.
    make_run("c/east", "2026-01-31T12:30:00+01:00", written=2.2e9)
    untrained = make_run("d/untrained", "2026-02-01T00:00:00+00:00", 1e9, is_trained=False)
    assert RunDir.latest(tmp_path).path == long.path
    assert RunDir.latest_started(tmp_path).path == untrained.path


def test_a_run_without_a_start_is_as_old_as_its_record(tmp_path, make_run):
    make_run("new", "2001-01-01T00:00:00+00:00", written=2e9)
    old = make_run("old", None, written=1.5e9)
    assert RunDir.latest(tmp_path).path == old.path
    (old.path / "metrics.csv").write_text("")  # It is trained further.
    newer = make_run("damaged", "yesterday", written=1.6e9)
    assert RunDir.latest(tmp_path).path == newer.path
    newer.record.write_text("{")
    os.utime(newer.record, (1.4e9, 1.4e9))
    assert RunDir.latest(tmp_path).path == old.path


def test_settings_of_another_version_are_named(tmp_path):
    run = RunDir.create(tmp_path / "r")
    run.config_file.write_text("name: x\nmodel: {unitz: 3}\n")
    with pytest.raises(UserError, match=r"config\.yaml.*unitz"):
        run.load_config()
    with pytest.raises(UserError, match="already holds a run"):
        RunDir.create(tmp_path / "r")


def test_a_setting_out_of_the_range_of_today_is_named(tmp_path):
    run = RunDir.create(tmp_path / "r")
    run.save_config(compose_config("run_dir=r"), {})
    written = run.config_file.read_text()
    run.config_file.write_text(written.replace("length_penalty: 1.0", "length_penalty: 50.0"))
    words = r"^\S*r/config\.yaml: decoding\.length_penalty=50\.0 .*from -5\.0 to 5\.0$"
    with pytest.raises(UserError, match=words):
        run.load_config()
    run.config_file.write_text(written.replace("length_penalty: 1.0", "length_penalty: 5.0"))
    assert run.load_config().decoding.length_penalty == 5.0


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be created"):
        RunDir.create(tmp_path / "file" / "run")


def test_events_of_an_earlier_version_stay_in_their_folder(tmp_path):
    assert RunDir(tmp_path).tensorboard == tmp_path
    (tmp_path / "tensorboard").mkdir()
    assert RunDir(tmp_path).tensorboard == tmp_path / "tensorboard"


def test_a_run_of_many_files_can_be_opened(tmp_path):
    files = [f"/data/of/some/length/part-{number:05d}.tsv.gz" for number in range(2_000)]
    words = ["data=tsv", f"data.train=[{','.join(files)}]", "data.dev=/x", "run_dir=r"]
    config = compose_config(*words)
    run = RunDir.create(tmp_path / "r")
    run.check_size(config)
    run.save_config(config, {})
    assert run.load_config().data.train == files
    data = dataclasses.replace(config.data, train=files * 20)
    with pytest.raises(UserError, match="too many data files"):
        run.check_size(dataclasses.replace(config, data=data))
