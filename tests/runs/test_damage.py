"""Damaged run folders: every command goes on, or refuses them in one line."""

import collections
import csv
import json

import keras
import numpy as np
import pytest
from damages import (
    COMMANDS,
    as_bytes,
    call,
    copy_of,
    damages_of,
    files_of,
    is_read,
    other_arrays,
)

from seq2seq.errors import UserError
from seq2seq.runs.run_dir import RunDir
from seq2seq.runs.weights import read_arrays
from seq2seq.states.output import Output
from seq2seq.training.progress import Progress

pytestmark = pytest.mark.usefixtures("untraced")


def assert_told(code, errors, command):
    """Checks the end of a command: done, or a mistake that is told in one line, its last."""
    told = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in errors
    if code == 2:
        assert told == errors.splitlines()[-1:], errors
        assert told[0].isprintable()
    else:
        # `reproduce` ends with 1 if the runs differ.
        assert code == 0 or (code == 1 and command == "reproduce"), errors
        assert not told


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_every_file_damaged_in_every_way(command, small_run, tmp_path, monkeypatch):
    main, arguments = COMMANDS[command]
    monkeypatch.setattr(Output, "figure", lambda *_: None)  # seconds each, and no file is read
    ends, problems = collections.Counter(), []
    for name in files_of(small_run):
        for kind, damage in damages_of(small_run / name, is_read(command, name)).items():
            run = copy_of(small_run, tmp_path / "here")
            monkeypatch.chdir(run.parent)
            damage(run / name)
            try:
                code, errors = call(main, *arguments)
                assert_told(code, errors, command)
            except Exception as error:
                code = "neither"
                problems.append(f"{name}, {kind}: {error!r}")
            ends[code] += 1
            print(f"{command}: {name}, {kind}: {code}")
            keras.backend.clear_session()
    print(f"{command}: {dict(ends)}")
    assert not problems, "\n".join(problems)


NEWEST = "checkpoints/step_0000000004"
SAMPLE = [
    ("train", NEWEST, "folder", 0, "is damaged"),
    ("train", NEWEST, "weight of text", 0, "is damaged"),
    ("train", "record.json", "data=5", 2, "record.json: data is"),
    ("train", "train.log", "folder", 2, "train.log: cannot be written"),
    ("train", "dev", "file", 2, "run/dev"),
    ("reproduce", "results.json", "truncated", 2, "results.json: cannot be read as JSON"),
    ("reproduce", "metrics.csv", "one long field", 2, "metrics.csv: cannot be read as CSV"),
    ("reproduce", "best.weights.h5", "truncated", 2, "not a valid Keras weights file"),
    ("reproduce", "predictions/dev.tsv", "folder", 2, "not a regular file"),
    ("infer", "train.log", "pipe", 2, "is a pipe"),
    ("evaluate", "config.yaml", "optimizer=5", 2, "config.yaml: optimizer"),
    ("states", "target_vocab.txt", "circle", 2, "target_vocab.txt: cannot be read"),
]


@pytest.mark.parametrize(("command", "name", "kind", "code", "words"), SAMPLE)
def test_a_sample_of_damages(
    command, name, kind, code, words, small_run, tmp_path, monkeypatch, caplog
):
    run = copy_of(small_run, tmp_path / "here")
    monkeypatch.chdir(run.parent)
    [path] = run.parent.glob(f"run/{name}*")
    damages_of(path)[kind](path)
    main, arguments = COMMANDS[command]
    found, errors = call(main, *arguments)
    assert_told(found, errors, command)
    assert found == code
    assert words in errors + caplog.text


def test_a_newest_checkpoint_of_any_content_is_refused_before_anything_changes(small_run):
    """Every field of the progress with a wrong value; `test_a_sample_of_damages` has arrays."""
    newest = max((small_run / "checkpoints").glob("*.npz"))
    text = np.load(newest)["progress"].tobytes().decode()
    progress = Progress.from_json(text)
    assert Progress.from_json(progress.to_json()) == progress
    good = json.loads(text)
    odd = (-5, 10**30, "x", ["a"], [1.5], {"a": "b"})
    for name in good:
        for value in odd:
            if name == "callbacks" or (name, value) in (("best_loss", -5), ("best_value", -5)):
                continue  # any number is a loss
            if name.endswith("seconds") and value == -5:
                continue
            with pytest.raises(ValueError, match=r"progress|epoch|rows"):
                Progress.from_json(json.dumps(good | {name: value}))
    for whole in ("{", "[1]", "[" * 100_000, '{"a": 1}'):
        with pytest.raises(ValueError, match=r"progress|JSON|Expecting"):
            Progress.from_json(whole)
    assert len(other_arrays({"progress": as_bytes(text), "model/0": np.zeros((3, 4))})) == 8


def test_weights_are_inspected_before_they_are_compared(small_run, tmp_path):
    with pytest.raises(UserError, match="regular file"):
        read_arrays(tmp_path)
    found = read_arrays(RunDir(small_run).best_weights)
    assert all(array.dtype.kind in "fiu" for array in found.values())


def test_a_long_field_is_refused_whatever_limit_the_library_has(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text('epoch,loss\n1,"' + "x" * 200_000)
    before = csv.field_size_limit(2**30)
    try:
        with pytest.raises(UserError, match="cannot be read as CSV"):
            RunDir(tmp_path).load_metrics()
    finally:
        csv.field_size_limit(before)
