"""The report of a run: confusions and groups by hand, hostile text, wrong training pairs, files."""

import itertools
import json
import re
from html.parser import HTMLParser

import pytest
from project import ROOT
from small_trainings import TOY

from seq2seq.data.examples import Example
from seq2seq.data.splits import load_split
from seq2seq.evaluation.breakdown import by_length, by_rarest_symbol, by_tag, group_rows
from seq2seq.evaluation.calibration import calibration_error, reliability
from seq2seq.evaluation.confusions import find_confusions
from seq2seq.evaluation.evaluate_model import Evaluation, ScoredExample
from seq2seq.evaluation.evaluate_run import _training_examples, evaluate_run
from seq2seq.evaluation.report import Material, make_report
from seq2seq.evaluation.summary import summarize
from seq2seq.evaluation.surprises import find_surprises
from seq2seq.inference.answers import Hypothesis, Prediction
from seq2seq.inference.predictor import Predictor
from seq2seq.runs.run_dir import RunDir
from seq2seq.training import end_report
from seq2seq.training.run import resume, train

RUN = ROOT / "tests" / "fixtures" / "run_0_1"  # attention, beam search; always right
HOSTILE = ("<script>alert(1)</script>", "\x1b[2J", "\u202eabc", "$x", "&amp;", '"><img src=x>')


def scored_example(prediction, *references, source=("a",), tags=(), confidence=None):
    answer = Hypothesis(tuple(prediction), " ".join(prediction), -1.0)
    answers = Prediction([answer], confidence=confidence)
    return ScoredExample(source, tags, [tuple(one) for one in references], answers)


def test_confusions_by_hand():
    scored = [
        scored_example("abc", "abc"),
        scored_example("axc", "abc"),
        scored_example("xbb", "bbb", "b"),
        scored_example("ab", "abc"),
        scored_example("cab", "ab"),
        scored_example("xab", "bab"),
    ]
    found = [(one.kind, one.expected, one.written, one.occurrences, one.example)
             for one in find_confusions(scored)]  # fmt: skip
    assert found[0] == ("replace", "b", "x", 3, scored[1])
    assert sorted(found[1:]) == [
        ("delete", "c", "", 1, scored[3]),
        ("insert", "", "c", 1, scored[4]),
    ]


def test_groups_by_hand():
    lengths = [1] * 5 + [2] * 40 + [3, 4, 5, 9]
    scored = [scored_example("x", "x", source=("a",) * length) for length in lengths]
    groups = by_length(scored)
    assert [len(group) for group in groups.values()] == [5, 40, 4]
    assert [*groups] == ["1", "2", "3 to 9"]
    train = [Example(("a", "b"), ("x",), ("T",))] * 4 + [Example(("a",), ("x",), ("T",))]
    seen, rare, new = (scored_example("x", "x", source=(one,), tags=("T",)) for one in "abc")
    new_tag = scored_example("x", "y", source=("a",), tags=("T", "U"))
    groups = by_rarest_symbol([seen, rare, new, new_tag], train)
    assert groups == {"never": [new, new_tag], "1 to 4 times": [rare], "5 times or more": [seen]}
    assert by_tag([seen, new_tag, seen]) == {"T": [seen, new_tag, seen], "U": [new_tag]}
    [never, *_] = group_rows(groups)
    assert never == ("never", "2", "50.00 % [0.0, 100.0]", "50.00 %")


def test_reliability_by_hand():
    bins = reliability([0.05, 0.92, 0.98, 1.0], [False, True, False, True])
    assert [one for one in bins if one.count] == [
        (0.05, 0.0, 1),
        (pytest.approx(2.9 / 3), pytest.approx(2 / 3), 3),
    ]
    assert calibration_error(bins) == pytest.approx(0.25 * 0.05 + 0.75 * 0.3)


@pytest.fixture(scope="module")
def predictor():
    return Predictor.load(RunDir.open(RUN))


@pytest.fixture(scope="module")
def dev(predictor):
    return load_split(predictor.data, "dev")[:40]


def test_wrong_training_pairs_are_found(predictor, dev):
    wrong = [Example(one.source, one.source) for one in dev[:3] if one.source != one.target]
    lost = Example(dev[0].source, ("no such symbol",))
    found, tried = find_surprises(predictor, [*dev[3:], *wrong, lost], seed=3)
    assert tried == len(dev[3:]) + len(wrong) + 1
    assert len(found) == tried - 1
    assert {one.pair for one in found[: len(wrong)]} == {*wrong}
    assert all(a.log_prob <= b.log_prob for a, b in itertools.pairwise(found))


