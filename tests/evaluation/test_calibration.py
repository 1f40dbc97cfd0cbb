"""Calibration: bins, the expected calibration error, the temperature, and where a run keeps it."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from project import compose_config
from small_trainings import TOY

from seq2seq.data.splits import load_splits
from seq2seq.evaluation.calibration import (
    TEMPERATURES,
    Bin,
    calibration_error,
    fit_temperature,
    is_decisive,
    reliability,
)
from seq2seq.evaluation.evaluate_model import decode
from seq2seq.evaluation.evaluate_run import evaluate_run
from seq2seq.inference.predictor import Predictor
from seq2seq.runs.calibration_file import drop_calibration, load_temperature, save_calibration
from seq2seq.runs.run_dir import RunDir
from seq2seq.training.run import train


def test_bins_and_their_error_by_hand():
    confidences = [0.05, 0.15, 0.2, 0.95, 1.0, 0.99]
    exact = [False, True, False, True, True, False]
    bins = reliability(confidences, exact)
    assert bins[0] == Bin(0.05, 0.0, 1)
    assert bins[1] == Bin(0.15, 1.0, 1)
    assert bins[2] == Bin(0.2, 0.0, 1)
    assert bins[9] == pytest.approx(Bin(0.98, 2 / 3, 3))
    assert math.isnan(bins[5].confidence)
    expected = (0.05 + 0.85 + 0.2 + 3 * (0.98 - 2 / 3)) / 6
    assert calibration_error(bins) == pytest.approx(expected)
    assert math.isnan(calibration_error(reliability([], [])))


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1), st.integers(1, 20))
def test_bins_hold_every_answer(answers, number):
    bins = reliability(*zip(*answers, strict=True), bins=number)
    assert len(bins) == number
    assert sum(one.count for one in bins) == len(answers)
    assert 0 <= calibration_error(bins) <= 1


@pytest.mark.parametrize("true_temperature", [0.5, 0.8, 1.0, 2.3])
def test_the_temperature_of_answers_is_found(true_temperature):
    """Answers of three tokens whose probabilities are right at one temperature."""
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(20_000, 3, 6)) * 2 * true_temperature

    def log_probs(temperature):
        scaled = logits / temperature
        return scaled - np.log(np.exp(scaled).sum(-1, keepdims=True))

    chosen = logits.argmax(-1)[..., None]
    totals = [np.take_along_axis(log_probs(t), chosen, -1).sum((1, 2)) for t in TEMPERATURES]
    right = np.take_along_axis(log_probs(true_temperature), chosen, -1).sum((1, 2))
    exact = (rng.random(len(right)) < np.exp(right)).tolist()
    found = fit_temperature(np.transpose(totals).tolist(), exact)
    assert found == pytest.approx(true_temperature, rel=0.05)


def test_few_or_equal_answers_decide_nothing():
    assert not is_decisive([True, False] * 24)
    assert is_decisive([True, False] * 25)
    assert not is_decisive([True] * 1000)
    assert not is_decisive([False] * 1000)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that has learned half of a small task, with the content of `results.json`."""
    words = ["model.units=16", "training.epochs=8", "optimizer.learning_rate=0.02"]
    words += ["data.symbols=5", "data.min_length=2", "data.max_length=4", "data.dev_examples=80"]
    path = tmp_path_factory.mktemp("trained") / "run"
    return RunDir(path), train(compose_config(*TOY, *words), path)


def test_a_run_keeps_the_temperature_of_its_dev_set(trained):
    run, results = trained
    assert 0.1 < results["dev"]["sequence_accuracy"] < 0.95
    calibration = json.loads(run.calibration.read_text())
    assert calibration == results["calibration"]
    assert load_temperature(run) == calibration["temperature"]
    # A log loss over a grid, from the confidences that users see.
    dev = load_splits(run.load_config().data).dev
    predictor = Predictor.load(run)
    losses = {}
    for factor in (0.8, 1.0, 1.25):
        predictor.observer.temperature = factor * calibration["temperature"]
        scored = decode(predictor, dev)
        sources = [" ".join(one.source) for one in scored]
        answers = predictor.predict(sources, with_details=True)
        assert all(one.is_calibrated for one in answers)
        losses[factor] = -np.mean(
            [
                math.log(one.confidence if example.is_exact else 1 - one.confidence)
                for one, example in zip(answers, scored, strict=True)
            ]
        )
    assert min(losses, key=losses.get) == 1.0


def test_evaluate_says_how_well_it_fits_and_what_is_given(trained):
    run, results = trained

    def evaluated(*words):
        return evaluate_run(compose_config(f"run={run.path}", *words, name="evaluate"))

    found = evaluated()
    errors = results["calibration"]["calibration_error"]["test"]
    assert found["calibration_error_before"] == pytest.approx(errors["before"], abs=1e-4)
    assert found["calibration_error_after"] == pytest.approx(errors["after"], abs=1e-4)
    assert "coverage" not in found
    strict = evaluated("decoding.reject_below=0.9")
    assert 0 < strict["coverage"] < 1
    assert strict["accuracy_of_given"] > found["sequence_accuracy"]
    assert strict["sequence_accuracy"] == found["sequence_accuracy"]


def test_known_answers_are_given_and_do_not_count_in_the_error(trained, tmp_path):
    run, _ = trained
    known = tmp_path / "known.tsv"
    known.write_text("1 2\t2 1\n3 1\t0 0\n")
    (tmp_path / "test.tsv").write_text("1 2\t2 1\n3 1\t1 3\n")
    words = [
        f"decoding.lexicon={known}",
        "decoding.reject_below=1",
        f"data.test={tmp_path}/test.tsv",
    ]
    found = evaluate_run(compose_config(f"run={run.path}", *words, name="evaluate"))
    assert (found["coverage"], found["accuracy_of_given"]) == (1.0, 0.5)
    assert "calibration_error_after" not in found


def test_other_weights_are_not_calibrated(trained, tmp_path):
    run = RunDir(tmp_path)
    save_calibration(run, {"temperature": 0.5})
    drop_calibration(run)
    drop_calibration(run)
    assert load_temperature(run) is None
    (tmp_path / "answers.txt").write_text("0 1\n2\n")
    words = [f"run={trained[0].path}", f"decoding.answers={tmp_path}/answers.txt"]
    config = compose_config(*words, name="infer")
    [answer] = Predictor.load(trained[0], config.decoding).predict(["1 0"], with_details=True)
    assert answer.is_calibrated is False  # The temperature is that of a free search.
