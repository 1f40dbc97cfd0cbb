"""Large files: the same examples and batches as from memory, bit for bit."""

import dataclasses
import gzip
import io
import logging
import os
import sys
import tempfile
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seq2seq.config.choices import Normalization
from seq2seq.data.batches import BatchPlan
from seq2seq.data.examples import Example
from seq2seq.data.large_file import IndexedFiles, read_or_index, source_keys
from seq2seq.data.splits import lengths, load_splits
from seq2seq.data.tsv import ExampleFile, read_examples
from seq2seq.data.vocabulary import Vocabularies
from seq2seq.errors import UserError

letters = ["a", "b", "e\u0301", "é", "ﬁ", " ", "\u2028", "\r", "\ufeff", "\U0001f40d"]
texts = st.lists(st.sampled_from(letters), max_size=12).map("".join)
good = texts.map(lambda text: f"x{text}")
rows = st.tuples(good, good, st.sampled_from(["", "V", "V;PST", "N"])).map("\t".join)
odd = st.tuples(texts, texts).map("\t".join)
blank = st.sampled_from(["", " ", "\t\t"])
lines = st.one_of(
    st.lists(st.one_of(rows, rows, rows, blank), min_size=5, max_size=25),
    st.lists(st.one_of(rows, rows, rows, blank), min_size=1, max_size=25),
    st.lists(st.one_of(rows, odd), max_size=5),
)
files = st.builds(
    lambda bom, lines, end, last: bom + (end.join(lines) + end * last).encode(),
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    lines,
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
configs = st.fixed_dictionaries(
    {
        "source_tokens": st.sampled_from(["char", "word"]),
        "target_tokens": st.sampled_from(["char", "word"]),
        "features_column": st.sampled_from([None, 3]),
        "normalization": st.sampled_from([form for form in Normalization if form != "auto"]),
        "max_source_length": st.integers(3, 12),
        "max_target_length": st.integers(3, 12),
        "min_count": st.integers(1, 3),
        "train_examples": st.none() | st.integers(1, 5),
        "seed": st.integers(0, 3),
    }
)


def outcome(config, caplog):
    """All that a training reads from a file, with its first batches, or the error."""
    caplog.clear()
    try:
        train = load_splits(config).train
    except UserError as error:
        return str(error)
    vocabularies = Vocabularies.build(train, config.min_count)
    plan = BatchPlan(train, vocabularies, batch_size=3, buckets=2)
    batches = [*plan.in_order(), *plan.epoch(5, 0), *plan.epoch(5, 1, start=1)]
    ids = [(array.dtype, array.tolist()) for batch in batches for array in batch]
    sizes = [side.tolist() for side in lengths(train)]
    return [*train], train[0], sizes, vocabularies, plan.shapes, plan.steps, ids, caplog.messages


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=files, overrides=configs, is_gzip=st.booleans())
def test_the_same_batches_as_from_memory(
    tmp_path_factory, make_config, caplog, content, overrides, is_gzip
):
    folder = tmp_path_factory.getbasetemp()
    train, dev = folder / ("train.gz" if is_gzip else "train.tsv"), folder / "dev.tsv"
    train.write_bytes(gzip.compress(content) if is_gzip else content)
    dev.write_text("a\tx\tV\nxa\tx\tV\nxé\tx\tN\n", encoding="utf-8")
    config = make_config(train=str(train), dev=str(dev), **overrides)
    caplog.set_level(logging.WARNING)
    held = outcome(dataclasses.replace(config, in_memory_mib=None), caplog)
    assert outcome(dataclasses.replace(config, in_memory_mib=0), caplog) == held


@pytest.fixture
def indexed(tmp_path, make_config):
    """A file of 40 examples of equal size, and its index."""
    path = tmp_path / "train.tsv"
    path.write_text("".join(f"s{i:02}\tt{i:02}\n" for i in range(40)))
    examples = read_or_index(str(path), make_config(in_memory_mib=0)).examples
    assert isinstance(examples, IndexedFiles)
    return path, examples


def test_is_a_sequence(indexed):
    _, examples = indexed
    expected = [Example((f"s{i:02}",), (f"t{i:02}",)) for i in range(40)]
    assert len(examples) == 40
    assert [*examples] == expected
    assert examples[3:30:5] == expected[3:30:5]
    assert (examples[0], examples[-1]) == (expected[0], expected[-1])
    assert examples.read(np.array([7, 2, 7])) == [expected[7], expected[2], expected[7]]
    odd = examples.select(np.arange(40) % 2 == 1)
    assert [*odd] == expected[1::2]
    with pytest.raises(IndexError):
        examples[40]


