import hashlib
import importlib
import re
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from project import compose_config

from seq2seq.config.choices import Task
from seq2seq.config.schema import DataConfig
from seq2seq.data.examples import Example, Splits
from seq2seq.data.splits import load_splits
from seq2seq.data.tasks import make_splits
from seq2seq.data.tasks.dates import DATE_FORMATS, _date
from seq2seq.data.tasks.strata import Stratum, _quotas
from seq2seq.errors import UserError

MakeConfig = Callable[..., DataConfig]
GENERATED = [Task.reverse, Task.copy, Task.sort, Task.addition, Task.dates]
CHAR = {"source_tokens": "char", "target_tokens": "char"}
COUNTS = {"train_examples": 2000, "dev_examples": 300, "test_examples": 200}


def everything(splits: Splits) -> list[Example]:
    return [*splits.train, *splits.dev, *splits.test]


def digest(splits: Splits) -> str:
    return hashlib.sha256(repr(splits).encode()).hexdigest()[:16]


def test_a_task_is_a_word_a_module_and_a_yaml(make_config: MakeConfig) -> None:
    for task in set(Task) - {Task.tsv}:
        assert callable(importlib.import_module(f"seq2seq.data.tasks.{task}").make)
        assert compose_config("run_dir=x", f"data={task}").data.task is task
    config = make_config()
    config.task = "nosuch"  # like a new word without its module
    with pytest.raises(
        UserError, match=r"^data\.task=nosuch: .* in seq2seq/data/tasks/nosuch\.py$"
    ):
        make_splits(config)


@pytest.mark.parametrize("task", GENERATED)
def test_parts_have_their_sizes_and_are_disjoint(make_config: MakeConfig, task: Task) -> None:
    splits = load_splits(make_config(task=task, **COUNTS, **CHAR))
    assert (len(splits.train), len(splits.dev), len(splits.test)) == (2000, 300, 200)
    assert len({e.source for e in everything(splits)}) == 2500
    assert load_splits(make_config(task=task, **COUNTS, **CHAR, seed=2)) != splits


@pytest.mark.parametrize("task", GENERATED)
def test_no_test_part_if_none_is_wanted(make_config: MakeConfig, task: Task) -> None:
    assert load_splits(make_config(task=task, **COUNTS | {"test_examples": 0}, **CHAR)).test == []


# If one of these changes, so does every published score of the task: a reason is needed.
DIGESTS = {
    Task.reverse: "d6ed16221ce4c742",
    Task.addition: "fdc220f731435762",
    Task.dates: "222a5d12aa0ad073",
    Task.scan: "42ef21345cff5695",
}


@pytest.mark.parametrize("task", DIGESTS)
def test_the_same_examples_everywhere(make_config: MakeConfig, task: Task) -> None:
    assert digest(make_splits(make_config(task=task, **COUNTS))) == DIGESTS[task]


@given(
    task=st.sampled_from([Task.reverse, Task.copy, Task.sort]),
    symbols=st.integers(2, 30),
    lengths=st.tuples(st.integers(1, 12), st.integers(0, 12)),
    seed=st.integers(0, 10**9),
)
def test_sequences(
    make_config: MakeConfig, task: Task, symbols: int, lengths: tuple[int, int], seed: int
) -> None:
    low, high = lengths[0], sum(lengths)
    room = sum(symbols**length for length in range(low, high + 1))
    config = make_config(
        task=task,
        symbols=symbols,
        min_length=low,
        max_length=high,
        seed=seed,
        train_examples=min(50, room - 1),
        dev_examples=min(10, room - min(50, room - 1)),
        test_examples=0,
    )
    right = {
        Task.reverse: lambda s: tuple(reversed(s)),
        Task.copy: lambda s: s,
        Task.sort: lambda s: tuple(sorted(s, key=int)),
    }[task]
    examples = everything(make_splits(config))
    assert len({e.source for e in examples}) == min(60, room)
    for source, target, features in examples:
        assert low <= len(source) <= high
        assert set(source) <= {str(i) for i in range(symbols)}
        assert target == right(source)
        assert features == ()


def test_a_small_space_is_used_up(make_config: MakeConfig) -> None:
    config = make_config(
        task=Task.copy,
        min_length=4,
        max_length=4,
        train_examples=9000,
        dev_examples=500,
        test_examples=500,
    )
    assert {"".join(e.source) for e in everything(load_splits(config))} == {
        f"{i:04}" for i in range(10_000)
    }


def test_lengths_are_drawn_evenly(make_config: MakeConfig) -> None:
    config = make_config(task=Task.copy, min_length=1, max_length=6, **COUNTS)
    lengths = Counter(len(e.source) for e in everything(load_splits(config)))
    assert lengths == {1: 10, 2: 100, 3: 597, 4: 597, 5: 598, 6: 598}


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.data())
def test_quotas_fill_any_strata(sizes: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, sum(sizes)))
    quotas = _quotas([Stratum(size, lambda _: Example((), ())) for size in sizes], count)
    assert sum(quotas) == count
    assert all(0 <= quota <= size for quota, size in zip(quotas, sizes, strict=True))


