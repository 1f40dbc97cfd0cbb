"""Committed sample: equal to the output of its script, and valid for training."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from seq2seq.config.schema import DataConfig
from seq2seq.data.splits import load_splits

DATA = Path(__file__).parents[2] / "data"


def test_the_script_writes_the_committed_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["make_sample.py", str(tmp_path)])
    runpy.run_path(str(DATA / "make_sample.py"), run_name="__main__")
    for name in ("train.tsv", "dev.tsv", "test.tsv"):
        assert (tmp_path / name).read_bytes() == (DATA / "sample" / name).read_bytes()


def test_the_sample_loads_and_its_parts_are_disjoint(
    make_config: Callable[..., DataConfig], caplog: pytest.LogCaptureFixture
) -> None:
    files = {name: str(DATA / "sample" / f"{name}.tsv") for name in ("train", "dev", "test")}
    splits = load_splits(make_config(target_tokens="char", **files))
    assert (len(splits.train), len(splits.dev), len(splits.test)) == (800, 100, 100)
    assert not caplog.records
    sources = [e.source for e in (*splits.train, *splits.dev, *splits.test)]
    assert len(set(sources)) == 1000


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (40, "forty"),
        (99, "ninety nine"),
        (100, "one hundred"),
        (711, "seven hundred and eleven"),
        (2000, "two thousand"),
        (3007, "three thousand and seven"),
        (4120, "four thousand one hundred and twenty"),
        (56_789, "fifty six thousand seven hundred and eighty nine"),
    ],
)
def test_numbers_in_words(number: int, words: str) -> None:
    assert runpy.run_path(str(DATA / "make_sample.py"))["in_words"](number) == words
