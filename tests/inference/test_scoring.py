"""Scores of given targets: those of the search, whatever the batch; lines and summary."""

import json
import logging
import math

import numpy as np
import pytest
from project import compose_config
from test_predictor import OVERRIDES, SOURCES, log_probability

from seq2seq.data.examples import Example
from seq2seq.data.vocabulary import Vocabularies
from seq2seq.errors import UserError
from seq2seq.inference.predictor import Predictor
from seq2seq.inference.scoring import Scorer, score
from seq2seq.model.seq2seq import build_model
from seq2seq.special_ids import EOS

KINDS = [
    *([f"model.attention.kind={kind}"] for kind in ("none", "general", "hard", "monotonic")),
    *(["model.copy=true", f"model.attention.kind={kind}"] for kind in ("general", "monotonic")),
]


def make_predictor(*overrides):
    config = compose_config(*OVERRIDES, *overrides)
    vocabularies = Vocabularies.build([Example(("a", "b", "c", "d"), ("x", "y", "z", "b"))], 1)
    sizes = vocabularies.source_size, len(vocabularies.target)
    model = build_model(config.model, *sizes, copies=vocabularies.copies)
    rng = np.random.default_rng(3)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(size=weight.shape) * 0.7)
        if weight.shape == (len(vocabularies.target),):
            weight.assign(3 * np.eye(len(vocabularies.target))[EOS])  # so that most answers end
    return Predictor(model, vocabularies, config.data, config.decoding)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length_penalty", [0.0, 0.8])
def test_the_n_best_list_of_a_search_has_the_same_scores(kind, length_penalty):
    beam = ["decoding=beam", "decoding.beam_size=5", "decoding.n_best=5"]
    predictor = make_predictor(*kind, *beam, f"decoding.length_penalty={length_penalty}")
    pairs, expected = [], []
    for source, prediction in zip(SOURCES, predictor.predict(SOURCES), strict=True):
        for answer in prediction.hypotheses:
            # A hypothesis that max_length cut has no end to score.
            if len(answer.tokens) < 6:
                pairs.append(Example(tuple(source.split()), answer.tokens))
                expected.append(answer.score * ((5 + len(answer.tokens) + 1) / 6) ** length_penalty)
    assert len(pairs) > 10
    found = [one.total for one in Scorer(predictor)(pairs)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_score_is_the_log_probability_under_teacher_forcing():
    predictor = make_predictor("decoding.batch_size=2")
    targets = [("x",), ("y", "z", "x"), ("z", "z", "z", "z", "y", "x", "x", "y"), ("x", "y")]
    examples = [Example(tuple(s.split()), t) for s in SOURCES for t in targets]
    found = Scorer(predictor)(examples)
    for example, one in zip(examples, found, strict=True):
        expected = log_probability(predictor, " ".join(example.source), example.target)
        assert len(one.log_probs) == len(example.target) + 1
        assert one.total == pytest.approx(expected, abs=1e-4)
        assert one.perplexity == pytest.approx(math.exp(-expected / len(one.log_probs)), rel=1e-4)


def test_unknown_target_symbols_are_impossible():
    predictor = make_predictor()
    [known, unknown] = Scorer(predictor)(
        [Example(("a",), ("x", "y")), Example(("a",), ("x", "nosuch"))]
    )
    assert unknown.unknown == ("nosuch",)
    assert unknown.log_probs[0] == pytest.approx(known.log_probs[0], abs=1e-6)
    assert unknown.log_probs[1] == unknown.total == -math.inf
    assert math.isinf(unknown.perplexity)
    assert known.unknown == ()


def test_lines_and_summary(tiny_run, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    _, run = tiny_run
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("1 2 3\t3 2 1\n1 2 3\t1 2 3\n1 2\t2 x\n")
    numbers = {}
    for form in ("tsv", "jsonl"):
        output = tmp_path / f"scores.{form}"
        words = [f"run={run}", f"data.test={pairs}", f"output={output}", f"format={form}"]
        score(compose_config(*words, name="score"))
        numbers[form] = output.read_text().splitlines()
    rows = [line.split("\t") for line in numbers["tsv"]]
    assert [row[:2] for row in rows] == [["1 2 3", "3 2 1"], ["1 2 3", "1 2 3"], ["1 2", "2 x"]]
    assert [row[3] for row in rows] == ["4", "4", "3"]
    assert rows[2][2] == "-inf"
    for row, line in zip(rows, numbers["jsonl"], strict=True):
        answer = json.loads(line)
        assert [answer["source"], answer["target"]] == row[:2]
        if answer["log_prob"] is not None:
            assert float(row[2]) == pytest.approx(answer["log_prob"], abs=1e-5)
            total = sum(token["log_prob"] for token in answer["tokens"])
            assert total == pytest.approx(answer["log_prob"], abs=1e-5)
            assert answer["tokens"][-1]["token"] == "<eos>"
    assert json.loads(numbers["jsonl"][2])["unknown"] == ["x"]
    total = sum(float(row[2]) for row in rows[:2])
    summary = f"8 target tokens with their ends: log-probability {total / 8:.4f} per token"
    assert f"2 pairs, {summary}" in caplog.text
    assert "without 1 pair with target symbols" in caplog.text


def test_mistakes(tiny_run, tmp_path):
    _, run = tiny_run
    with pytest.raises(UserError, match="trained without a test file"):
        score(compose_config(f"run={run}", name="score"))
    with pytest.raises(UserError, match="nosuch"):
        score(compose_config(f"run={run}", f"data.test={tmp_path}/nosuch.tsv", name="score"))
