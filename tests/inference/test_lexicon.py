"""A lexicon: known sources are answered from a file, the others by the model."""

import dataclasses
import json
from contextlib import nullcontext

import pytest
from project import compose_config
from test_ensemble import make, together
from test_observation import changed
from test_scoring import make_predictor

from seq2seq.config.commands import AnswerSettings
from seq2seq.errors import UserError
from seq2seq.inference import lines
from seq2seq.inference.predictor import Predictor


def with_lexicon(predictor, path, text, **changes):
    path.write_text(text)
    return changed(predictor, answers=AnswerSettings(lexicon=str(path), **changes))


def test_known_sources_are_answered_from_the_file(tmp_path):
    free = make_predictor("decoding=beam", "decoding.n_best=2")
    predictor = with_lexicon(free, tmp_path / "f.tsv", "a b\tq\na b\tx y\na b\tz\nc\ty\n")
    sources = ["a b", "c c", "c", "a  b", ""]
    known, unknown, other, blanks, empty = predictor.predict(sources, with_details=True)
    assert [one.text for one in known.hypotheses] == ["q", "x y"]  # n_best, in the file's order
    assert (known.is_known, known.confidence, known.is_decoded) == (True, 1.0, False)
    assert blanks == known
    assert other.text == "y"
    [expected] = free.predict(["c c"], with_details=True)
    assert unknown == expected
    assert empty.problem
    assert predictor.count_batches([known, unknown, other, empty]) == 1
    assert predictor.predict_tokens([(("a", "b"), ())])[0].text == "q"
    (tmp_path / "f.tsv").unlink()  # The file is not read again for another search.
    wide = predictor.with_search(dataclasses.replace(predictor.decoding, n_best=3))
    assert [one.text for one in wide.predict(["a b"])[0].hypotheses] == ["q", "x y", "z"]


def test_a_known_source_is_never_rejected(tmp_path):
    predictor = with_lexicon(make_predictor(), tmp_path / "f.tsv", "a\tx\n", reject_below=1.0)
    known, other = predictor.predict(["a", "b"])
    assert (known.text, known.is_rejected) == ("x", False)
    assert (other.text, other.is_rejected) == ("", True)


def test_features_are_part_of_the_source(tmp_path):
    tagged = make(1, "data.features.column=3", tags=["V", "N"])
    text = "a b\tx\tV\na b\ty y\tN\n"
    for predictor in (tagged, together(make(2), tagged)):
        answers = AnswerSettings(lexicon=str(tmp_path / "f.tsv"))
        (tmp_path / "f.tsv").write_text(text)
        first, *others = predictor.members.all
        found = type(predictor)(
            first.model, first.vocabularies, first.data, predictor.decoding, others, answers
        ).predict(["a b"] * 3, ["V", "N", ""])
        assert [one.text for one in found[:2]] == ["x", "y y"]
        assert [one.is_known for one in found] == [True, True, False]


def test_lines(tiny_run, tmp_path):
    _, run = tiny_run
    (tmp_path / "in").write_text("1 2\n1 2 3\n")
    (tmp_path / "f.tsv").write_text("1 2\tknown\n")
    words = [f"input={tmp_path}/in", f"output={tmp_path}/out", f"decoding.lexicon={tmp_path}/f.tsv"]
    config = compose_config(f"run={run}", "format=jsonl", *words, name="infer")
    lines.infer(config, nullcontext(Predictor.load(run, config.decoding)))
    first, second = map(json.loads, (tmp_path / "out").read_text().splitlines())
    assert first["known"] is True
    assert first["confidence"] == 1.0
    assert first["predictions"] == [{"text": "known", "score": 0.0}]
    assert "known" not in second


def test_mistakes(tmp_path):
    predictor = make_predictor()
    for text, words in (("", "has no examples"), ("a\n", "f.tsv:1: the line has 1 column")):
        with pytest.raises(UserError, match=rf"decoding\.lexicon=.*{words}"):
            with_lexicon(predictor, tmp_path / "f.tsv", text)
    with pytest.raises(UserError, match=r"decoding\.lexicon=.*nosuch"):
        changed(predictor, answers=AnswerSettings(lexicon=f"{tmp_path}/nosuch"))
