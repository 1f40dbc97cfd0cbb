"""Decoded scores by hand and against another edit distance; the registry of metrics."""

import csv
import json
import random
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from same_runs import points
from small_trainings import SMALL

from seq2seq.config.choices import Monitor
from seq2seq.errors import UserError
from seq2seq.evaluation.metrics import (
    METRICS,
    Metric,
    check_monitor,
    decoded_metrics,
    edit_distance,
    format_mean,
    format_metric,
    sequence_accuracy,
    symbol_error_rate,
)
from seq2seq.training.run import train

words = st.text("abc", max_size=7)


def distance(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


def scores(predictions, references, with_optional=False):
    return decoded_metrics(predictions, references, " ".join, with_optional)


@given(words, words)
def test_edit_distance(a, b):
    assert edit_distance(tuple(a), tuple(b)) == distance(a, b)


def test_by_hand():
    predictions = ["abc", "ab", "", "xyz"]
    references = [["abc"], ["abcd", "b"], ["a"], ["zzz", "xyz"]]
    # Edits to the nearest: 0 of 3, 1 of 1, 1 of 1, 0 of 3.
    expected = {"sequence_accuracy": 0.5, "symbol_error_rate": 2 / 8, "examples": 4}
    assert scores(predictions, references) == expected


def test_of_equally_near_references_the_longest_counts():
    assert symbol_error_rate(["ab"], [["a", "abc"]]) == 1 / 3
    assert sequence_accuracy(["ab"], [["a", "abc"]]) == 0.0


def test_of_nothing():
    assert scores([], []) == {"sequence_accuracy": 0.0, "symbol_error_rate": 0.0, "examples": 0}


@given(st.lists(st.tuples(words, st.lists(words, min_size=1, max_size=3)), min_size=1))
def test_properties(pairs):
    predictions, references = zip(*pairs, strict=True)
    assert 0 <= sequence_accuracy(predictions, references) <= 1
    assert symbol_error_rate(predictions, references) >= 0
    perfect = scores([r[0] for r in references], references)
    assert (perfect["sequence_accuracy"], perfect["symbol_error_rate"]) == (1, 0)
    for name, metric in METRICS.items():
        if metric.perfect is not None:
            assert perfect[name] == metric.perfect


def test_bleu_and_chrf_take_any_number_of_references():
    lines = [line.split() for line in ("the cat sat on the mat", "a dog", "one dog")]
    perfect = scores(lines[:2], [[lines[0]], [lines[2], lines[1]]], with_optional=True)
    assert perfect["bleu"] == pytest.approx(100)
    assert perfect["chrf"] == pytest.approx(100)
    worse = scores([["the", "cat"], ["x"]], [[lines[0]], [lines[1]]], with_optional=True)
    assert worse["bleu"] < 50


def drawn_lines(count):
    """Predictions, and one to three references of each, by the seed 1."""
    rng = random.Random(1)
    lines = [rng.choices("abcdef", k=rng.randint(1, 9)) for _ in range(4 * count)]
    near = ([[*line[:-1], "x"], line, *lines[i::count]] for i, line in enumerate(lines[:count]))
    return lines[:count], [some[: rng.randint(1, 3)] for some in near]


@pytest.mark.parametrize("name", ["bleu", "chrf"])
def test_bleu_and_chrf_are_those_of_sacrebleu(name):
    sacrebleu = pytest.importorskip("sacrebleu")
    from sacrebleu.significance import _bootstrap_resample

    predictions, references = drawn_lines(2500)  # More than are counted at once.
    metric = {"bleu": sacrebleu.BLEU, "chrf": sacrebleu.CHRF}[name]()
    lines = [" ".join(line) for line in predictions]
    streams = [
        [" ".join(some[i]) if i < len(some) else None for some in references] for i in range(3)
    ]
    arguments = predictions, references, " ".join
    assert METRICS[name].measure(*arguments) == metric.corpus_score(lines, streams).score
    counts = metric._extract_corpus_statistics(lines, streams)
    _, resamples = _bootstrap_resample(counts, metric, 1000)
    expected = np.percentile([one.score for one in resamples], (2.5, 97.5))
    assert METRICS[name].interval(*arguments) == tuple(expected)


@pytest.mark.parametrize("name", ["bleu", "chrf"])
@pytest.mark.parametrize("part", ["measure", "interval"])
def test_bleu_and_chrf_of_many_lines_take_little_memory(name, part):
    pytest.importorskip("sacrebleu")
    predictions, references = drawn_lines(4000)
    compute = getattr(METRICS[name], part)
    compute(predictions[:9], references[:9], " ".join)  # What is imported is not counted.
    tracemalloc.start()
    try:
        compute(predictions, references, " ".join)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak / len(predictions) < 2500  # bytes


@pytest.mark.parametrize("monitor", [*Monitor])
def test_every_monitor_is_a_metric_that_ranks(monitor):
    metric = METRICS[monitor]
    assert metric.name == monitor
    better = (2.0, 1.0) if metric.is_higher_better else (1.0, 2.0)
    assert metric.rank(better[0]) > metric.rank(better[1])
    check_monitor(monitor, with_optional=True)
    if metric.is_optional:
        with pytest.raises(UserError, match=f"monitor={monitor} needs training.bleu=true"):
            check_monitor(monitor, with_optional=False)
    else:
        check_monitor(monitor, with_optional=False)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("sequence_accuracy", 0.5, "50.00 %"),
        ("symbol_error_rate", 1.25, "125.00 %"),
        ("loss", 0.25, "0.2500"),
        ("bleu", 31.5, "31.5000"),
        ("examples", 1234, "1,234"),
    ],
)
def test_numbers_for_people(name, value, expected):
    assert format_metric(name, value) == expected


