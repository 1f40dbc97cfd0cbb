"""Hallucinated training examples: made of the real ones, the same whenever they are made."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from seq2seq.config.schema import DataConfig
from seq2seq.data.examples import Example
from seq2seq.data.hallucination import with_hallucinated
from seq2seq.data.splits import load_splits
from seq2seq.errors import UserError

MakeConfig = Callable[..., DataConfig]
TRAIN = [
    Example(tuple("sagen"), tuple("gesagt"), ("V", "PTCP")),
    Example(tuple("Haus"), tuple("Häuser"), ("N", "PL")),  # no three equal letters in a row
    Example(tuple("lesen"), tuple("lesend"), ("V", "PRS")),
]
SYMBOLS = set("Hsagenlu")  # on both sides


def make(make_config: MakeConfig, count: int, seed: int = 1) -> Sequence[Example]:
    found = with_hallucinated(TRAIN, make_config(hallucinated_examples=count, seed=seed))
    assert [*found[: len(TRAIN)]] == TRAIN
    return found[len(TRAIN) :]


def test_the_stem_is_another_one_on_both_sides(make_config: MakeConfig) -> None:
    made = make(make_config, 200)
    assert len(made) == 200
    for source, target, features in made:
        if features == ("V", "PTCP"):  # sag|en, ge|sag|t
            assert "".join(source[3:]) + "".join(target[:2]) + target[5] == "enget"
            assert source[:3] == target[2:5]
        else:  # lesen|, lesen|d
            assert features == ("V", "PRS")
            assert (source, "d") == (target[:-1], target[-1])
        assert set(source) <= SYMBOLS
    assert len({source for source, _, _ in made}) > 100


def test_they_depend_on_the_seed_alone(make_config: MakeConfig) -> None:
    assert make(make_config, 30) == make(make_config, 30)
    assert make(make_config, 30) != make(make_config, 30, seed=2)


@pytest.mark.parametrize(("examples", "made"), [(1, 999), (400, 600), (1000, 0), (1500, 0)])
def test_by_rule_they_fill_a_small_set_up(
    make_config: MakeConfig, examples: int, made: int
) -> None:
    train = (TRAIN * 500)[:examples]
    assert len(with_hallucinated(train, make_config(hallucinated_examples=None))) == examples + made


def test_by_rule_there_are_none_where_none_can_be_made(make_config: MakeConfig) -> None:
    for train in (TRAIN[1:2], tuple(TRAIN)):  # without a stem; not held in memory
        assert with_hallucinated(train, make_config(hallucinated_examples=None)) == train


def test_only_training_has_them(
    make_config: MakeConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "a.tsv").write_text("sagen\tgesagt\n")
    path = str(tmp_path / "a.tsv")
    files = {"train": path, "dev": path, "test": path, "source_tokens": "char"}
    splits = load_splits(make_config(**files, target_tokens="char", hallucinated_examples=3))
    assert (len(splits.train), len(splits.dev), len(splits.test)) == (4, 1, 1)
    assert "1 training examples and 3 hallucinated ones" in caplog.messages
    assert (tmp_path / "a.tsv").read_text() == "sagen\tgesagt\n"


@pytest.mark.parametrize(
    ("train", "words"),
    [
        (tuple(TRAIN), "hallucinated_examples=1 is for small files: raise data.in_memory_mib"),
        (TRAIN[1:2], "hallucinated_examples=1: no training example has 3 equal tokens"),
    ],
)
def test_what_cannot_be_made_is_refused(
    make_config: MakeConfig, train: Sequence[Example], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        with_hallucinated(train, make_config(hallucinated_examples=1))
