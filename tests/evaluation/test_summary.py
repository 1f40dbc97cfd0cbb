"""Final scores: bootstrap intervals against plain resampling, exposure gap, word error rate."""

import json

import numpy as np
import pytest

from seq2seq.evaluation.evaluate_model import ScoredExample
from seq2seq.evaluation.intervals import bootstrap_interval
from seq2seq.evaluation.summary import summarize, summary_rows
from seq2seq.evaluation.text_scores import bleu
from seq2seq.inference.answers import Hypothesis, Prediction


def scored_example(prediction, *references):
    answers = Prediction([Hypothesis(tuple(prediction), prediction, -1.0)])
    return ScoredExample(("a",), (), [tuple(reference) for reference in references], answers)


def test_an_interval_is_that_of_resampled_examples():
    rng = np.random.default_rng(7)
    edits, lengths = rng.integers(0, 4, 200), rng.integers(1, 9, 200)
    rows = rng.integers(0, 200, (20_000, 200))
    expected = np.percentile(edits[rows].sum(1) / lengths[rows].sum(1), (2.5, 97.5))
    found = bootstrap_interval(zip(edits, lengths, strict=True))
    assert found == pytest.approx(expected, abs=0.012)
    assert found == bootstrap_interval(zip(edits, lengths, strict=True))


def test_intervals_hold_the_true_rate_as_often_as_they_say():
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(300):
        low, high = bootstrap_interval((int(x), 1) for x in rng.random(150) < 0.8)
        held += low <= 0.8 <= high
    assert 0.91 <= held / 300 <= 0.98


def test_intervals_of_equal_examples_have_no_width():
    assert bootstrap_interval([(1, 1)] * 5) == (1.0, 1.0)
    assert bootstrap_interval([(0, 0)]) == (0.0, 0.0)


METRICS = {"token_accuracy": 0.9, "sequence_accuracy": 0.5, "symbol_error_rate": 0.25}


def test_scores_are_told_with_their_uncertainty():
    scored = [scored_example("ab", "ab"), scored_example("ab", "bb", "abcd")] * 20
    found = summarize(METRICS, scored, " ".join, with_word_error_rate=True)
    assert found.items() >= METRICS.items()
    assert found["word_error_rate"] == 0.5
    assert found["exposure_gap"] == pytest.approx(0.9 - 0.75)
    intervals = found["intervals"]
    low, high = intervals["sequence_accuracy"]
    assert 0.3 < low < 0.4 < 0.6 < high < 0.7
    assert intervals["word_error_rate"] == [1 - high, 1 - low]
    rows = dict(summary_rows({"dev": found}))
    assert rows["sequence_accuracy"] == f"50.00 % [{100 * low:.1f}, {100 * high:.1f}]"
    assert rows["word_error_rate"].startswith("50.00 % [")
    assert rows["exposure gap"] == "15.00 % (90.00 → 75.00)"
    alike = summarize(METRICS | {"sequence_accuracy": 1.0}, scored[:1] * 5, " ".join, False)
    assert dict(summary_rows({"dev": alike}))["sequence_accuracy"] == "100.00 %"


def test_bleu_and_chrf_have_intervals_where_they_are_measured():
    pytest.importorskip("sacrebleu")
    scored = [scored_example("abcdefg", "abcdefg"), scored_example("abxdefg", "abcdefg")] * 10
    values = {"bleu": bleu([one.prediction.tokens for one in scored],
                           [one.references for one in scored], " ".join)}  # fmt: skip
    found = summarize(METRICS | values, scored, " ".join, False)
    low, high = found["intervals"]["bleu"]
    assert low < values["bleu"] < high
    json.dumps(found)
    # Resamples without the right example score 0.
    scored = [scored_example("abcdefg", "abcdefg"), *[scored_example("x", "abcdefg")] * 3]
    some = summarize(METRICS | values, scored, " ".join, False)["intervals"]["bleu"]
    assert some[0] == 0 < some[1]
    nothing = summarize(METRICS | {"bleu": 0.0}, [scored_example("", "ab")], " ".join, False)
    assert nothing["intervals"]["bleu"] == [0, 0]
    assert "chrf" not in found["intervals"]
    row = dict(summary_rows({"dev": found}))["bleu"]
    assert row == f"{values['bleu']:.4f} [{low:.1f}, {high:.1f}]"


def test_scores_without_examples_and_of_earlier_versions():
    found = summarize(METRICS, [], " ".join, with_word_error_rate=False)
    assert found["intervals"] == {}
    assert "word_error_rate" not in found
    assert summary_rows({"dev": METRICS, "test": found})[1:] == [
        ["sequence_accuracy", "50.00 %", "50.00 %"],
        ["symbol_error_rate", "25.00 %", "25.00 %"],
        ["exposure gap", "", "15.00 % (90.00 → 75.00)"],
    ]