def test_one_value_adds_a_metric_everywhere(compose, tmp_path, monkeypatch, capsys):
    """Evaluation, files, tables, the epoch's line and TensorBoard follow from the registry."""
    metric = Metric(
        "first_token_accuracy",
        lambda predictions, references, _: sequence_accuracy(
            [one[:1] for one in predictions], [[r[:1] for r in accepted] for accepted in references]
        ),
        is_higher_better=True,
        perfect=1.0,
        is_rate=True,
    )
    monkeypatch.setitem(METRICS, metric.name, metric)
    options = ["data.train_examples=64", "data.dev_examples=20", "data.test_examples=10"]
    options += ["training.epochs=1", "model.units=8", "callbacks.tensorboard=true"]
    run = tmp_path / "r"
    results = train(compose(*SMALL, *options), run)
    assert 0 <= results["dev"][metric.name] <= 1
    assert json.loads((run / "results.json").read_text())["test"].keys() == results["test"].keys()
    with (run / "metrics.csv").open() as file:
        [row] = csv.DictReader(file)
    assert float(row["dev_first_token_accuracy"]) == results["dev"][metric.name]
    assert metric.name in {tag for tag, _, _ in points(run / "dev")}
    assert f"result/test_{metric.name}" in {tag for tag, _, _ in points(run)}
    printed = capsys.readouterr().out
    shown = format_metric(metric.name, results["dev"][metric.name])
    [heads] = [line for line in printed.splitlines() if line.startswith("epoch ")]
    assert "first_token_accuracy" in heads
    assert shown.replace(" ", "") in printed  # the epoch's row
    assert printed.count("first_token_accuracy") == 2  # the heads, the table


def test_a_mean_of_equal_counts_is_a_count():
    assert format_mean("examples", [500, 500]) == "500"
    assert format_mean("sequence_accuracy", [0.5, 0.5]) == "50.00 ± 0.00 %"
    assert format_mean("sequence_accuracy", [0.5]) == "50.00 %"
