import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from seq2seq.config.choices import Normalization, Task
from seq2seq.config.schema import DataConfig
from seq2seq.data.examples import Example, Splits, group_references
from seq2seq.data.splits import draw_examples, load_splits, resolve_forms
from seq2seq.errors import UserError

MakeConfig = Callable[..., DataConfig]
MakeFiles = Callable[..., dict[str, str]]


@pytest.fixture
def make_files(tmp_path: Path) -> MakeFiles:
    """Returns a function that writes splits such as `train="a b\tc\n"` and returns their paths."""

    def make(**parts: str) -> dict[str, str]:
        for name, text in parts.items():
            (tmp_path / f"{name}.tsv").write_text(text, encoding="utf-8")
        return {name: str(tmp_path / f"{name}.tsv") for name in parts}

    return make


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def test_reads_files(
    make_config: MakeConfig, make_files: MakeFiles, caplog: pytest.LogCaptureFixture
) -> None:
    files = make_files(train="a\tb\nc\td\n", dev="e\tf\n")
    expected = Splits(
        train=[Example(("a",), ("b",)), Example(("c",), ("d",))],
        dev=[Example(("e",), ("f",))],
        test=[],
    )
    assert load_splits(make_config(**files)) == expected
    files |= make_files(test="g\th\n")
    assert load_splits(make_config(**files)).test == [Example(("g",), ("h",))]
    assert not warnings(caplog)


def test_warns_when_parts_overlap(
    make_config: MakeConfig, make_files: MakeFiles, caplog: pytest.LogCaptureFixture
) -> None:
    files = make_files(
        train="a\tx\tV\nb\ty\tV\n", dev="a\tx\tV\na\tz\tV\nb\ty\tN\n", test="c\tz\tV\nb\ty\tV\n"
    )
    load_splits(make_config(features_column=3, **files))
    assert warnings(caplog) == [
        "1 of the 2 different dev sources are also training sources: "
        "the dev scores will flatter the model",
        "1 of the 2 different test sources are also training sources: "
        "the test scores will flatter the model",
    ]


def test_limits_leave_out_training_examples_only(
    make_config: MakeConfig, make_files: MakeFiles, caplog: pytest.LogCaptureFixture
) -> None:
    files = make_files(
        train="a b\tx\na b c\tx\nd\tx y\na a a\ty y\n", dev="e f g\tx y\n", test="h h h\tx y\n"
    )
    splits = load_splits(make_config(max_source_length=2, max_target_length=1, **files))
    assert splits.train == [Example(("a", "b"), ("x",))]
    assert len(splits.dev) == len(splits.test) == 1
    assert warnings(caplog) == [
        "left out 3 of 4 training examples: 2 have more source tokens than "
        "data.max_source_length=2, 2 more target tokens than data.max_target_length=1"
    ]


def test_refuses_to_train_on_nothing(make_config: MakeConfig, make_files: MakeFiles) -> None:
    files = make_files(train="a b\tx\n", dev="e\tx\n")
    with pytest.raises(UserError, match=r"no training example is left of 1: .*length=1, .*limits$"):
        load_splits(make_config(max_source_length=1, **files))


@pytest.mark.parametrize("name", ["train", "dev", "test"])
def test_generated_tasks_refuse_files(make_config: MakeConfig, name: str) -> None:
    config = make_config(task=Task.reverse, **{name: "words.tsv"})
    with pytest.raises(UserError, match=rf"^data\.{name} is for data=tsv, but data\.task=reverse"):
        load_splits(config)


@pytest.mark.parametrize("empty", [None, ""])
def test_tsv_needs_train_and_dev(make_config: MakeConfig, empty: str | None) -> None:
    with pytest.raises(UserError, match=r"add data\.train=FILE$"):
        load_splits(make_config(train=empty, dev="x"))
    with pytest.raises(UserError, match=r"add data\.dev=FILE$"):
        load_splits(make_config(train="x", dev=empty))


def test_standard_input_can_be_read_once(make_config: MakeConfig) -> None:
    with pytest.raises(UserError, match="only one of"):
        load_splits(make_config(train="-", dev="-"))


