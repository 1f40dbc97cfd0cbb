"""Distillation: a teacher's answers to unlabelled and invented sources join the examples."""

import dataclasses
import shutil

import pytest
from project import TINY

from seq2seq.config.load import compose
from seq2seq.data.examples import Example, Splits
from seq2seq.data.splits import load_splits
from seq2seq.data.tsv import read_examples
from seq2seq.errors import UserError
from seq2seq.inference.answers import Hypothesis, Prediction
from seq2seq.inference.predictor import Predictor
from seq2seq.runs.run_dir import RunDir
from seq2seq.training.distillation import teach
from seq2seq.training.run import resume, train

WORDS = [*TINY[:-1], "callbacks.tensorboard=false", "training.epochs=1"]


def train_in(folder, *words):
    train(compose(*WORDS, *words, f"run_dir={folder}"), folder)
    return RunDir.open(folder)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return train_in(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def student(teacher, tmp_path_factory):
    folder = tmp_path_factory.mktemp("student")
    known = load_splits(teacher.load_config().data).train[0]
    unlabelled = folder / "unlabelled.txt"
    unlabelled.write_text(f"{' '.join(known.source)}\n1 2 3 4 5\n\n1 2 3 4 5\n9 9\n")
    place = folder / "run"
    words = [f"distill_from={teacher.path}", "data.invented=40", f"data.unlabelled={unlabelled}"]
    return train_in(place, *words)


def test_the_teacher_answers_what_no_example_has(teacher, student):
    data = student.load_config().data
    taught = read_examples(str(student.taught), data)
    asked = [" ".join(example.source) for example in taught]
    assert asked[:2] == ["1 2 3 4 5", "9 9"]
    assert len(set(asked)) == len(asked) == 42
    assert not {e.source for e in taught} & {e.source for e in load_splits(data).train}
    answers = Predictor.load(teacher).predict(asked)
    assert [answer.tokens for answer in answers] == [example.target for example in taught]


def test_the_record_names_the_teacher(teacher, student):
    record = student.load_record()
    assert list(record["distill_from"]) == [str(teacher.path)]
    assert len(record["data"]["unlabelled"]) == 64


def test_a_run_resumes_without_its_teacher(student, tmp_path):
    alone = tmp_path / "run"
    shutil.copytree(student.path, alone)
    text = (alone / "config.yaml").read_text()
    (alone / "config.yaml").write_text(text.replace("unlabelled: /", "unlabelled: /gone"))
    examples = resume(alone, ["training.epochs=2"])["examples_per_second"]
    assert examples > 0
    rows = RunDir.open(alone).load_metrics()
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert "298 train" in (alone / "train.log").read_text()  # 256 and 42


def test_a_damaged_table_of_answers_is_one_line(student, tmp_path):
    alone = tmp_path / "run"
    shutil.copytree(student.path, alone)
    for damage in (lambda path: path.write_bytes(b"1 2\t3\n"), lambda path: path.unlink()):
        damage(alone / "taught.tsv")
        with pytest.raises(UserError, match=r"taught\.tsv: is missing, or not the file"):
            resume(alone, ["training.epochs=2"])


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["data.invented=5"], "need a teacher: add distill_from"),
        (["distill_from=RUN"], "add data.unlabelled=FILE or data.invented"),
        (["distill_from=nowhere", "data.invented=5"], "nowhere"),
        (["distill_from=RUN", "data.unlabelled=nowhere"], "nowhere: no such file"),
    ],
)
def test_a_mistake_is_named(words, problem, teacher, tmp_path):
    words = [word.replace("RUN", str(teacher.path)) for word in words]
    with pytest.raises(UserError, match=problem):
        train_in(tmp_path / "run", *words)
    assert not (tmp_path / "run").exists()


def test_a_teacher_reads_text_in_its_own_way(teacher, tmp_path):
    config = compose(*WORDS, f"distill_from={teacher.path}", "data.invented=3", "run_dir=x")
    data = dataclasses.replace(
        config.data, source=dataclasses.replace(config.data.source, tokens=" ")
    )
    train(dataclasses.replace(config, data=data), tmp_path / "run")
    assert len((tmp_path / "run" / "taught.tsv").read_text().splitlines()) == 3


class Echo:
    def predict(self, sources, features):
        return [Prediction([Hypothesis((), source, 0.0)]) for source in sources]


def test_sources_and_answers_beyond_the_limits_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(Predictor, "load", lambda runs: Echo())
    monkeypatch.setattr(RunDir, "find_all", lambda names: [])
    (tmp_path / "more").write_text("1 2\n1 2 3\n1 2 3 4\n")
    for limit in ("source", "target"):
        words = ["distill_from=x", f"data.unlabelled={tmp_path}/more", f"data.max_{limit}_length=3"]
        config = compose(*WORDS, *words, "run_dir=x")
        splits = Splits(train=[Example(("1",), ("1",))], dev=[], test=[])
        assert [one.target for one in teach(config, splits)] == [("1", "2"), ("1", "2", "3")]


def test_files_that_stay_on_disk_are_refused(teacher, tmp_path):
    splits = Splits(train=object(), dev=[], test=[])
    config = compose(*WORDS, f"distill_from={teacher.path}", "data.invented=3", "run_dir=x")
    with pytest.raises(UserError, match=r"raise data\.in_memory_mib"):
        teach(config, splits)
