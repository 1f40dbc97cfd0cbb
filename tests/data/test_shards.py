"""Training data of several files: no example is lost, and none is read twice."""

import dataclasses
import gzip
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seq2seq.config.data_files import Files, named_files
from seq2seq.data.batches import BatchPlan
from seq2seq.data.large_file import IndexedFiles, source_keys
from seq2seq.data.splits import examples_of_epoch, load_splits
from seq2seq.data.tsv import read_examples
from seq2seq.data.vocabulary import Vocabularies
from seq2seq.errors import UserError

SHARDS = 7


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return str(path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "dev.tsv", "d\tx\n")
    return tmp_path


def lines_of(counts):
    """A text per shard, of different examples of several lengths."""
    number = 0
    for count in counts:
        yield "".join(f"s{i} {'a ' * (i % 5)}\tt{i}\n" for i in range(number, number + count))
        number += count


def examples_in(batches, vocabularies):
    """Counts the sources in batches; rows that complete a batch have no target."""
    found = Counter()
    for batch in batches:
        for source, target in zip(batch.source, batch.target_out, strict=True):
            if target.any():
                found[" ".join(vocabularies.source.tokens[i] for i in source if i)] += 1
    return found


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    counts=st.lists(st.integers(1, 30), min_size=SHARDS, max_size=SHARDS),
    packed=st.lists(st.booleans(), min_size=SHARDS, max_size=SHARDS),
    mebibytes=st.sampled_from([None, 0]),
    rows=st.integers(1, 4),
    workers=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_an_epoch_reads_every_example_of_seven_shards_once(
    folder, make_config, counts, packed, mebibytes, rows, workers, seed
):
    ends = [".gz" if one else "" for one in packed]
    paths = [folder / "shards" / f"part-{i}.tsv{end}" for i, end in enumerate(ends)]
    for path, text in zip(paths, lines_of(counts), strict=True):
        write(path, text)
    for name, of_dev in (("shards/part-*", "dev.tsv"), ([*map(str, paths)], "dev.tsv")):
        config = make_config(train=name, dev=of_dev, in_memory_mib=mebibytes)
        train = load_splits(config).train
        assert isinstance(train, IndexedFiles) == (mebibytes == 0)
        expected = Counter(" ".join(e.source) for e in read_examples([*map(str, paths)], config))
        assert (len(train), set(expected.values())) == (sum(counts), {1})
        vocabularies = Vocabularies.build(train, 1)
        size = rows * workers
        plan = BatchPlan(train, vocabularies, size, buckets=3)
        shares = [BatchPlan(train, vocabularies, size, 3, i, workers) for i in range(workers)]
        for epoch in (0, 3):
            parts = [examples_in(one.epoch(seed, epoch), vocabularies) for one in shares]
            assert sum(parts, Counter()) == expected
            batches = [*plan.epoch(seed, epoch)]
            assert len(batches) == plan.steps
            assert examples_in(batches, vocabularies) == expected
            # What is left after a stop is what a run without the stop reads then.
            rest = [*plan.epoch(seed, epoch, start=plan.steps // 2)]
            again = zip(batches[plan.steps // 2 :], rest, strict=True)
            assert all(np.array_equal(a, b) for pair in again for a, b in zip(*pair, strict=True))
    for path in paths:
        path.unlink()


def test_every_form_names_the_same_files(folder, make_config):
    for i, text in enumerate(lines_of([3, 2, 4])):
        write(folder / f"p/{'ab'[i // 2]}-{i}.tsv", text)
    three = ["p/a-0.tsv", "p/a-1.tsv", "p/b-2.tsv"]
    forms = ["p/*.tsv", three, ["p/a-*", "p/b-2.tsv"], [three], f"{folder}/p/[ab]-?.tsv"]
    found = [read_examples(form, make_config()) for form in forms]
    assert len(found[0]) == 9
    assert found == [found[0]] * len(forms)
    assert [file.entry for file in named_files("p/*.tsv")] == [0, 0, 0]
    assert [file.entry for file in named_files(["p/a-*", "p/b-2.tsv"])] == [0, 0, 1]
    # A file whose name has such characters is meant itself.
    write(folder / "p/[ab]-?.tsv", "x\ty\n")
    assert len(read_examples("p/[ab]-?.tsv", make_config())) == 1


@pytest.mark.parametrize("mebibytes", [None, 0])
def test_the_tag_of_a_file_is_a_feature_of_its_examples(folder, make_config, mebibytes):
    for name in ("de-1.tsv", "de-2.tsv.gz", "no-1.tsv"):
        write(folder / name, f"{name}\tx\tV;PST\n")
    by_tag = {"de": ["de-1.tsv", "de-2.tsv.gz"], "no": "no-1.tsv"}
    for train in (by_tag, "{tag}-?.*"):
        dev = {"de": "dev.tsv"}
        config = make_config(train=train, dev=dev, in_memory_mib=mebibytes)
        splits = load_splits(config)
        assert [e.features for e in splits.train] == [("de",), ("de",), ("no",)]
        assert splits.dev[0].features == ("de",)
    tagged = make_config(train={"de": "de-1.tsv"}, dev=dev, features_column=3)
    assert read_examples({"fr": "no-1.tsv"}, tagged)[0].features == ("fr", "V", "PST")
    keys = source_keys(read_examples({"de": "de-1.tsv"}, make_config()))
    assert keys != source_keys(read_examples("de-1.tsv", make_config()))


def test_mistakes_are_told_in_a_line(folder, make_config):
    write(folder / "a.tsv", "a\tb\n")
    write(folder / "b.tsv", "c\td\n\nno tab\n")
    errors = {
        "no match": ("none-*.tsv", "none-*.tsv: no file matches this pattern"),
        "twice": (["a.tsv", "./a.tsv"], "./a.tsv: is named twice, so that it would be read twice"),
        "the line": (["a.tsv", "b.tsv"], "b.tsv:3: the line has 1 column (separated by tabs), but"),
        "missing": (["a.tsv", "c.tsv"], "c.tsv: no such file"),
        "no tag": ({"de": "a.tsv"}, "dev.tsv: has no tag, but the training files have: write {TAG"),
    }
    for mebibytes in (None, 0):
        for train, message in errors.values():
            config = make_config(train=train, dev="dev.tsv", in_memory_mib=mebibytes)
            with pytest.raises(UserError) as error:
                load_splits(config)
            assert str(error.value).startswith(message)
    with pytest.raises(
        UserError, match=r"a\.tsv: has the tag 'de', but the training files have none"
    ):
        read_examples({"de": "a.tsv"}, make_config(train="a.tsv"))
    for wrong in (
        [],
        {},
        [[]],
        {"a": []},
        {False: "norwegian.tsv"},
        {" ": "x"},
        [{"a": "b"}],
        True,
    ):
        assert wrong not in Files


@pytest.mark.parametrize("mebibytes", [None, 0])
def test_a_temperature_repeats_small_files(folder, make_config, mebibytes, caplog):
    counts = {"de": 400, "fr": 100, "it": 7}
    for name, text in zip(counts, lines_of(counts.values()), strict=True):
        write(folder / f"{name}.tsv", text)
    train, dev = {name: f"{name}.tsv" for name in counts}, {"de": "dev.tsv"}
    config = make_config(train=train, dev=dev, temperature=2.0, in_memory_mib=mebibytes)
    with caplog.at_level("INFO"):
        splits = load_splits(config)
    assert (
        "an epoch reads de (400 examples) 1 times, fr (100 examples) 2 times, it (7 " in caplog.text
    )
    read = examples_of_epoch(splits)
    by_tag = Counter(example.features[0] for example in read)
    assert by_tag == {"de": 400, "fr": 200, "it": round(7 * (400 / 7) ** 0.5)}
    # The shares are those of p^(1/2), each example is read, and none much more often than another.
    times = Counter(read)
    assert set(times) == set(splits.train)
    assert {n for example, n in times.items() if example.features == ("it",)} == {7, 8}
    assert [*examples_of_epoch(load_splits(config))] == [*read]
    assert len(examples_of_epoch(load_splits(dataclasses.replace(config, temperature=1.0)))) == 507
    even = dataclasses.replace(config, temperature=float("inf"))
    assert Counter(e.features[0] for e in examples_of_epoch(load_splits(even)))["it"] == 400
    with pytest.raises(UserError, match=r"data.temperature=2 needs training files of two entries"):
        load_splits(dataclasses.replace(config, train={"de": "de.tsv"}))