def append(path):
    with path.open("ab") as file:
        file.write(b"more\tlines\n")


def cut(path):
    os.truncate(path, 100)


def overwrite(path):
    """Writes other text of the same size into the same file."""
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"abc")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


@pytest.mark.parametrize("change", [append, cut, overwrite])
def test_a_changed_file_is_refused(indexed, change):
    path, examples = indexed
    plan = BatchPlan(examples, Vocabularies.build(examples, 1), batch_size=4, buckets=2)
    batches = plan.epoch(1, 0)
    next(batches)
    change(path)
    with pytest.raises(UserError) as error:
        next(batches)
    assert str(error.value).startswith(f"{path}: was changed while it is trained on")


def test_a_file_put_in_its_place_is_another_file(indexed, tmp_path):
    path, examples = indexed
    (tmp_path / "new").write_text("other\ttext\n")
    (tmp_path / "new").replace(path)
    assert examples[0] == Example(("s00",), ("t00",))


def test_a_file_that_changes_while_it_is_indexed(tmp_path, make_config, monkeypatch):
    path = tmp_path / "train.tsv"
    path.write_text("a\tb\n")

    scan = ExampleFile.scan

    def scan_and_append(self):
        yield from scan(self)
        append(path)

    monkeypatch.setattr(ExampleFile, "scan", scan_and_append)
    examples = read_or_index(str(path), make_config(in_memory_mib=0)).examples
    with pytest.raises(UserError, match="was changed"):
        examples[0]


class Pipe:
    def __init__(self, content):
        self.buffer = io.BytesIO(content)


def test_small_files_are_lists_however_they_come(tmp_path, make_config, monkeypatch):
    content = b"\n\xef\xbb\xbfa\tb\n\nc\td\n"
    (tmp_path / "plain").write_bytes(content)
    (tmp_path / "packed.gz").write_bytes(gzip.compress(content))
    expected = read_examples(str(tmp_path / "plain"), make_config())
    for path in (str(tmp_path / "plain"), str(tmp_path / "packed.gz"), "-"):
        for mebibytes in (None, 1, 0):
            monkeypatch.setattr(sys, "stdin", Pipe(content))
            examples, keys, _ = read_or_index(path, make_config(in_memory_mib=mebibytes))
            assert isinstance(examples, list) == (mebibytes != 0)
            assert [*examples] == expected
            assert keys.tolist() == source_keys(expected).tolist()


def test_what_is_unpacked_leaves_no_file_and_needs_room(tmp_path, make_config, monkeypatch):
    (tmp_path / "full").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "full"))
    path = tmp_path / "train.gz"
    path.write_bytes(gzip.compress(b"a\tb\n"))
    examples = read_or_index(str(path), make_config(in_memory_mib=0)).examples
    assert examples[0] == Example(("a",), ("b",))
    assert list((tmp_path / "full").iterdir()) == []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(UserError, match=r"train\.gz: cannot be unpacked .*No such file.*TMPDIR"):
        read_or_index(str(path), make_config(in_memory_mib=0))
    assert len(read_or_index(str(path), make_config(in_memory_mib=None)).examples) == 1


def test_keys_tell_sources_and_features_apart():
    one = [Example(("a", "b"), ("x",)), Example(("a", "b"), ("y",))]
    others = [
        Example(("ab",), ("x",)),
        Example(("a", "b"), ("x",), ("V",)),
        Example(("a",), ("x",), ("b",)),
        Example(("a", "b", "V"), ("x",)),
        Example(("b", "a"), ("x",)),
    ]
    keys = source_keys([*one, *others]).tolist()
    assert keys[0] == keys[1]
    assert len(set(keys)) == len(others) + 1


def test_an_index_is_small(tmp_path, make_config):
    count = 20_000
    path = tmp_path / "train.tsv"
    path.write_text("".join(f"source {i}\ttarget {i}\n" for i in range(count)))

    def peak(mebibytes):
        tracemalloc.start()
        examples = read_or_index(str(path), make_config(in_memory_mib=mebibytes)).examples
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return examples, most / count

    examples, most = peak(0)
    assert examples.nbytes <= 24 * count
    assert most < 60
    assert peak(None)[1] > 200  # what the bound is there for
