"""Details of answers: probabilities of tokens, alignment, confidence, rejection."""

import dataclasses
import json
import math
from contextlib import nullcontext

import numpy as np
import pytest
import tensorflow as tf
from project import ROOT, compose_config
from test_ensemble import LINES, TAGS, different, make, together  # noqa: F401
from test_predictor import log_probability
from test_scoring import KINDS, make_predictor

from seq2seq.config.choices import SearchKind
from seq2seq.config.commands import AnswerSettings
from seq2seq.errors import UserError
from seq2seq.inference import lines
from seq2seq.inference.observation import mean_temperature
from seq2seq.inference.predictor import Predictor
from seq2seq.runs.calibration_file import load_temperature, save_calibration
from seq2seq.runs.run_dir import RunDir

SOURCES = ["a b c", "d", "b b a c a d", "c c c c"]


def changed(predictor, temperature=None, answers=None, **changes):
    decoding = dataclasses.replace(predictor.decoding, **changes)
    tables, data = predictor.vocabularies, predictor.data
    return Predictor(predictor.model, tables, data, decoding, (), answers, temperature)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("search", ["greedy", "beam", "sampling"])
def test_probabilities_of_tokens_multiply_to_that_of_the_answer(kind, search):
    more = {} if search == "greedy" else {"n_best": 3, "length_penalty": 0.0, "batch_size": 2}
    predictor = make_predictor(*kind)
    predictor = changed(predictor, kind=SearchKind(search), **more)
    plain = predictor.predict(SOURCES)
    detailed = predictor.predict(SOURCES, with_details=True)
    for before, prediction in zip(plain, detailed, strict=True):
        assert before.confidence is None
        for one, other in zip(before.hypotheses, prediction.hypotheses, strict=True):
            assert (one.tokens, one.score) == (other.tokens, other.score)
            assert one.probabilities == one.alignment == ()
            is_finished = len(other.tokens) < predictor.decoding.max_length
            assert len(other.probabilities) == len(other.tokens) + is_finished
            total = math.fsum(map(math.log, other.probabilities))
            assert total == pytest.approx(other.score, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_alignment_is_where_the_attention_weights_are_largest(kind):
    predictor = make_predictor(*kind)
    for prediction in predictor.predict(SOURCES, with_details=True):
        [hypothesis] = prediction.hypotheses
        weights = predictor.attention((prediction.read, ()), hypothesis.tokens)
        if weights is None:
            assert hypothesis.alignment == ()
            continue
        expected = weights.argmax(-1)[: len(hypothesis.probabilities)]
        assert hypothesis.alignment == tuple(expected)
        assert max(hypothesis.alignment) < len(prediction.read)


@pytest.mark.parametrize("temperature", [None, 0.6, 1.7])
def test_the_confidence_is_the_probability_at_the_temperature(temperature):
    predictor = changed(make_predictor(), temperature)
    for source, prediction in zip(
        SOURCES, predictor.predict(SOURCES, with_details=True), strict=True
    ):
        assert prediction.is_calibrated is (temperature is not None)
        tables = predictor.vocabularies
        ids = tables.encode_target(prediction.tokens)
        inputs = {"source": [tables.encode_source(source.split(), ())], "target_in": [ids[:-1]]}
        logits = predictor.model({name: tf.constant(one) for name, one in inputs.items()})[0]
        logits = np.array(logits, np.float64) / (temperature or 1.0)
        logits[:, [0, 1, 2]] = -np.inf
        expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        expected = np.prod(expected[range(len(ids) - 1), ids[1:]])
        assert prediction.confidence == pytest.approx(expected, rel=1e-3)
        if temperature is None:
            assert math.log(expected) == pytest.approx(
                log_probability(predictor, source, prediction.tokens), abs=1e-4
            )


def test_an_ensemble_is_observed_as_a_whole(different):  # noqa: F811
    ensemble = together(*different)
    for prediction in ensemble.predict(LINES, TAGS, with_details=True):
        [hypothesis] = prediction.hypotheses
        total = math.fsum(map(math.log, hypothesis.probabilities))
        assert total == pytest.approx(hypothesis.score, abs=1e-4)
        # The second member reads other tokens: its positions are not those of the first.
        assert all(0 <= place < len(prediction.read) for place in hypothesis.alignment)
    assert mean_temperature([0.5, 2.0, 1.0]) == pytest.approx(1.0)
    assert mean_temperature([0.5, None]) is None


def test_the_alignment_of_an_ensemble_is_that_of_the_mean_of_weights():
    members = [make(seed) for seed in (1, 2)]
    for prediction in together(*members).predict(LINES, with_details=True):
        [hypothesis] = prediction.hypotheses
        source = (prediction.read, ())
        mean = sum(member.attention(source, hypothesis.tokens) for member in members)
        expected = tuple(mean.argmax(-1)[: len(hypothesis.probabilities)])
        assert hypothesis.alignment == expected


def test_unsure_answers_are_rejected():
    predictor = make_predictor()
    everything = predictor.predict(SOURCES, with_details=True)
    confidences = sorted(one.confidence for one in everything)
    limit = (confidences[1] + confidences[2]) / 2
    found = changed(predictor, answers=AnswerSettings(reject_below=limit)).predict(SOURCES)
    for one, before in zip(found, everything, strict=True):
        assert one.is_rejected is (one.confidence < limit)
        assert one.text == ("" if one.is_rejected else before.text)
        assert one.hypotheses == before.hypotheses
    assert sum(one.is_rejected for one in found) == 2


def ask(run, tmp_path, *words):
    (tmp_path / "in").write_text("1 2 3\n\n3 2\n")
    files = [f"input={tmp_path}/in", f"output={tmp_path}/out"]
    config = compose_config(f"run={run}", *files, *words, name="infer")
    lines.infer(config, nullcontext(Predictor.load(run, config.decoding)))
    return (tmp_path / "out").read_text().splitlines()


def test_lines_of_rejected_answers(tiny_run, tmp_path, caplog):
    _, run = tiny_run
    reject = "decoding.reject_below=1"
    plain, rejected = ask(run, tmp_path), ask(run, tmp_path, reject)
    assert plain[0] != ""
    assert rejected == ["", "", ""]
    assert "2 of 3 answers are rejected" in caplog.text
    table = [row.split("\t") for row in ask(run, tmp_path, reject, "format=tsv")]
    assert [row[1] for row in table] == ["0", "0", "0"]
    assert [row[3] for row in table] == ["rejected", "the source is empty", "rejected"]
    first, empty, _ = map(json.loads, ask(run, tmp_path, reject, "format=jsonl"))
    assert first["rejected"] is True
    assert first["predictions"][0]["text"] == plain[0]
    assert empty["predictions"] == []
    assert "confidence" not in empty


def test_a_line_of_jsonl_has_all_details_and_says_if_they_are_calibrated(tmp_path):
    old = ROOT / "tests" / "fixtures" / "run_0_1"  # It has no temperature.
    [first, *_] = map(json.loads, ask(old, tmp_path, "format=jsonl"))
    assert first["calibrated"] is False
    assert first["read"] == ["1", "2", "3"]
    best, *_ = first["predictions"]
    names = [token["token"] for token in best["tokens"]]
    assert " ".join(names[:-1]) == best["text"]
    assert names[-1] == "<eos>"
    product = math.prod(token["probability"] for token in best["tokens"])
    assert product == pytest.approx(first["confidence"], rel=1e-4)
    assert [token["position"] for token in best["tokens"]][:3] == [2, 1, 0]


def test_a_damaged_calibration_is_refused_in_one_line(tmp_path):
    run = RunDir(tmp_path)
    assert load_temperature(run) is None
    save_calibration(run, {"temperature": 0.5})
    assert load_temperature(run) == 0.5
    for text in ("{", "[1]", "{}", '{"temperature": "x"}', '{"temperature": NaN}',
                 '{"temperature": 0}', '{"temperature": true}'):  # fmt: skip
        run.calibration.write_text(text)
        with pytest.raises(UserError, match=r"calibration\.json: "):
            load_temperature(run)
    run.calibration.unlink()
    run.calibration.symlink_to("nowhere")
    with pytest.raises(UserError, match=r"calibration\.json: "):
        load_temperature(run)
