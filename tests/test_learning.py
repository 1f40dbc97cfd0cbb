"""Tasks that the real training learns in seconds, scored by free-running search."""

import itertools
import random

import pytest
from small_trainings import SMALL

from seq2seq.data.splits import load_splits
from seq2seq.inference.predictor import Predictor
from seq2seq.runs.run_dir import RunDir
from seq2seq.training.run import train

THREE_DIGITS = [
    "data.min_length=3",
    "data.max_length=3",
    "data.train_examples=800",
    "data.dev_examples=100",
    "data.test_examples=100",
]


def write_voices(path, sources, voices=("same", "back", "twice")):
    """Writes lines in which the feature alone decides the target."""
    rules = {"same": lambda s: s, "back": lambda s: s[::-1], "twice": lambda s: s + s}
    lines = [f"{s}\t{rules[voice](s)}\t{voice}" for s in sources for voice in voices]
    path.write_text("\n".join(lines) + "\n")


def test_only_the_feature_decides(compose, tmp_path):
    """Every source comes with three features: a model that ignores them is right once in three."""
    sources = ["".join(letters) for letters in itertools.product("abcdef", repeat=3)]
    random.Random(1).shuffle(sources)
    write_voices(tmp_path / "train.tsv", sources[:180])
    write_voices(tmp_path / "dev.tsv", sources[180:])
    config = compose(
        *SMALL,
        "data=tsv",
        f"data.train={tmp_path / 'train.tsv'}",
        f"data.dev={tmp_path / 'dev.tsv'}",
        "data.features.column=3",
        "data.buckets=1",
        "model=attention",
        "model.units=64",
        "model.encoder.units=32",
        "model.embedding_size=32",
        "model.dropout=0",
        "training.epochs=20",
        "optimizer.learning_rate=0.01",
    )
    dev = load_splits(config.data).dev
    assert len({example.source for example in dev}) * 3 == len(dev) == 108
    results = train(config, tmp_path / "r")
    assert results["dev"]["sequence_accuracy"] >= 0.95
    predictor = Predictor.load(RunDir.open(tmp_path / "r"))
    source = "".join(dev[0].source)
    answers = predictor.predict([source] * 3, ["same", "back", "twice"])
    assert [answer.text for answer in answers] == [source, source[::-1], source * 2]


def test_the_repeat_vector_variant_learns_too(compose, tmp_path):
    config = compose(
        *SMALL,
        *THREE_DIGITS,
        "model.decoder.kind=repeat_vector",
        "model.bridge.kind=zero",
        "model.cell=gru",
        "model.units=64",
        "training.epochs=25",
        "training.steps_per_execution=25",
        "training.patience=null",
        "optimizer.learning_rate=0.01",
    )
    assert train(config, tmp_path / "r")["test"]["sequence_accuracy"] >= 0.9


@pytest.mark.parametrize("cell", ["peephole_lstm", "rwa", "lstm_zero_forget_bias"])
def test_every_cell_learns_and_is_read_back(compose, tmp_path, cell):
    """A guess is right once in a thousand sequences of three digits; the cells nearly always."""
    config = compose(
        *SMALL,
        *THREE_DIGITS,
        f"model.cell={cell}",
        "model.units=64",
        "training.epochs=20",
        "training.steps_per_execution=25",
        "training.patience=null",
        "optimizer.learning_rate=0.01",
    )
    results = train(config, tmp_path / "r")
    assert results["test"]["sequence_accuracy"] >= 0.9
    predictor = Predictor.load(RunDir.open(tmp_path / "r"))
    examples = load_splits(config.data).test
    answers = predictor.predict([" ".join(example.source) for example in examples])
    share = sum(a.tokens == e.target for a, e in zip(answers, examples, strict=True)) / 100
    assert share == results["test"]["sequence_accuracy"]
