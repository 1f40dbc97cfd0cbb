"""Runs and data that were moved: found again, or accepted at another place by their checksum."""

import dataclasses
import json
import shutil

import pytest
from damages import COMMANDS, call

from seq2seq import cli
from seq2seq.errors import UserError
from seq2seq.runs.provenance import refuse_other_data
from seq2seq.runs.run_dir import RunDir

pytestmark = pytest.mark.usefixtures("untraced")


@pytest.fixture(scope="module")
def project(small_run):
    """A folder with a run and its data."""
    return small_run.parent


@pytest.fixture
def moved(project, tmp_path, monkeypatch):
    """A copy of the project at another place; the original cannot be found."""
    hidden = project.with_name("hidden")
    project.rename(hidden)
    shutil.copytree(hidden, tmp_path / "moved")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    yield tmp_path / "moved"
    hidden.rename(project)


def data_of(run):
    data = RunDir.open(run).load_config().data
    return {"train": data.train, "dev": data.dev, "test": data.test}


def test_paths_are_absolute(project, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    expected = {name: str(project / f"data/{name}.tsv") for name in ("train", "dev", "test")}
    assert data_of(project / "run") == expected


def test_a_run_that_moved_with_its_data_finds_it(moved):
    expected = {name: str(moved / f"data/{name}.tsv") for name in ("train", "dev", "test")}
    assert data_of(moved / "run") == expected


def test_a_run_of_before_with_relative_paths_finds_its_data(moved):
    config = moved / "run" / "config.yaml"
    config.write_text(config.read_text().replace(f"{project_of(config)}/", ""))
    assert data_of(moved / "run")["dev"] == str(moved / "data/dev.tsv")


def project_of(config):
    """Returns the folder of the project when its run was trained."""
    [line] = [line for line in config.read_text().splitlines() if line.startswith("run_dir: ")]
    return line.removeprefix("run_dir: ").removesuffix("/run")


def test_commands_need_only_the_files_they_use(moved):
    (moved / "data/train.tsv").unlink()
    (moved / "data/dev.tsv").unlink()
    assert call(COMMANDS["evaluate"][0], f"run={moved}/run")[0] == 0
    (moved / "data/test.tsv").unlink()
    code, errors = call(COMMANDS["evaluate"][0], f"run={moved}/run")
    assert (code, errors.count("\n")) == (2, 1)
    assert "test.tsv: no such file" in errors


def test_data_at_another_place_is_accepted_by_its_checksum(moved, caplog):
    new = moved.parent / "new"
    (moved / "data").rename(new)
    places = [f"data.{name}={new}/{name}.tsv" for name in ("train", "dev")]
    resume = [f"resume={moved}/run", "training.epochs=3", "callbacks.tensorboard=false"]
    # The other content first: nothing is trained then.
    code, errors = call(cli.train, *resume, f"data.train={new}/dev.tsv", places[1])
    assert code == 2
    assert "is not the file that the run was trained on" in errors.splitlines()[-1]
    code, errors = call(cli.train, *resume, *places)
    assert code == 0, errors
    assert "ends without test scores" in caplog.text
    results = json.loads((moved / "run/results.json").read_text())
    assert "dev" in results
    assert "test" not in results
    found = data_of(moved / "run")
    assert (found["train"], found["dev"]) == (f"{new}/train.tsv", f"{new}/dev.tsv")
    assert found["test"].endswith("data/test.tsv")


def test_without_a_recorded_checksum_no_other_place_is_accepted(project):
    data = RunDir.open(project / "run").load_config().data
    moved = dataclasses.replace(data, train=data.dev)
    with pytest.raises(UserError, match=r"dev\.tsv: record\.json has no checksum of this file"):
        refuse_other_data({"data": {}}, data, moved)
    refuse_other_data({"data": {}}, data, data)
