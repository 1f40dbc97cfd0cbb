"""Screen of a training: 80 columns, the same lines in train.log, compiled shapes, reasons."""

import dataclasses
import logging
import re
from itertools import islice

import numpy as np
import pytest
import tensorflow as tf
from project import compose_config
from small_trainings import SMALL

from seq2seq.config.choices import Monitor
from seq2seq.data.batches import BatchPlan
from seq2seq.data.splits import load_splits
from seq2seq.data.vocabulary import Vocabularies
from seq2seq.errors import UserError
from seq2seq.model.losses import TokenSums
from seq2seq.training.compilation import announce_shapes
from seq2seq.training.log_file import held_messages, logging_to
from seq2seq.training.progress import Progress
from seq2seq.training.progress_bar import ProgressBar
from seq2seq.training.run import train
from seq2seq.training.screen import Screen, command
from seq2seq.training.step import StepResult
from seq2seq.training.terminal import show_end


@pytest.fixture
def settings():
    return compose_config(*SMALL).training


def stop_early(path):
    """Trains a model that learns nothing until it stops; one of its checks warns."""
    options = ["data.min_length=3", "data.max_length=5", "data.max_source_length=4",
               "data.train_examples=200", "data.dev_examples=40", "data.test_examples=0",
               "model.units=4", "optimizer.learning_rate=0.0", "training.patience=2"]  # fmt: skip
    return train(compose_config(*SMALL, *options), path)


def test_the_log_has_all_that_the_terminal_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    stop_early("run")
    shown = capsys.readouterr().out.splitlines()
    assert max(map(len, shown)) <= 80
    assert not any("\x1b" in line or line != line.rstrip() for line in shown[:10])
    logged = (tmp_path / "run" / "train.log").read_text(encoding="utf-8").splitlines()
    texts = [re.sub(r"^\S+ \S+ INFO ", "", line) for line in logged]
    assert [text for text in texts if text in shown] == shown
    # First the warnings of the checks, when there was no folder yet.
    assert re.search(r"WARNING left out \d+ of 200 training examples", logged[0])
    heads = [i for i, line in enumerate(shown) if line.lstrip().startswith("epoch ")]
    assert len(heads) == 1
    rows = [line.split() for line in shown[heads[0] + 1 :][:3]]
    assert [row[0] for row in rows] == ["1/40", "2/40", "3/40"]
    assert [row[-1] == "*" for row in rows] == [True, False, False]
    end = shown[heads[0] + 4]
    assert end.split(maxsplit=1) == [
        "end",
        "after epoch 3: no better dev_sequence_accuracy for 2 epochs",
    ]
    steps = dict(line.split(maxsplit=1) for line in shown[-2:])
    assert steps["run"] == "folder  run"
    assert steps["decode"].endswith(" infer run=run")


def test_the_log_has_the_last_error(tmp_path):
    with held_messages():
        logging.getLogger("seq2seq.x").warning("before the folder")
        with pytest.raises(UserError), logging_to(tmp_path / "log"):
            raise UserError("the disk is full")
        with pytest.raises(ZeroDivisionError), logging_to(tmp_path / "log"):
            print(1 / 0)
    logging.getLogger("seq2seq.x").warning("after the end")
    text = (tmp_path / "log").read_text(encoding="utf-8")
    assert re.sub(r"(?m)^\S+ \S+ ", "", text).splitlines()[:3] == [
        "WARNING before the folder",
        "ERROR error: the disk is full",
        "ERROR error: division by zero",
    ]
    assert "Traceback" in text
    assert text.count("before the folder") == 1
    assert "after the end" not in text


@pytest.mark.parametrize("monitor", list(Monitor))
def test_rows_fit_80_columns(monitor, settings, capsys):
    settings = dataclasses.replace(settings, monitor=monitor, bleu=True, epochs=10_000)
    bar = ProgressBar(Screen(), settings, steps=100)
    names = ("loss", "token_accuracy", "sequence_accuracy", "symbol_error_rate", "bleu", "chrf")
    logs = {name: 1234.5678 if name == "loss" else 1.0 for name in names}
    logs |= {f"val_{name}": value for name, value in logs.items()}
    bar.show_epoch(9_999, logs | {"examples_per_second": 1_234_567.8}, True, 99_999)
    bar.show_epoch(10_000, {"loss": 1.0, "examples_per_second": 1.0}, False, 1.0)
    heads, first, second = capsys.readouterr().out.splitlines()
    assert max(map(len, (heads, first, second))) <= 80
    assert len(heads.split()) == len(first.split()) - 1 == len(second.split())
    assert first.split()[-2:] == ["27:46:39", "*"]
    assert second.split()[1:4].count("-") >= 1  # not evaluated
    if monitor in ("bleu", "chrf"):
        assert monitor in heads