def test_counts_draw_sources_with_all_their_references(
    make_config: MakeConfig, make_files: MakeFiles
) -> None:
    text = "".join(f"s{i // 2}\tt{i}\n" for i in range(200))
    files = make_files(train=text, dev="x\ty\n", test="z\tz\n")
    config = make_config(train_examples=10, dev_examples=5, test_examples=0, **files)
    splits = load_splits(config)
    assert splits == load_splits(config)
    assert (len(splits.train), len(splits.dev), len(splits.test)) == (20, 1, 0)
    assert [len(targets) for _, _, targets in group_references(splits.train)] == [2] * 10
    order = [int(e.target[0][1:]) for e in splits.train]
    assert order == sorted(order) != list(range(20))
    assert load_splits(make_config(train_examples=10, seed=2, **files)).train != splits.train


@pytest.mark.parametrize(
    ("task", "overrides"),
    [
        (Task.reverse, {"symbols": 11, "source_tokens": "char", "target_tokens": "char"}),
        (Task.dates, {"source_tokens": "word", "target_tokens": "char"}),
        (Task.addition, {"source_tokens": "+"}),
    ],
)
def test_tokens_must_fit_the_task(
    make_config: MakeConfig, task: Task, overrides: dict[str, object]
) -> None:
    counts = {"train_examples": 500, "dev_examples": 1, "test_examples": 1}
    with pytest.raises(UserError, match=rf"^data\.source\.tokens='.*' does not fit .*{task}"):
        load_splits(make_config(task=task, **counts, **overrides))


def test_group_references() -> None:
    examples = [
        Example(("b",), ("x",)),
        Example(("a",), ("y",)),
        Example(("b",), ("z",)),
        Example(("b",), ("x",)),
        Example(("b",), ("w",), ("V",)),
    ]
    assert group_references(examples) == [
        (("b",), (), [("x",), ("z",)]),
        (("a",), (), [("y",)]),
        (("b",), ("V",), [("w",)]),
    ]
    assert group_references([]) == []


def test_drawn_examples_keep_their_references_and_order() -> None:
    examples = [Example((str(i),), (target,)) for i in range(50) for target in "xy"]
    drawn = draw_examples(examples, 5, seed=3)
    assert drawn == sorted(drawn, key=examples.index)
    assert [len(targets) for _, _, targets in group_references(drawn)] == [2] * 5
    assert drawn == draw_examples(examples, 5, seed=3) != draw_examples(examples, 5, seed=4)
    assert drawn != examples[:10]
    assert draw_examples(examples, 50, seed=3) == draw_examples(examples, None, 3) == examples


SYLLABLES = "".join(f"{chr(0xAC00 + 97 * i)}{chr(0xAC00 + 89 * i)}\tx{i}\n" for i in range(60))
ACCENTS = "".join(f"caf{c}\tx\n" for c in "éèêëàâ")


@pytest.mark.parametrize(
    ("text", "tokens", "expected"),
    [(SYLLABLES, "char", "NFD"), (ACCENTS, "char", "NFC"), (SYLLABLES, "word", "NFC")],
)
@pytest.mark.parametrize("whole", [False, True])
def test_the_unicode_form_follows_the_text(
    make_files, make_config, caplog, text, tokens, expected, whole
):
    caplog.set_level("INFO")
    config = make_config(source_tokens=tokens, target_tokens="char", **make_files(train=text))
    if whole:
        config.normalization = Normalization.auto
    else:
        config.source.normalization = Normalization.auto
    found = resolve_forms(config)
    assert found.source.normalization == expected
    assert found.target.normalization == ("NFC" if whole else None)
    assert found.normalization == "NFC"
    assert ("source text: " + expected in caplog.text) is (tokens == "char")
    assert resolve_forms(found) == found


def test_a_form_by_the_text_needs_a_file_that_can_be_read_twice(make_config):
    config = make_config(train="-", source_tokens="char", normalization=Normalization.auto)
    with pytest.raises(UserError, match=r"would read .* twice"):
        resolve_forms(config)
