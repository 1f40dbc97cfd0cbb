"""Training on the files of several languages: what a run keeps of them, and how it goes on."""

import csv
import gzip
import json
import shutil

import numpy as np
import pytest
from project import compose_config

from seq2seq.config.commands import AnswerSettings
from seq2seq.errors import UserError
from seq2seq.evaluation.evaluate_run import evaluate_run
from seq2seq.inference.predictor import Predictor
from seq2seq.runs.run_dir import RunDir
from seq2seq.training.reproduction import reproduce
from seq2seq.training.run import resume, train

SETTINGS = [
    "run_dir=x",
    "data=tsv",
    "data.temperature=2",
    "data.in_memory_mib=0",
    "data.buckets=1",
    "model.units=8",
    "training.epochs=1",
    "training.batch_size=16",
    "training.micro_batches=1",
    "training.jit_compile=false",
    "decoding.jit_compile=false",
    "callbacks.tensorboard=false",
    "callbacks.report=false",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three shards of German, copied, and one of French, reversed; a run of one epoch."""
    folder = tmp_path_factory.mktemp("languages")
    rng = np.random.default_rng(1)
    words = sorted({"".join(rng.choice([*"abcdef"], rng.integers(2, 7))) for _ in range(400)})
    parts = {"de-1.csv": 60, "de-2.csv.gz": 90, "fr-1.csv": 20, "dev.csv": 30}
    for name, count in parts.items():
        lines = [f"{word},{word[::-1] if name[0] == 'f' else word}\n" for word in words[:count]]
        content = ("word,form\n" + "".join(lines)).encode()
        (folder / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        words = words[count:]
    train(settings(folder), folder / "run")
    return folder


def settings(folder, *more):
    files = [f"data.train='{folder}/{{tag}}-*'", f"data.dev={{de:{folder}/dev.csv}}"]
    columns = ["data.source.column=word", "data.target.column=form"]
    columns += ["data.source.tokens=char", "data.target.tokens=char"]
    return compose_config(*SETTINGS, *files, *columns, *more)


@pytest.fixture
def run(folder, tmp_path):
    """A copy of all, in a folder of its own."""
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy" / "run"


def rows(run):
    with (run / "metrics.csv").open() as file:
        return [
            {name: value for name, value in row.items() if "second" not in name}
            for row in csv.DictReader(file)
        ]


def test_a_run_keeps_the_files_and_the_checksum_of_each(folder):
    run = RunDir.open(folder / "run")
    expected = {"de": ["de-1.csv", "de-2.csv.gz"], "fr": ["fr-1.csv"]}
    named = {tag: [str(folder / name) for name in names] for tag, names in expected.items()}
    assert run.load_config().data.train == named
    found = json.loads((folder / "run" / "record.json").read_text())["data"]
    assert [len(found["train"]), len(found["dev"])] == [3, 1]
    assert run.feature_vocabulary.read_text().split()[-2:] == ["de", "fr"]


@pytest.mark.slow
def test_a_later_file_changes_nothing_and_a_changed_one_is_refused(folder, run, tmp_path):
    shutil.copy(run.parent / "fr-1.csv", run.parent / "fr-2.csv")  # later than the run
    resume(run, ["training.epochs=2"])
    train(settings(folder, "training.epochs=2"), tmp_path / "straight")
    assert rows(run) == rows(tmp_path / "straight")
    again = f"run={tmp_path}/straight", f"output={tmp_path}/again"
    assert reproduce(compose_config(*again, name="reproduce")) == []
    places = f"{{de:[{tmp_path}/de-1.csv,{tmp_path}/de-2.csv.gz],fr:[{tmp_path}/fr-1.csv]}}"
    for name in ("de-1.csv", "de-2.csv.gz", "fr-1.csv"):
        shutil.move(run.parent / name, tmp_path / name)
    resume(run, [f"data.train={places}", "training.epochs=3"])
    other = places.replace("de-1.csv", "straight/config.yaml")
    with pytest.raises(UserError, match=r"config\.yaml: is not the file that the run was trained "):
        resume(run, [f"data.train={other}", "training.epochs=4"])
    for wrong in (places.replace("de:", "it:"), "a.csv", f"{{de:[{tmp_path}/de-1.csv]}}"):
        with pytest.raises(UserError, match=r"data\.train"):
            resume(run, [f"data.train={wrong}", "training.epochs=4"])
    with (tmp_path / "fr-1.csv").open("a") as file:
        file.write("more,erom\n")
    with pytest.raises(UserError, match=r"fr-1\.csv: its content has changed since the run began"):
        resume(run, ["training.epochs=4"])


def test_the_tag_is_asked_for(folder, tmp_path):
    def evaluate(files):
        command = f"run={folder}/run", f"data.test={files}", "decoding=greedy"
        return evaluate_run(compose_config(*command, name="evaluate"))

    assert evaluate(f"{{de:{folder}/dev.csv,fr:{folder}/fr-1.csv}}")["examples"] == 50
    with pytest.raises(
        UserError, match=r"dev\.csv: has no tag, but the training files have: write"
    ):
        evaluate(f"{folder}/dev.csv")
    lexicon = AnswerSettings(lexicon={"fr": str(folder / "fr-1.csv")})
    with (folder / "fr-1.csv").open() as file:
        word = next(csv.DictReader(file))["word"]
    answers = Predictor.load(folder / "run", lexicon).predict([word, word], ["fr", "de"])
    assert [answers[0].text, answers[0].is_known, answers[1].is_known] == [word[::-1], True, False]