class Checker(HTMLParser):
    """Collects the tags, attributes and text of a page."""

    def __init__(self, page):
        super().__init__()
        self.found, self.links, self.text = set(), [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.add(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset")]

    def handle_data(self, data):
        self.text += data


def test_a_page_of_anything_is_complete_safe_and_bounded(predictor, dev):
    metrics, scored = Evaluation(predictor, 64, with_optional=False)(dev)
    odd = [
        scored_example(HOSTILE, HOSTILE[::-1], source=HOSTILE, tags=HOSTILE[:2], confidence=0.3),
        scored_example("y" * 5000, "z", source=("z" * 5000,), confidence=0.9),
        ScoredExample((), HOSTILE, [HOSTILE], Prediction([], "the source is empty")),
        *(scored_example(f"{i}", f"{i + 1}", source=("a",) * i, tags=(str(i),))
          for i in range(1, 400)),
    ]  # fmt: skip
    scored = [*scored, *odd]
    rows = [{"epoch": "1", "loss": "nan", "dev_loss": "2.5"}, {"epoch": "2", "dev_loss": ""},
            {"epoch": "x", "dev_loss": "y"}]  # fmt: skip
    train_pairs = [*dev, Example(HOSTILE, HOSTILE, HOSTILE)]
    results = {"dev": summarize(metrics, scored, " ".join, with_word_error_rate=True)}
    material = Material(results, "dev", scored, train_pairs, rows, 1)
    page = make_report(HOSTILE[0], HOSTILE[1], material, predictor)
    seen = Checker(page)
    for title in ("Results", "Learning curves", "Symbol confusions", "Length", "Rare symbols",
                  "Tags", "Confidence", "Best and worst", "Attention", "Surprising"):  # fmt: skip
        assert title in seen.text
    assert "script" not in seen.found
    assert all(link.startswith(("data:image/png;base64,", "#section-")) for link in seen.links)
    assert all(c.isprintable() or c == "\n" for c in page)
    assert "exposure gap" in seen.text
    assert "Expected calibration error" in seen.text
    assert len(page) < 3_000_000
    assert page.count("<tr>") < 120
    assert re.search(r'<a href="#section-1">Results</a>.*<h2 id="section-1">Results', page)


def test_a_perfect_model_has_a_report_too(predictor, dev):
    metrics, scored = Evaluation(predictor, 64, with_optional=False)(dev)
    right = [one for one in scored if one.is_exact]
    results = {"test": summarize(metrics, right, " ".join, with_word_error_rate=False)}
    page = make_report("t", "s", Material(results, "test", right, [], [], 0), predictor)
    assert "Learning curves" not in page
    assert "Surprising" not in page
    assert "0 replaced, 0 inserted, 0 left out" in page


def test_evaluate_writes_it_for_a_run_and_for_an_ensemble(compose, tmp_path):
    (tmp_path / "few.tsv").write_text("1 2 3\t3 2 1\n4 5\t5 4\n6 7\t6 6\n")
    for runs, has_curves in ((f"{RUN}", True), (f"[{RUN},{RUN}]", False)):
        config = compose(f"run={runs}", f"data.test={tmp_path}/few.tsv",
                         f"report={tmp_path}/r.html", name="evaluate")  # fmt: skip
        scores = evaluate_run(config)
        page = (tmp_path / "r.html").read_text()
        assert f"{100 * scores['sequence_accuracy']:.2f} %" in page
        assert ("Learning curves" in page) is has_curves
        assert "Surprising training pairs" in page


@pytest.mark.parametrize("train_file", ["-", "gone.tsv"])
def test_training_pairs_that_cannot_be_read_are_left_out(compose, tmp_path, caplog, train_file):
    """Of a run that was trained from a pipe, or whose files are gone."""
    data = compose("data=tsv", f"data.train={train_file}", "data.dev=gone.tsv").data
    assert _training_examples(data) == []
    assert "the report has no training pairs: " in caplog.text


def test_a_training_ends_with_a_report_and_survives_its_failure(
    compose, tmp_path, monkeypatch, caplog, capsys
):
    train(compose(*TOY, "callbacks.report=true", "training.epochs=1"), tmp_path / "r")
    page = tmp_path / "r" / "report.html"
    assert "Surprising training pairs" in page.read_text()
    assert re.search(r"^report +.*report\.html$", capsys.readouterr().out, re.MULTILINE)
    page.unlink()

    def fail(*_):
        raise RuntimeError("no ink")

    monkeypatch.setattr(end_report, "make_report", fail)
    resume(tmp_path / "r", ["training.epochs=2"])
    assert json.loads((tmp_path / "r" / "results.json").read_text())["epochs"] == 2
    assert "report.html was not written: no ink" in caplog.text
    assert not page.exists()
    assert "report  " not in capsys.readouterr().out