@pytest.mark.parametrize(
    ("task", "overrides", "message"),
    [
        (
            Task.reverse,
            {"min_length": 1, "max_length": 2},
            r"^data\.task=reverse has 110 different sources .*ask for 2500: "
            r"lower data\.train_examples or raise data\.max_length=2$",
        ),
        (Task.addition, {"digits": 1}, r"has 100 different sources .* raise data\.digits=1$"),
        (Task.dates, {"train_examples": 10**8}, r"lower data\.train_examples$"),
        (Task.sort, {"min_length": 9}, r"^data\.min_length=9 is more than data\.max_length=8$"),
        (Task.sort, {"dev_examples": None}, r"^data\.dev_examples=null: data\.task=sort needs"),
    ],
)
def test_impossible_settings(
    make_config: MakeConfig, task: Task, overrides: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load_splits(make_config(task=task, **COUNTS | overrides))


@pytest.mark.parametrize("digits", [2, 3, 7, 18])
def test_addition(make_config: MakeConfig, digits: int) -> None:
    splits = load_splits(make_config(task=Task.addition, digits=digits, **COUNTS, **CHAR))
    lengths = set()
    for source, target, _ in everything(splits):
        match = re.fullmatch(r"(0|[1-9]\d*)\+(0|[1-9]\d*)", "".join(source))
        assert match
        left, right = match.groups()
        assert int("".join(target)) == int(left) + int(right)
        assert target[0] != "0" or target == ("0",)
        lengths |= {(len(left), len(right))}
    assert lengths == {(i, j) for i in range(1, digits + 1) for j in range(1, digits + 1)}


def test_addition_can_use_all_pairs(make_config: MakeConfig) -> None:
    counts = {"train_examples": 9000, "dev_examples": 500, "test_examples": 500}
    splits = load_splits(make_config(task=Task.addition, digits=2, **counts, **CHAR))
    sources = {"".join(e.source) for e in everything(splits)}
    assert sources == {f"{i}+{j}" for i in range(100) for j in range(100)}


# An independent reader of dates: it strips the decoration and leaves the rest to strptime.
NUMERIC = {
    r"\d+/\d+/\d{4}": "%m/%d/%Y",
    r"\d+/\d+/\d\d": "%m/%d/%y",
    r"\d+\.\d+\.\d{4}": "%d.%m.%Y",
}
VERBAL = ["%d %B %Y", "%d %b %Y", "%d %B %y", "%B %d %Y", "%b %d %Y"]
WEEKDAY_NAMES = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


def readings(text: str) -> set[date]:
    """Returns every date that the text can mean; a weekday must be the right one."""
    words = re.sub(r"(?<=\d)(st|nd|rd|th)\b|\b(of|the)\b|,", "", text.lower()).split()
    weekday = words.pop(0) if re.match("mon|tue|wed|thu|fri|sat|sun", words[0]) else ""
    forms = [form for pattern, form in NUMERIC.items() if re.fullmatch(pattern, text)] or VERBAL
    found = set()
    for form in forms:
        try:
            day = datetime.strptime(" ".join(words), form).date()
        except ValueError:
            continue
        # The one year of two digits that strptime reads otherwise: its century begins in 1969.
        found.add(day.replace(year=2069) if "%y" in form and day.year == 1969 else day)
    return {day for day in found if WEEKDAY_NAMES[day.weekday()].startswith(weekday)}


@pytest.fixture(scope="module")
def date_examples(make_config: MakeConfig) -> dict[str, str]:
    """A large sample of all texts, with their answers."""
    config = make_config(task=Task.dates, **COUNTS | {"train_examples": 20_000}, **CHAR)
    return {"".join(e.source): "".join(e.target) for e in everything(load_splits(config))}


def test_every_date_has_one_reading_and_it_is_the_answer(date_examples: dict[str, str]) -> None:
    assert len(date_examples) == 20_500
    for text, answer in date_examples.items():
        assert {day.isoformat() for day in readings(text)} == {answer}, text
    assert any(answer.endswith("-02-29") for answer in date_examples.values())


def test_ordinals(date_examples: dict[str, str]) -> None:
    endings = {1: "st", 21: "st", 31: "st", 2: "nd", 22: "nd", 3: "rd", 23: "rd"}
    found = set(re.findall(r"\b(\d+)(st|nd|rd|th)\b", " ".join(date_examples).lower()))
    assert found == {(str(day), endings.get(day, "th")) for day in range(1, 32)}


SHAPES = [
    r"3 May 1979",
    r"\d Mar 20\d\d",
    r"0\d mar 20\d\d",
    r"\d April 0\d",
    r"21st of August \d{4}",
    r"the 4th of [JSM]\w+, \d{4}",
    r"JANUARY \d+, 18\d\d",
    r"Feb \d+, \d{4}",
    r"Tuesday \d+ July \d{4}",
    r"Saturday May \d+ \d{4}",
    r"Tue, \d+ Jul \d{4}",
    r"\d/2\d/19\d\d",
    r"0\d/2\d/19\d\d",
    r"\d/2\d/9\d",
    r"2\d\.\d\.19\d\d",
]


def test_each_format_occurs_and_no_two_write_the_same_text(make_config: MakeConfig) -> None:
    counts = {"train_examples": 60_000, "dev_examples": 1, "test_examples": 0}
    examples = everything(load_splits(make_config(task=Task.dates, **counts, **CHAR)))
    texts = ["".join(example.source) for example in examples]
    assert len(set(texts)) == 60_001
    assert len(SHAPES) == len(DATE_FORMATS)
    for shape in SHAPES[1:]:
        assert any(re.fullmatch(shape, text) for text in texts), shape


def test_formats_are_disjoint_on_every_day() -> None:
    """Checks a year's texts of every format, in every case, against each other."""
    seen: Counter[str] = Counter()
    for offset in range(366):
        day = date(2004, 1, 1) + timedelta(days=offset)
        for template, fits in DATE_FORMATS:
            cases = [str, str.lower, str.upper] if "mon" in template else [str]
            if fits(day):
                seen.update("".join(_date(template, case, [day], 0).source) for case in cases)
    assert max(seen.values()) == 1
