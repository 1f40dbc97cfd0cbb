"""Fuzzed run folders: with any change to its files, a run loads or is refused in one line."""

import copy
import itertools
import os
import shutil

import h5py
import numpy as np
import pytest
import yaml
from fuzzing import attempt, damage, share
from hypothesis import given
from hypothesis import strategies as st

from seq2seq.errors import UserError
from seq2seq.inference import members
from seq2seq.inference.predictor import Predictor
from seq2seq.runs.run_dir import RunDir

FILES = ["config.yaml", "source_vocab.txt", "target_vocab.txt", "best.weights.h5"]
NAMES = [*FILES, "feature_vocab.txt"]


@pytest.fixture(scope="module")
def contents(tiny_run):
    """The files of a small real run that decoding needs."""
    return {name: (tiny_run[1] / name).read_bytes() for name in FILES}


@pytest.fixture
def folder(tmp_path_factory, contents):
    """Returns a function that makes a run folder in which some files are changed."""
    base = tmp_path_factory.mktemp("runs")
    numbers = itertools.count()

    def make(changed):
        # The last one goes, so that thousands of examples do not fill the disk.
        shutil.rmtree(base, ignore_errors=True)
        path = base / str(next(numbers))
        path.mkdir(parents=True)
        for name, content in (contents | changed).items():
            if content is not None:
                (path / name).write_bytes(content)
        return path

    return make


def load(path):
    """Loads a run and encodes a source, without the time of compiling a search."""

    def call():
        predictor = Predictor.load(RunDir.open(path))
        ids = predictor.vocabularies.encode_source(["1"], [])
        predictor.model.encode(np.array([ids], np.int32))
        return predictor

    return attempt(call, f"run={path}", f"{path}", "decoding.", "model.", "tokens=")


def test_the_run_itself_loads(folder):
    assert load(folder({})).predict(["1 2"])[0].problem is None


@share(2)
@given(st.data(), st.sampled_from(FILES))
def test_damaged_files(folder, contents, data, name):
    load(folder({name: data.draw(damage(contents[name]))}))


@share(10)
@given(st.sampled_from(NAMES), st.sampled_from([None, *FILES]))
def test_missing_and_exchanged_files(folder, contents, name, other):
    content = contents[other] if other else None
    loaded = load(folder({name: content}))
    if loaded is not None:
        # A run may lose its features, or have the same tokens on both sides.
        assert name == "feature_vocab.txt" or content == contents[name]


VALUES = st.one_of(
    st.sampled_from([None, True, -1, 0, 1, 2, 3, 10**6, 10**9, 10**30, 1.5, 1e999, "", "x", "\t",
                     "\ud800", "\n", "???", "${a}", [], {}, ["a"], {"a": 1}, b"\xff"]),
    st.integers(0, 200),
    st.text(max_size=3),
)  # fmt: skip


def leaves(values, prefix=()):
    for key, value in values.items():
        yield (*prefix, key)
        if isinstance(value, dict):
            yield from leaves(value, (*prefix, key))


@share(1)
@given(st.data())
def test_changed_settings(folder, contents, data):
    values = copy.deepcopy(yaml.safe_load(contents["config.yaml"]))
    for _ in range(data.draw(st.integers(1, 3))):
        *parents, key = data.draw(st.sampled_from(list(leaves(values))))
        parent = values
        for name in parents:
            parent = parent[name]
        action = data.draw(st.sampled_from(["set", "set", "set", "drop", "add"]))
        if action == "drop":
            del parent[key]
        else:
            parent[key if action == "set" else data.draw(st.text(max_size=3))] = data.draw(VALUES)
        if not values:
            break
    text = yaml.safe_dump(values, allow_unicode=False)
    load(folder({"config.yaml": text.encode("utf-8", "replace")}))


@pytest.mark.parametrize("name", NAMES)
def test_links_that_lead_outside(folder, name, tmp_path):
    path = folder({})
    outside = tmp_path / "outside"
    outside.write_bytes(b"secret\n")
    for target in (outside, "../../outside", "/dev/zero", "nowhere/../../../x"):
        (path / name).unlink(missing_ok=True)
        (path / name).symlink_to(target)
        with pytest.raises(UserError) as error:
            Predictor.load(RunDir.open(path))
        assert "secret" not in str(error.value)


@pytest.mark.parametrize("link", ["predictions", ".best.tmp.weights.h5", "tensorboard/a/b"])
def test_links_that_would_be_written_to(folder, link, tmp_path):
    path = folder({})
    (path / link).parent.mkdir(parents=True, exist_ok=True)
    (path / link).symlink_to(tmp_path)
    with pytest.raises(UserError, match="leads out of the folder"):
        RunDir.open(path)


def test_links_inside_are_followed(folder):
    path = folder({})
    (path / "best.weights.h5").rename(path / "epoch_3.weights.h5")
    (path / "best.weights.h5").symlink_to("epoch_3.weights.h5")
    link = path.parent / "link"
    link.symlink_to(path)
    assert load(link) is not None
    (path / "a").symlink_to("b")
    (path / "b").symlink_to("a")
    assert load(path) is not None


@pytest.mark.parametrize("name", NAMES)
def test_pipes_and_folders_are_not_waited_for(folder, name):
    for make in (os.mkfifo, os.mkdir):
        path = folder({name: None})
        make(path / name)
        with pytest.raises(UserError):
            Predictor.load(RunDir.open(path))


@pytest.mark.parametrize(
    ("key", "value"),
    [("units", 60_000), ("embedding_size", 60_000), ("layers", 100)],
)
def test_sizes_are_compared_before_anything_is_built(folder, contents, key, value, monkeypatch):
    monkeypatch.setattr(members, "build_model", None)
    values = yaml.safe_load(contents["config.yaml"])
    values["model"] |= {"input": "embedding", "embedding_size": 16, key: value}
    with pytest.raises(UserError, match="the weights do not fit"):
        Predictor.load(RunDir.open(folder({"config.yaml": yaml.safe_dump(values).encode()})))


def test_a_vocabulary_without_weights_for_it(folder, contents, monkeypatch):
    monkeypatch.setattr(members, "build_model", None)
    tokens = b"".join(b"%d\n" % number for number in range(100, 200_000))
    path = folder({"target_vocab.txt": contents["target_vocab.txt"] + tokens})
    with pytest.raises(UserError, match="the weights do not fit"):
        Predictor.load(RunDir.open(path))


def test_weights_that_are_no_numbers(folder):
    path = folder({})
    with h5py.File(path / "best.weights.h5", "r+") as file:
        file["decoder/logits/vars/1"][3] = np.nan
    with pytest.raises(UserError, match="not finite numbers"):
        Predictor.load(RunDir.open(path))
