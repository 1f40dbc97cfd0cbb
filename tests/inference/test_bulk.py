"""Bulk decoding: the answers of a single pass, from many files, also after kills."""

import gzip
import os
import random
import signal
import subprocess
import sys
import time
import types
from contextlib import nullcontext
from pathlib import Path

import pytest
from project import ROOT, TINY, compose_config, run_process

from seq2seq.config.choices import SearchKind
from seq2seq.errors import UserError
from seq2seq.inference import bulk, chunks, lines
from seq2seq.inference.answers import Hypothesis, Prediction
from seq2seq.inference.parts import read_remarks
from seq2seq.inference.workers import Done
from seq2seq.training.run import train


class Echo:
    """Answers a source with the number of its batch; an empty one is in no batch."""

    has_features = False
    decoding = types.SimpleNamespace(batch_size=2, kind=SearchKind.sampling)

    def predict(self, sources, features, batches_before, with_details):
        found = self.without_search(sources, features)
        places = iter(range(len(sources)))
        return [
            one if one.problem else self._answer(source, batches_before + next(places) // 2)
            for source, one in zip(sources, found, strict=True)
        ]

    def _answer(self, source, batch):
        unknown = ("X",) if "X" in source else ()
        return Prediction([Hypothesis((), f"{source} {batch}", 0.0)], unknown=unknown)

    def without_search(self, sources, features):
        return [Prediction([], None if one.strip() else "the source is empty") for one in sources]

    def count_batches(self, predictions):
        return -(-sum(prediction.is_decoded for prediction in predictions) // 2)


class Inline:
    """Decodes in this process, at most `limit` chunks."""

    limit = 10**9

    def __init__(self, decode, count):
        self._decode, self.decoded = decode, 0

    def decode(self, tasks):
        for task in tasks:
            is_found = read_remarks(task.part) is not None
            if not is_found:
                if self.decoded == Inline.limit:
                    raise UserError("stopped")
                self.decoded += 1
                self._decode(task)
            yield Done(task, read_remarks(task.part), is_found)


@pytest.fixture
def echo(monkeypatch, tmp_path):
    """A run folder of settings alone, whose predictor is an echo; two files of lines."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(chunks, "CHUNK_BATCHES", 3)
    monkeypatch.setattr(bulk, "Workers", Inline)
    monkeypatch.setattr(bulk, "_load", lambda config, runs: Echo())
    monkeypatch.setattr(bulk, "_loaded", [])
    monkeypatch.setattr(Inline, "limit", 10**9)
    run = types.SimpleNamespace(load_config=lambda: compose_config("run_dir=x"))
    for name in ("feature_vocabulary", "config_file", "best_weights", "calibration"):
        setattr(run, name, tmp_path / "missing")
    run.vocabularies = ()
    monkeypatch.setattr(bulk.RunDir, "find_all", lambda names: [run])
    rng = random.Random(1)
    for name, count in (("a.txt", 50), ("b.txt", 31), ("empty.txt", 0)):
        words = [
            rng.choice(["", "one", "two words", "aXb", " "]) + str(i) * (i % 3)
            for i in range(count)
        ]
        (tmp_path / name).write_text("".join(f"{word}\n" for word in words))
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"c\n\xff\nd"))
    return tmp_path


SAMPLING = ["run=x", "decoding=sampling", "decoding.batch_size=2"]


def single_pass(path, *overrides):
    config = compose_config(*SAMPLING, f"input={path}", "output=single", *overrides, name="infer")
    lines.infer(config, nullcontext(Echo()))
    return Path("single").read_text()


def in_bulk(*overrides):
    bulk.decode_in_bulk(compose_config(*SAMPLING, *overrides, name="infer"))


@pytest.mark.parametrize("form", ["text", "tsv", "jsonl"])
def test_the_answers_and_warnings_are_those_of_a_single_pass(echo, caplog, form):
    names = ["a.txt", "b.txt", "c.txt.gz", "empty.txt"]
    expected = [single_pass(name, f"format={form}") for name in names]
    warnings, _ = list(caplog.messages), caplog.clear()
    assert {message.split(":")[0] for message in warnings} == {"a.txt", "b.txt", "c.txt.gz"}
    in_bulk("input=[a.txt,b.txt,c.txt.gz,empty.txt]", "output=all", f"format={form}")
    assert Path("all").read_text() == "".join(expected)
    assert caplog.messages == warnings
    in_bulk("input=*.txt*", "output=folder/", f"format={form}")
    for name, text in zip(names, expected, strict=True):
        assert (Path("folder") / name.removesuffix(".gz")).read_text() == text
    assert sorted(path.name for path in Path("folder").iterdir()) == [
        "a.txt", "b.txt", "c.txt", "empty.txt",
    ]  # fmt: skip
    assert not Path("all.parts").exists()


def test_stopped_it_goes_on_where_it_was(echo, monkeypatch, caplog):
    expected = single_pass("a.txt") + single_pass("b.txt")
    warnings, _ = list(caplog.messages), caplog.clear()
    Path("out").write_text("before")
    command = "input=[a.txt,b.txt]", "output=out", "jobs=2"
    monkeypatch.setattr(Inline, "limit", 4)
    for stop in range(3):
        with pytest.raises(UserError, match="stopped"):
            in_bulk(*command)
        assert len(list(Path("out.parts").glob("[0-9a-f]*"))) == 4 * (stop + 1)
        assert Path("out").read_text() == "before"
        caplog.clear()
    with caplog.at_level("INFO"):
        in_bulk(*command)
    assert Path("out").read_text() == expected
    assert caplog.messages[:-1] == warnings
    assert caplog.messages[-1].startswith("81 lines (68 were decoded before) in ")


def test_parts_of_another_question_are_not_taken(echo, monkeypatch):
    monkeypatch.setattr(Inline, "limit", 2)
    for changes in ([], ["format=tsv"], ["decoding.seed=9"]):
        with pytest.raises(UserError, match="stopped"):
            in_bulk("input=a.txt", "output=out", "jobs=1", *changes)
    assert len(list(Path("out.parts").glob("[0-9a-f]*"))) == 6
    Path("a.txt").write_text("other\n" * 40)
    monkeypatch.setattr(Inline, "limit", 10**9)
    in_bulk("input=a.txt", "output=out", "jobs=1")
    assert Path("out").read_text() == single_pass("a.txt")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["jobs=2"], "jobs=2: needs output=FILE or output=FOLDER/"),
        (["output=./"], "output=a.txt: is an input; choose another folder"),
        (["output=a.txt", "jobs=1"], "output=a.txt: is an input"),
        (["output=none/out", "jobs=1"], "output=none/out: there is no folder none"),
        (["output=/dev/null", "jobs=1"], "output=/dev/null: is not a file"),
        (["input=[a.txt,sub/a.txt]", "output=o/"], "a.txt and sub/a.txt would have one output, o/"),
    ],
)  # fmt: skip
def test_mistakes(echo, overrides, message):
    with pytest.raises(UserError) as error:
        in_bulk("input=a.txt", *overrides)
    assert str(error.value).startswith(message)
    assert Path("a.txt").read_text()


def test_a_mistake_leaves_no_folder(echo):
    before = sorted(Path().iterdir())
    for output in ("new/", "out"):
        with pytest.raises(UserError, match=r"input=missing\.txt: no such file"):
            in_bulk("input=missing.txt", f"output={output}", "jobs=1")
    assert sorted(Path().iterdir()) == before


def test_one_command_at_a_time(echo, monkeypatch):
    def decode_again(config, runs, task):
        in_bulk("input=a.txt", "output=out", "jobs=1")

    monkeypatch.setattr(bulk, "_decode", decode_again)
    with pytest.raises(UserError, match=r"out.parts: another process .* is decoding in it"):
        in_bulk("input=a.txt", "output=out", "jobs=1")


def test_what_is_bulk(echo):
    for overrides, expected in {
        ("jobs=1",): True,
        ("input=a.txt", "output=out"): False,
        ("input=[a.txt,b.txt]",): False,
        ("input=[a.txt,b.txt]", "output=out"): True,
        ("input=a.txt", "output=out/"): True,
        (): False,
    }.items():
        assert bulk.is_bulk(compose_config("run=x", *overrides, name="infer")) == expected


class Command:
    """A bulk decoding in a process of its own."""

    def __init__(self, folder, *words):
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "infer.py"), *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
        )

    def wait_for_parts(self, count):
        while len(list(self.folder.glob("out.parts/[0-9a-f]*"))) < count:
            assert self.process.poll() is None, self.process.stderr.read().decode()
            time.sleep(0.01)

    def children(self):
        """The processes that decode, which are those that have TensorFlow."""
        number = self.process.pid
        found = Path(f"/proc/{number}/task/{number}/children").read_text().split()
        commands = {int(one): Path(f"/proc/{one}/cmdline").read_text() for one in found}
        return [one for one, command in commands.items() if "spawn_main" in command]


@pytest.mark.slow
@pytest.mark.parametrize("search", ["greedy", "beam", "sampling"])
def test_killed_and_started_again_it_equals_a_single_pass(tmp_path, search):
    train(compose_config(*TINY, "callbacks.tensorboard=false"), tmp_path / "run")
    rng = random.Random(2)
    with (tmp_path / "in").open("w") as file:
        for number in range(20_000):
            digits = " ".join(rng.choices("0123456789", k=rng.randint(1, 6)))
            file.write(f"{digits if number % 99 else ''}\n")
    words = ["run=run", "input=in", "format=jsonl", f"decoding={search}", "decoding.batch_size=16"]
    single = run_process(ROOT / "infer.py", *words, "output=single", cwd=tmp_path)
    assert single.returncode == 0
    command = Command(tmp_path, *words, "output=out", "jobs=2")
    command.wait_for_parts(3)
    os.kill(command.children()[0], signal.SIGKILL)  # one child alone
    command.wait_for_parts(9)
    children = command.children()
    for number in (command.process.pid, *children):
        os.kill(number, signal.SIGKILL)
    command.process.wait()
    assert b"a process that decodes was killed" in command.process.stderr.read()
    assert not (tmp_path / "out").exists()
    again = run_process(ROOT / "infer.py", *words, "output=out", "jobs=2", cwd=tmp_path)
    assert again.returncode == 0, again.stderr.decode()
    assert b"were decoded before" in again.stderr
    assert (tmp_path / "out").read_bytes() == (tmp_path / "single").read_bytes()
    assert again.stderr.splitlines()[:-1] == single.stderr.splitlines()
