"""Warnings of data that hardly means what the settings say, and none for sane data."""

import random
from collections.abc import Callable

import pytest
from project import ROOT, compose_config

from seq2seq.config.choices import Task
from seq2seq.config.schema import DataConfig
from seq2seq.data.examples import Example, Splits
from seq2seq.data.plausibility import warn_of_implausible
from seq2seq.data.splits import load_splits
from seq2seq.data.vocabulary import Vocabularies

MakeConfig = Callable[..., DataConfig]


def warn(splits: Splits, config: DataConfig) -> None:
    warn_of_implausible(splits, Vocabularies.build(splits.train, config.min_count), config)


def words(count: int, letters: str, seed: int = 1) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choices(letters, k=8)) for _ in range(count)]


def spelled(sources: list[str], tag: str = "N") -> list[Example]:
    return [Example(tuple(one), tuple(one.upper()), (tag,)) for one in sources]


@pytest.mark.parametrize(
    ("letters", "tag", "sides"),
    [
        ("abcd", "N", []),
        ("abcdabcde", "N", []),  # 11 %
        ("abcdef", "N", ["source", "target"]),  # 33 %
        ("abcd", "V", ["feature"]),
    ],
)
def test_dev_tokens_that_training_never_saw(
    make_config: MakeConfig,
    caplog: pytest.LogCaptureFixture,
    letters: str,
    tag: str,
    sides: list[str],
) -> None:
    splits = Splits(spelled(words(100, "abcd")), spelled(words(100, letters, 2), tag), [])
    warn(splits, make_config(features_column=3))
    assert [message.split()[5] for message in caplog.messages] == sides
    if tag == "V":
        assert caplog.messages == [
            "100 % of the dev feature tokens (100 of 100) are not in the vocabulary of the "
            "training data: are both files of the same kind?"
        ]


def test_a_wrong_split_into_tokens(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    whole = [Example((one,), tuple(one)) for one in words(200, "abcdefgh")]
    warn(Splits(whole, whole, []), make_config(source_tokens="word", target_tokens="char"))
    assert caplog.messages == [
        "200 of the 200 source tokens of the training data are different, too many to learn from: "
        "is data.source.tokens=word right?",
        "every training source is a single token: is data.source.tokens=word right?",
    ]
    caplog.clear()
    turned = [Example(target, source) for source, target, _ in whole]
    warn(Splits(turned, turned, []), make_config(target_tokens=";"))
    assert [message.split("is data")[1] for message in caplog.messages] == [
        ".target.tokens=; right?"
    ]


def test_labels_are_targets_of_one_token(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    labelled = [Example(tuple(one), (one[0],)) for one in words(200, "abcdefgh")]
    warn(Splits(labelled, labelled, []), make_config())
    assert caplog.messages == []


@pytest.mark.parametrize("task", [str(task) for task in Task if task is not Task.tsv])
def test_no_warning_for_generated_tasks(task: str, caplog: pytest.LogCaptureFixture) -> None:
    config = compose_config(f"data={task}", "run_dir=x").data
    warn(load_splits(config), config)
    assert caplog.messages == []


@pytest.mark.parametrize("source", ["char", "word"])
def test_no_warning_for_the_sample(source: str, caplog: pytest.LogCaptureFixture) -> None:
    files = [f"data.{part}={ROOT}/data/sample/{part}.tsv" for part in ("train", "dev", "test")]
    config = compose_config("data=tsv", "run_dir=x", f"data.source.tokens={source}", *files).data
    warn(load_splits(config), config)
    assert caplog.messages == []