@pytest.mark.parametrize(
    ("progress", "more", "reason"),
    [
        ({"epoch": 40}, {}, "all 40 epochs are trained"),
        ({"epoch": 7, "is_stopped": True}, {}, "after epoch 7: a callback asked for it"),
        (
            {"epoch": 7, "evaluations_without_better": 1, "best_value": 1.0},
            {},
            "after epoch 7: dev_sequence_accuracy of 100.00 % cannot get better",
        ),
        (
            {"epoch": 20, "evaluations_without_better": 10, "best_value": 0.5},
            {"evaluate_every": 2},
            "after epoch 20: no better dev_sequence_accuracy for 10 evaluations",
        ),
    ],
)
def test_the_reason_of_the_end_is_told(progress, more, reason, settings, capsys):
    show_end(Screen(), Progress(**progress), dataclasses.replace(settings, **more))
    assert capsys.readouterr().out == f"end         {reason}\n"


def test_commands_are_shown_as_the_user_types_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["/somewhere/train.py", "x=1"])
    assert command("infer", "run", tmp_path / "a b") == "python infer.py 'run=a b'"
    monkeypatch.setattr("sys.argv", ["/usr/bin/seq2seq", "train"])
    assert command("train", "resume", tmp_path / "a") == "seq2seq train resume=a"


def test_the_numbers_of_coming_shapes():
    config = compose_config(*SMALL, "data=addition", "data.train_examples=300")
    splits = load_splits(config.data)
    vocabularies = Vocabularies.build(splits.train, 1)
    plan = BatchPlan(splits.train, vocabularies, batch_size=32, buckets=4)
    count = 2 * plan.steps
    batches = islice(plan.epochs(1, epoch=2, start=3), count)
    shapes = [(*batch.source.shape, batch.target_in.shape[1]) for batch in batches]
    numbers = [*islice(plan.shape_numbers(1, epoch=2, start=3), count)]
    assert [plan.shapes[number] for number in numbers] == shapes
    assert len(set(numbers)) == len(plan.shapes) > 1


def scripted_steps(values, diverges_at=None):
    """Steps as `compile_training` makes them: float32 sums in the order of the batches."""
    left, calls = iter(values), []

    def train_steps(_, count):
        calls.append(int(count))
        total, taken, diverged = tf.constant(0.0), 0, 0
        while taken < int(count) and not diverged:
            total, taken = total + next(left), taken + 1
            diverged = int(sum(calls) - int(count) + taken == diverges_at)
        return StepResult(TokenSums(total, total, total, total), tf.constant(taken),
                          tf.constant(diverged))  # fmt: skip

    return train_steps, calls


def test_every_new_shape_is_announced_once_and_changes_no_sum():
    rng = np.random.default_rng(1)
    values = [tf.constant(value, tf.float32) for value in rng.normal(size=12) * 1e3]
    shapes = [0, 0, 1, 0, 1, 1, 0, 0, 2, 1, 2, 0]
    told = []
    plain, _ = scripted_steps(values)
    steps, calls = scripted_steps(values)
    steps = announce_shapes(steps, iter(shapes), 3, told.append, stops_at_divergence=True)
    for count in (4, 2, 4, 2):
        expected, found = (one(None, tf.constant(count)) for one in (plain, steps))
        assert [float(x) for x in found.sums] == [float(x) for x in expected.sums]
        assert int(found.count) == count
    assert told == [f"compiling shape {i} of 3" for i in (1, 2, 3)]
    assert calls == [1, 1, 1, 1, 2, 1, 1, 1, 1, 2]


def test_a_diverged_step_is_the_last_of_its_call():
    steps, _ = scripted_steps([tf.constant(1.0)] * 4, diverges_at=2)
    steps = announce_shapes(steps, iter([0, 1, 0, 1]), 2, print, stops_at_divergence=True)
    result = steps(None, tf.constant(4))
    assert (int(result.count), int(result.diverged)) == (2, 1)
