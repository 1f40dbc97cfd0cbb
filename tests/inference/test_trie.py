"""Answers restricted to a set: every search writes members of it, and beams find the best."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from project import compose_config
from test_ensemble import make as make_member
from test_predictor import log_probability
from test_scoring import KINDS, make_predictor

from seq2seq.config import bounds
from seq2seq.config.choices import SearchKind
from seq2seq.config.commands import AnswerSettings
from seq2seq.data.examples import Example
from seq2seq.errors import UserError
from seq2seq.inference import trie as tries
from seq2seq.inference.predictor import Predictor
from seq2seq.inference.scoring import Scorer
from seq2seq.inference.trie import build_trie
from seq2seq.special_ids import EOS

LINES = ["a b c", "d", "b b a c a d"]
ANSWERS = ["x", "x y", "x y z", "z z z z z", "y x", "z", "y x y"]


def restricted(predictor, path, kind, others=(), **changes):
    decoding = dataclasses.replace(predictor.decoding, kind=SearchKind(kind), **changes)
    tables, data = predictor.vocabularies, predictor.data
    answers = AnswerSettings(answers=str(path))
    return Predictor(predictor.model, tables, data, decoding, others, answers=answers)


@pytest.fixture
def path(tmp_path):
    (tmp_path / "answers.txt").write_text("".join(f"{line}\n" for line in ANSWERS))
    return tmp_path / "answers.txt"


def test_the_file_is_read_once_for_all_searches(path):
    predictor = restricted(make_predictor(), path, "greedy")
    path.unlink()
    wide = dataclasses.replace(predictor.decoding, kind=SearchKind.beam, beam_size=7, n_best=7)
    for prediction in predictor.with_search(wide).predict(LINES):
        assert {one.text for one in prediction.hypotheses} == set(ANSWERS)
    with pytest.raises(UserError, match=r"decoding\.answers="):  # Other answers are too long.
        predictor.with_search(dataclasses.replace(predictor.decoding, max_length=2))


@given(st.lists(st.lists(st.integers(4, 12), max_size=4), min_size=1, max_size=12))
@settings(max_examples=60)
def test_a_tree_holds_its_answers_and_no_others(answers):
    trie = build_trie(answers, 13)
    follows = np.unpackbits(trie.follows.numpy(), axis=1, bitorder="little")[:, :13]
    found = []
    pending = [((), 0)]
    while pending:
        prefix, node = pending.pop()
        tokens = np.flatnonzero(follows[node])
        for place, token in enumerate(tokens):
            child = int(trie.first_child[node]) + place
            pending.append(((*prefix, int(token)), child))
        if not len(tokens):
            found.append(prefix)
    assert sorted(found) == sorted({(*answer, EOS) for answer in answers})


@pytest.mark.parametrize(("kind", "penalty"), zip(KINDS, itertools.cycle([0.0, 1.0]), strict=False))
def test_a_beam_as_wide_as_the_set_ranks_it_all(kind, penalty, path):
    beam = {"beam_size": len(ANSWERS), "n_best": len(ANSWERS), "length_penalty": penalty}
    predictor = restricted(make_predictor(*kind), path, "beam", **beam)
    targets = [tuple(answer.split()) for answer in ANSWERS]
    for line, prediction in zip(LINES, predictor.predict(LINES), strict=True):
        pairs = [Example(tuple(line.split()), target) for target in targets]
        totals = [one.total for one in Scorer(predictor)(pairs)]
        scores = {
            target: total / ((5 + len(target) + 1) / 6) ** penalty
            for target, total in zip(targets, totals, strict=True)
        }
        found = {one.tokens: one.score for one in prediction.hypotheses}
        assert found == pytest.approx(scores, abs=1e-4)
        assert [*found.values()] == sorted(found.values(), reverse=True)


@pytest.mark.parametrize(
    ("kind", "is_compiled"), [("greedy", False), ("sampling", False), ("beam", True)]
)
def test_every_search_writes_members_only(kind, is_compiled, path):
    more = {"n_best": 3, "beam_size": 3} if kind != "greedy" else {}
    free = make_predictor("model.attention.kind=general")
    predictor = restricted(free, path, kind, jit_compile=is_compiled, **more)
    lines = [" ".join(p) for p in itertools.product("abcd", repeat=3)]
    found = {one.text for p in predictor.predict(lines) for one in p.hypotheses}
    assert found <= set(ANSWERS)
    assert len(found) > 1
    for line, prediction in zip(lines[:4], predictor.predict(lines[:4]), strict=True):
        best = prediction.hypotheses[0]
        penalty = ((5 + len(best.tokens) + 1) / 6) ** predictor.decoding.length_penalty
        expected = log_probability(free, line, best.tokens)
        assert best.score * (penalty if kind == "beam" else 1) == pytest.approx(expected, abs=1e-4)


def test_a_greedy_search_takes_the_best_allowed_token(path):
    free = make_predictor()
    [prediction] = restricted(free, path, "greedy").predict(["a b c"])
    written = prediction.tokens
    for place, token in enumerate(written):
        answers = [tuple(answer.split()) for answer in ANSWERS]
        nexts = {a[place] for a in answers if a[:place] == written[:place] and len(a) > place}
        values = {
            other: log_probability(free, "a b c", (*written[:place], other), is_finished=False)
            for other in nexts
        }
        assert values[token] == max(values.values())


def test_members_of_an_ensemble_vote_on_the_set(tmp_path):
    one, two = make_member(1), make_member(2, targets="yx")
    (tmp_path / "a.txt").write_text("x y\ny\n")
    beam = {"beam_size": 2, "n_best": 2, "length_penalty": 0.0}
    both = restricted(one, tmp_path / "a.txt", "beam", [two.members.only], **beam)
    pairs = [Example(("a", "b"), ("x", "y")), Example(("a", "b"), ("y",))]
    scores = {e.target: s.total for e, s in zip(pairs, Scorer(both)(pairs), strict=True)}
    [prediction] = both.predict(["a b"])
    found = {h.tokens: h.score for h in prediction.hypotheses}
    assert found == pytest.approx(scores, abs=1e-4)


def test_answers_that_no_search_writes_are_counted(tmp_path, caplog):
    predictor = make_predictor()
    file = tmp_path / "answers.txt"
    file.write_text("x y\nx q\nx q\ny r\nx x x x x x x\n")
    found = restricted(predictor, file, "greedy").predict(LINES)
    assert {one.text for one in found} == {"x y"}
    assert ("of 4 answers 2 have symbols that the run never writes, such as 'q'; "
            "1 are longer than decoding.max_length=6") in caplog.text  # fmt: skip
    for content, words in ((b"q\n", "no answer that the run can write"), (b"", "has no examples"),
                           (b"\xff\n", "is not UTF-8")):  # fmt: skip
        file.write_bytes(content)
        with pytest.raises(UserError, match=f"decoding.answers=.*{words}"):
            restricted(predictor, file, "greedy")
    with pytest.raises(UserError, match=r"decoding\.answers=-: needs a file"):
        restricted(predictor, "-", "greedy")


def test_a_set_that_fills_the_memory_is_refused(monkeypatch, path):
    monkeypatch.setattr(tries, "memory", lambda: 100)
    with pytest.raises(UserError, match=r"decoding\.answers: the table of 7 answers"):
        restricted(make_predictor(), path, "greedy")
    bounds.check_answers(7, 100, 100)


def test_settings_of_answers_are_those_of_infer_and_evaluate():
    for name in ("infer", "evaluate"):
        config = compose_config("run=x", "decoding=beam", "decoding.answers=F", name=name)
        assert config.decoding.answers == "F"
