import hashlib
import random
from collections import Counter
from collections.abc import Callable

import pytest

from seq2seq.config.choices import ScanSplit, Task
from seq2seq.config.schema import DataConfig
from seq2seq.data.examples import Example
from seq2seq.data.splits import load_splits
from seq2seq.data.tasks.scan import commands, published_split
from seq2seq.errors import UserError

MakeConfig = Callable[..., DataConfig]

# All lines of the published simple split (train and test), sorted bytewise.
PUBLISHED_SHA256 = "6be4b39bc8bf3a20be810b6991250d0493e608560609db6765dd679e1ed1c98e"

# Lines and bytes of the published files. The bytes determine how often a primitive is repeated.
# Counts: https://www.tensorflow.org/datasets/catalog/scan. Bytes: `download_checksums` in
# datasets/scan/dataset_infos.json of https://github.com/huggingface/datasets (version 1.x).
PUBLISHED = {
    ScanSplit.length: ((16_990, 2_723_418), (3_920, 1_356_970)),
    ScanSplit.turn_left: ((21_890, 3_974_537), (1_208, 173_679)),
    ScanSplit.jump: ((14_670, 2_579_619), (7_706, 1_531_555)),
}
PRIMITIVE = {ScanSplit.turn_left: ("turn", "left"), ScanSplit.jump: ("jump",)}


def line(example: Example) -> str:
    return f"IN: {' '.join(example.source)} OUT: {' '.join(example.target)}\n"


def test_generates_all_published_commands() -> None:
    lines = sorted(line(example).encode() for example in commands())
    assert len(lines) == len(set(lines)) == 20_910
    assert hashlib.sha256(b"".join(lines)).hexdigest() == PUBLISHED_SHA256


@pytest.mark.parametrize(
    ("command", "actions"),
    [
        ("jump", "I_JUMP"),
        ("turn around right", " ".join(["I_TURN_RIGHT"] * 4)),
        ("walk opposite left", "I_TURN_LEFT I_TURN_LEFT I_WALK"),
        ("run left twice and look", "I_TURN_LEFT I_RUN I_TURN_LEFT I_RUN I_LOOK"),
        ("walk after turn left thrice", "I_TURN_LEFT I_TURN_LEFT I_TURN_LEFT I_WALK"),
    ],
)
def test_meanings(command: str, actions: str) -> None:
    meanings = {" ".join(e.source): " ".join(e.target) for e in commands()}
    assert meanings[command] == actions


@pytest.mark.parametrize("split", PUBLISHED)
def test_published_sizes(split: ScanSplit) -> None:
    for part, size in zip(published_split(split, random.Random(0)), PUBLISHED[split], strict=True):
        lines = [line(example) for example in part]
        assert (len(lines), sum(map(len, lines))) == size


def test_simple_split_is_a_draw_of_the_published_size() -> None:
    train, test = published_split(ScanSplit.simple, random.Random(0))
    assert (len(train), len(test)) == (16_728, 4_182)
    assert sorted(train + test) == sorted(commands())
    assert published_split(ScanSplit.simple, random.Random(1))[1] != test


def test_length_split() -> None:
    train, test = published_split(ScanSplit.length, random.Random(0))
    assert max(len(e.target) for e in train) == 22 < 24 == min(len(e.target) for e in test)


@pytest.mark.parametrize("split", PRIMITIVE)
def test_a_primitive_is_taught_alone_and_tested_in_use(split: ScanSplit) -> None:
    train, test = published_split(split, random.Random(0))
    primitive = PRIMITIVE[split]
    text = " ".join(primitive)
    assert {e.source for e in train if text in " ".join(e.source)} == {primitive}
    assert all(text in " ".join(e.source) and e.source != primitive for e in test)
    counts = Counter(e.source for e in train)
    assert counts.pop(primitive) == round(len(train) / 10)
    assert set(counts.values()) == {1}


@pytest.mark.parametrize("split", ScanSplit)
def test_dev_is_held_out_of_train(make_config: MakeConfig, split: ScanSplit) -> None:
    config = make_config(task=Task.scan, split=split, dev_examples=1000)
    splits = load_splits(config)
    assert splits == load_splits(config)
    train, test = published_split(split, random.Random(config.seed))
    assert Counter(splits.train) + Counter(splits.dev) == Counter(train)
    assert sorted(splits.test) == sorted(test)
    train_sources, dev_sources, test_sources = (
        {e.source for e in part} for part in (splits.train, splits.dev, splits.test)
    )
    assert len(dev_sources) == 1000
    assert not dev_sources & train_sources
    assert not test_sources & (train_sources | dev_sources)
    assert PRIMITIVE.get(split) not in dev_sources


def test_counts_take_a_fair_draw(make_config: MakeConfig) -> None:
    config = make_config(
        task=Task.scan,
        split=ScanSplit.jump,
        train_examples=2000,
        dev_examples=1000,
        test_examples=300,
    )
    splits = load_splits(config)
    assert (len(splits.train), len(splits.dev), len(splits.test)) == (2000, 1000, 300)
    assert 150 < Counter(e.source for e in splits.train)[("jump",)] < 290
    config = make_config(task=Task.scan, dev_examples=10, test_examples=0)
    assert load_splits(config).test == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({}, r"^data\.dev_examples=null: data\.task=scan needs a number"),
        (
            {"dev_examples": 16_991},
            r"^data\.dev_examples=16991: data\.split=length has 16990 examples for dev",
        ),
        ({"dev_examples": 10, "train_examples": 16_981}, r"has 16980 examples for train; lower"),
        ({"dev_examples": 10, "test_examples": 4_000}, r"has 3920 examples for test"),
    ],
)
def test_impossible_counts(
    make_config: MakeConfig, overrides: dict[str, int], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load_splits(make_config(task=Task.scan, split=ScanSplit.length, **overrides))
