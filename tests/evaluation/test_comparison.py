"""Comparison of two runs: changed answers, the paired interval, stored and new predictions."""

import dataclasses
import shutil
import sys

import numpy as np
import pytest
from project import ROOT

from seq2seq import compare as command
from seq2seq.errors import UserError
from seq2seq.evaluation.comparison import Answer, Side, compare, compare_runs, find_pair
from seq2seq.runs.ensemble_dir import EnsembleDir
from seq2seq.runs.run_dir import RunDir

RUN = ROOT / "tests" / "fixtures" / "run_0_1"
HEADER = "source\tfeatures\tprediction\texact\tedits\tscore\treference\treference_2\n"


def answer(source, is_exact, edits=1, prediction="p"):
    return Answer(source, ("r",), prediction, is_exact, 0 if is_exact else edits)


def test_changes_and_the_paired_interval_by_hand():
    rng = np.random.default_rng(5)
    a, b = rng.random(400) < 0.6, rng.random(400) < 0.7
    before = [answer(str(i), bool(x)) for i, x in enumerate(a)]
    after = [answer(str(i), bool(x), edits=3) for i, x in enumerate(b)]
    found = compare("dev", before, after[::-1])  # in any order
    assert (found.split, found.examples) == ("dev", 400)
    assert found.exact == (a.mean(), b.mean())
    assert found.edits == pytest.approx(((~a).mean(), 3 * (~b).mean()))
    assert [int(change.source) for change in found.gained] == np.flatnonzero(b & ~a).tolist()
    assert [int(change.source) for change in found.lost] == np.flatnonzero(a & ~b).tolist()
    differences = b.astype(int) - a
    half = 1.96 * differences.std() / 20
    expected = (differences.mean() - half, differences.mean() + half)
    assert found.exact_difference == pytest.approx(expected, abs=0.01)
    low, high = found.edits_difference
    assert low < found.edits[1] - found.edits[0] < high
    same = compare("dev", before, before)
    assert (same.gained, same.lost, same.exact_difference) == ([], [], (0, 0))


def test_other_examples_are_refused():
    before = [answer("a", True), answer("b", True)]
    for after in (before[:1], [*before, answer("c", True)], [answer("c", True)], []):
        with pytest.raises(UserError, match=r"different examples \(dev: .* add data\.test=FILE"):
            compare("dev", before, after)


def run_with(folder, **tables):
    (folder / "predictions").mkdir(parents=True)
    shutil.copy(RUN / "config.yaml", folder)
    for split, lines in tables.items():
        text = HEADER + "".join(line + "\n" for line in lines)
        (folder / "predictions" / f"{split}.tsv").write_text(text)
    return RunDir.open(folder)


def test_stored_predictions_are_compared_without_a_model(tmp_path, monkeypatch, capsys):
    odd = "<b>\x1b[2J[red]"
    lines = [f"{odd}\tT\tx\t1\t0\t-0.5\tx\ty", "b\t\tz\t0\t1\t\tw", "c\u0327\t\tz\t1\t0\t-1\tz"]
    other = [
        lines[0].replace("\tx\t1\t0", "\t<i>\t0\t1"),
        "b\t\tw\t1\t0\t-1\tw",
        "ç\t\tz\t1\t0\t-1\tz",
    ]
    run_with(tmp_path / "a", dev=lines, test=lines[:1])
    run_with(tmp_path / "b", dev=other)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["compare", "runs=[a,b]", "report=page.html"])
    command.main()
    out = capsys.readouterr().out
    assert "3 sources of dev" in out
    assert "66.67 %" in out
    assert "wrong → right: 1 of 1" in out
    assert "right → wrong: 1 of 1" in out
    assert "\x1b[2J" not in out
    page = (tmp_path / "page.html").read_text()
    assert "&lt;b&gt;\\x1b[2J[red] T" in page
    assert "<i>" not in page
    assert "x / y" in page


@pytest.mark.parametrize(
    ("line", "problem"),
    [("a\tb", "is damaged"), ("a\t\tp\t1\tmany\t\tr", "is damaged"), ("", "is damaged")],
)
def test_damaged_predictions_are_told(tmp_path, line, problem):
    runs = [run_with(tmp_path / name, dev=[line]) for name in "ab"]
    with pytest.raises(UserError, match=rf"dev\.tsv: {problem}"):
        compare_runs([Side(run, [run]) for run in runs], None)


def test_predictions_of_earlier_versions_and_missing_ones_ask_for_a_file(tmp_path):
    runs = [run_with(tmp_path / name) for name in "ab"]
    with pytest.raises(UserError, match=r"no predictions of the same split: add data\.test"):
        compare_runs([Side(run, [run]) for run in runs], None)
    for run in runs:
        (run.predictions / "dev.tsv").write_text("a\t\tp\tr\n")
    with pytest.raises(UserError, match=r"dev\.tsv: is of an earlier version.*add data\.test"):
        compare_runs([Side(run, [run]) for run in runs], None)


def test_a_file_is_decoded_by_both(tmp_path):
    (tmp_path / "few.tsv").write_text("1 2 3\t3 2 1\n4 5\t5 4\n6 7\t6 6\n")
    run = RunDir.open(RUN)
    found = compare_runs(find_pair([str(run.path)] * 2), f"{tmp_path}/few.tsv")
    assert found.examples == 3
    assert found.exact[0] == found.exact[1] > 0
    assert (found.gained, found.lost) == ([], [])


def test_an_ensemble_is_one_side(tmp_path):
    ensemble, run = EnsembleDir(tmp_path), RunDir.open(RUN)
    config = dataclasses.replace(run.load_config(), ensemble=2)
    ensemble.save(config, {})
    for path in ensemble.members():
        shutil.copytree(run.path, path)
    (tmp_path / "few.tsv").write_text("1 2 3\t3 2 1\n4 5\t5 4\n")
    sides = find_pair([str(tmp_path), str(run.path)])
    assert [len(side.runs) for side in sides] == [2, 1]
    assert sides[0].folder.path == tmp_path
    found = compare_runs(sides, f"{tmp_path}/few.tsv")
    assert (found.examples, found.gained, found.lost) == (2, [], [])


@pytest.mark.parametrize("runs", ["a", "[a]", "[a,b,c]"])
def test_two_runs_are_needed(runs, monkeypatch, capsys):
    monkeypatch.setenv("SEQ2SEQ_TRACEBACK", "0")
    monkeypatch.setattr(sys, "argv", ["compare", f"runs={runs}"])
    with pytest.raises(SystemExit) as stop:
        command.main()
    assert stop.value.code == 2
    assert "name two runs, as in runs=[A,B]" in capsys.readouterr().err
