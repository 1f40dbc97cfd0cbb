"""The measurement itself: turns, ratios, failures. Tests do not measure speed."""

import sys

import pytest

from benchmarks import report
from benchmarks.data import generate, pronounce
from benchmarks.interleave import Case, Contestant, measure
from benchmarks.parts.step import flops, possible
from benchmarks.results import CaseResult, Measured


def process(name, code, tmp_path):
    spec = {"command": [sys.executable, "-c", code], "report": str(tmp_path / "report.json")}
    return Contestant(name, "process", spec, work=2)


def test_ratios_compare_the_same_rounds():
    ours = Measured("ours", rounds={0: 1.0, 1: 2.0, 2: 4.0})
    other = Measured("other", rounds={1: 6.0, 2: 4.0})
    ratio = CaseResult("case", [ours, other]).ratio(other)
    assert ratio == (2.0, 1.0, 3.0)
    assert CaseResult("case", [ours, Measured("late")]).ratio(Measured("late")) is None


def test_contestants_take_turns_and_failures_are_reported(tmp_path):
    log = tmp_path / "log"
    code = "open({!r}, 'a').write('{}')"
    contestants = [
        process("a", code.format(str(log), "a"), tmp_path),
        process("fails", "raise SystemExit('out of paper')", tmp_path),
        process("b", code.format(str(log), "b"), tmp_path),
    ]
    seen = []
    result = measure(Case("case", contestants, rounds=3, turn_seconds=None), seen.append)
    a, fails, b = result.contestants
    assert log.read_text() == "ab" + "ab" + "ba" + "ab"  # the first of each, then three rounds
    assert len(a.rounds) == len(b.rounds) == 3
    assert "out of paper" in fails.error
    assert not fails.rounds
    assert report.failures([result]) == [f"fails failed in case: {fails.error.splitlines()[-1]}"]
    assert "failed" in report.cell(result, fails, 1.0)
    assert seen


def test_verdict_counts_every_round():
    def case(name, *others):
        ours = Measured("ours", rounds=dict.fromkeys(range(len(others)), 1.0))
        return CaseResult(name, [ours, Measured("other", rounds=dict(enumerate(others)))])

    told = report.verdict("other", [case("x", 2.0, 3.0), case("y", 0.5), case("z", 0.9, 1.2)])
    assert "faster in 1 (x ×2.50)" in told
    assert "slower in 1 (y ×0.50)" in told
    assert "undecided in 1 (z ×1.05)" in told


def test_flops_of_a_step_by_hand():
    """One layer each side, B = 2, T = 3, U = 5, V = 7: products of [2, 5] by [5, 20] and so on."""
    product = 2 * 2 * 5 * 20
    logits = 2 * 6 * 5 * 7
    assert flops("lstm", 3, 7, 5, 2) == 3 * (2 * 3 * product + logits)
    assert flops("gru", 3, 7, 5, 2) == 3 * (2 * 3 * product * 3 / 4 + logits)


def test_upper_bound_is_relative_to_the_faster_keras():
    times = {"ours": 2.0, "keras fit": 6.0, "keras fit, jit_compile": 5.0, "products alone": 1.0}
    case = CaseResult("x", [Measured(name, rounds={0: time}) for name, time in times.items()])
    assert possible([case]).endswith(": x ×5.00.")
    assert possible([CaseResult("x", case.contestants[:3])]).endswith("not measured.")


def test_generated_words_follow_the_pronunciation_rules(tmp_path):
    train, dev = generate(tmp_path, 50, 10)
    lines = (train.read_text() + dev.read_text()).splitlines()
    assert len({line.split("\t")[0] for line in lines}) == 60
    assert all(pronounce(line.split("\t")[0]) == line.split("\t")[1] for line in lines)
    assert pronounce("ceeng") == "S IY NG"


@pytest.mark.parametrize(
    ("value", "text"), [(1234.5, "1,234"), (12.34, "12.3"), (0.01234, "0.012")]
)
def test_numbers_have_about_three_digits(value, text):
    assert report.number(value) == text
