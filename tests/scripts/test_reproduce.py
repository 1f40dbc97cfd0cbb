"""`python -m seq2seq.reproduce`: equal runs and their differences."""

import json
import re
import shutil

import h5py
import pytest
from project import TINY, compose_config, run_process

from seq2seq import cli, reproduce
from seq2seq.errors import UserError
from seq2seq.runs.run_dir import RunDir
from seq2seq.training import reproduction
from seq2seq.training.reproduction import Outcome, differences

OPTIONS = [word for word in TINY if not word.startswith("run_dir")]


def train(*options, cwd):
    result = run_process("-m", "train", *options, cwd=cwd)
    assert result.returncode == 0, result.stderr.decode()


def test_a_run_is_trained_again_to_the_last_bit(tmp_path, command, capfd):
    lines = [f"{i % 7} {i % 3} {i % 11}\t{i % 11} {i % 3} {i % 7}" for i in range(200)]
    (tmp_path / "a.tsv").write_text("\n".join(lines))
    data = ["data=tsv", "data.train=a.tsv", "data.dev=a.tsv", "data.source.tokens=word",
            "data.target.tokens=word", "model.dropout=0.2", "training.deterministic=true",
            "data.train_examples=null"]  # fmt: skip
    train(*OPTIONS, *data, "run_dir=run", cwd=tmp_path)
    result = run_process("-m", "seq2seq.reproduce", "run=run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr.decode()
    assert b"equal: weights, metrics" in result.stdout
    assert (
        list(differences(*(Outcome.of(RunDir(tmp_path / n)) for n in ("run", "run_reproduced"))))
        == []
    )
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["seed"] == 1
    assert re.fullmatch("[0-9a-f]{64}", record["data"]["train"])
    assert {"versions", "host", "threads", "commit", "environment"} <= record.keys()
    # Both commands refuse changed data, and name the file.
    (tmp_path / "a.tsv").write_text("\n".join(lines[1:]))
    for program, arguments in ((reproduce.main, ["run=run", "output=x"]),
                               (cli.train, ["resume=run", "training.epochs=9"])):  # fmt: skip
        assert command(program, "x.py", *arguments) == 2
        assert "a.tsv: its content has changed" in capfd.readouterr().err
    assert not (tmp_path / "x").exists()


def test_results_of_earlier_versions_are_compared_by_what_they_have(tiny_run, tmp_path):
    """Predictions have source, features, prediction and references; no scores have intervals."""
    old = tmp_path / "old"
    shutil.copytree(tiny_run[1], old)
    results = json.loads((old / "results.json").read_text())
    for name in ("dev", "test"):
        del results[name]["intervals"], results[name]["exposure_gap"]
    (old / "results.json").write_text(json.dumps(results))
    path = old / "predictions" / "dev.tsv"
    _, *rows = [line.split("\t") for line in path.read_text().splitlines()]
    texts = ["\t".join(row[:3] + row[6:]) + "\n" for row in rows]
    for lines, expected in ((texts, []), (texts[1:], ["predictions/dev.tsv"])):
        path.write_text("".join(lines))
        for pair in ((old, tiny_run[1]), (tiny_run[1], old)):
            assert list(differences(*(Outcome.of(RunDir(path)) for path in pair))) == expected


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("weights", "weights "),
        ("metrics.csv", "metrics of epoch 1"),
        ("results.json", "results, best_epoch"),
        ("predictions/dev.tsv", "predictions/dev.tsv"),
    ],
)
def test_every_difference_is_seen(tiny_run, tmp_path, damage, expected):
    _, run = tiny_run
    other = tmp_path / "other"
    shutil.copytree(run, other)
    assert list(differences(Outcome.of(RunDir(run)), Outcome.of(RunDir(other)))) == []
    if damage == "weights":
        with h5py.File(other / "best.weights.h5", "r+") as file:
            names = []
            file.visititems(
                lambda n, item: names.append(n) if isinstance(item, h5py.Dataset) else None
            )
            file[names[0]][...] += 1e-6
    else:
        path = other / damage
        text = path.read_text()
        changed = {
            "metrics.csv": lambda: text.replace("\n1,", "\n1,", 1).replace("0.", "1.", 3),
            "results.json": lambda: text.replace('"best_epoch": ', '"best_epoch": 9'),
            "predictions/dev.tsv": lambda: text + "x\ty\n",
        }[damage]()
        path.write_text(changed)
    found = list(differences(Outcome.of(RunDir(run)), Outcome.of(RunDir(other))))
    assert any(line.startswith(expected) for line in found), found


def test_a_run_of_several_workers_is_refused(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run[1], tmp_path / "run")
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("strategy: single", "strategy: multi_worker"))
    with pytest.raises(UserError, match="several workers trained it"):
        reproduction.reproduce(compose_config(f"run={run}", name="reproduce"))
