"""Predictor as a library: loading by path, calls, details of some lines, seeds, threads."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest
from project import ROOT

from seq2seq.config.choices import SearchKind
from seq2seq.errors import UserError
from seq2seq.inference.predictor import Predictor
from seq2seq.runs.run_dir import RunDir

RUN = ROOT / "tests" / "fixtures" / "run_0_1"
LINES = (RUN.with_name("run_0_1_input.txt")).read_text().splitlines()


@pytest.fixture(scope="module")
def predictor():
    return Predictor.load(RUN)


def test_a_run_is_a_path_or_several(predictor):
    for run in (str(RUN), RunDir(RUN), [RUN], [RunDir(RUN), str(RUN)]):
        found = Predictor.load(run).members.all
        assert len(found) == (len(run) if isinstance(run, list) else 1)
        for one in found:
            assert one.vocabularies.target.tokens == predictor.vocabularies.target.tokens
    with pytest.raises(UserError, match=r"^run=nosuch is not a run folder"):
        Predictor.load("nosuch")


def test_a_call_returns_the_best_answers(predictor):
    assert predictor("0 1 2") == "2 1 0"
    assert predictor("0 1 2", "") == "2 1 0"
    assert predictor("") == ""


def test_details_of_some_lines(predictor):
    all_lines = predictor.predict(LINES, with_details=True)
    wanted = [i % 2 == 0 for i in range(len(LINES))]
    for one, other, is_wanted in zip(
        predictor.predict(LINES, with_details=wanted), all_lines, wanted, strict=True
    ):
        assert (one.confidence is not None) == is_wanted
        if is_wanted:
            assert one.confidence == pytest.approx(other.confidence, abs=1e-5)


def test_a_seed_of_one_call(predictor):
    decoding = dataclasses.replace(
        predictor.decoding, kind=SearchKind.sampling, n_best=1, temperature=5.0, seed=7
    )
    drawing = predictor.with_search(decoding)
    own, same, other = (
        [one.text for one in drawing.predict(LINES * 5, seed=seed)] for seed in (None, 7, 8)
    )
    assert own == same != other


SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("greedy", "sampling")]


@pytest.mark.parametrize("kind", ["beam", *SLOW])
def test_threads_get_the_answers_of_one_thread(predictor, kind):
    """From the first call on, in which all of them trace."""
    kind = SearchKind(kind)
    n_best = predictor.decoding.n_best if kind is SearchKind.beam else 1
    decoding = dataclasses.replace(predictor.decoding, kind=kind, n_best=n_best)
    requests = [LINES[i:] + LINES[: i + 1] for i in range(len(LINES))] * 4
    one_thread = predictor if decoding == predictor.decoding else predictor.with_search(decoding)
    fresh = predictor.with_search(decoding)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda lines: fresh.predict(lines, with_details=True), requests))
    for lines, answers in zip(requests, found, strict=True):
        alone = one_thread.predict(lines, with_details=True)
        assert [one.text for one in answers] == [one.text for one in alone]
        confidences = [[one.confidence for one in them] for them in (answers, alone)]
        assert confidences[0] == pytest.approx(confidences[1], abs=1e-5)
