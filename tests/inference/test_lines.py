"""Line protocol: as many lines of output as of input, for any bytes."""

import errno
import gzip
import io
import json
import os
import select
import stat
import threading
import types
from contextlib import nullcontext

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from project import compose_config

from seq2seq.config.choices import SearchKind
from seq2seq.errors import UserError
from seq2seq.inference import chunks, lines
from seq2seq.inference.answers import Hypothesis, Prediction


class Echo:
    """Answers each source with itself in upper case, and an empty one with a problem."""

    has_features = False
    decoding = types.SimpleNamespace(batch_size=1, kind=SearchKind.greedy)

    def predict(self, sources, features, batches_before, with_details):
        return [
            Prediction([Hypothesis((source,), source.upper(), -1.0)])
            if source.strip()
            else Prediction([], "the source is empty")
            for source in sources
        ]

    def count_batches(self, predictions):
        return sum(prediction.is_decoded for prediction in predictions)


def infer(*words):
    lines.infer(compose_config(*words, name="infer"), nullcontext(Echo()))


@pytest.fixture
def answer(tmp_path):

    def ask(data, *overrides):
        (tmp_path / "in").write_bytes(data)
        files = [f"input={tmp_path}/in", f"output={tmp_path}/out"]
        infer("run=x", *files, *overrides)
        return (tmp_path / "out").read_bytes().decode()

    return ask


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=12)))
def test_as_many_lines_out_as_in(answer, pieces):
    data = b"\n".join(pieces)
    expected = data.count(b"\n") + bool(data and not data.endswith(b"\n"))
    assert answer(data).count("\n") == expected


def test_hostile_lines_keep_their_places(answer, caplog):
    data = b"\xef\xbb\xbfone\r\n\xff\xfe\n\n\x00nul\ntwo\tcolumns\n" + "שלום\u2028x".encode()
    assert answer(data).split("\n") == ["ONE", "", "", "\x00NUL", "TWO", "שלום\u2028X", ""]
    assert [message.split(": ")[1] for message in caplog.messages] == [
        "not UTF-8",
        "the source is empty",
    ]


@pytest.mark.parametrize(
    ("name", "content", "expected", "problem"),
    [
        ("a.csv", 'n,word\n1,"a\nb"\n2\n3,c\n', ["A B", "", "C"], "4: the line has 1 column"),
        (
            "a.jsonl",
            '{"word": "a\\tb"}\n[]\n{"word": "c"}',
            ["A B", "", "C"],
            "2: is not a JSON obj",
        ),
        ("a.tsv", "n\tword\n1\ta\n2\n3\tc", ["A", "", "C"], "3: the line has 1 column"),
    ],
)
def test_columns_by_name(answer, tmp_path, caplog, name, content, expected, problem):
    (tmp_path / name).write_text(content)
    found = answer(b"", f"input={tmp_path / name}", "source.column=word")
    assert found.split("\n")[:-1] == expected
    assert caplog.messages[0].startswith(f"{tmp_path / name}:{problem}")


def test_names_that_are_not_there(answer, tmp_path):
    (tmp_path / "a.csv").write_text("n,word\n1,a\n")
    with pytest.raises(
        UserError, match=r"a\.csv:1: source\.column=wort, .*columns are 'n', 'word'"
    ):
        answer(b"", f"input={tmp_path / 'a.csv'}", "source.column=wort")
    (tmp_path / "a.jsonl").write_text("{}")
    with pytest.raises(UserError, match=r"is JSON Lines, .* write source\.column=NAME instead of"):
        answer(b"", f"input={tmp_path / 'a.jsonl'}")


def test_other_columns_and_formats(answer):
    assert answer(b"a\tb\nc\n", "source.column=2").split("\n") == ["B", "", ""]
    assert answer(b"a\n\n", "format=tsv") == "a\t1\tA\t-1.000000\n\t0\t\tthe source is empty\n"
    [first, second] = map(json.loads, answer(b"a\n\n", "format=jsonl").splitlines())
    assert first == {"source": "a", "predictions": [{"text": "A", "score": -1.0}]}
    assert second["error"] == "the source is empty"


def test_unknown_symbols_are_named_once_and_counted(answer, caplog, monkeypatch):
    def predict(self, sources, features, batches_before, with_details):
        found = [tuple(c for c in dict.fromkeys(source) if c not in "abc") for source in sources]
        return [Prediction([Hypothesis(("x",), "x", -1.0)], None, unknown) for unknown in found]

    monkeypatch.setattr(Echo, "predict", predict)
    data = "abc\nA\x1bbA\nAb\n東A\n".encode()
    assert answer(data) == "x\n" * 4
    warned = [message.split("/in", 1)[1] for message in caplog.messages]
    assert warned[:2] == [
        r":2: not in the vocabulary of the run: 'A' '\x1b'",
        ":4: not in the vocabulary of the run: '東'",
    ]
    assert warned[2].startswith(": 3 lines have symbols that are not in the vocabulary")
    assert len(warned) == 3
    rows = [*map(json.loads, answer(data, "format=jsonl").splitlines())]
    assert [row.get("unknown") for row in rows] == [None, ["A", "\x1b"], ["A"], ["東", "A"]]
    assert answer(data, "format=tsv").startswith("abc\t1\tx\t-1.000000\nA\x1bbA\t1\tx\t-1.0")
    caplog.clear()
    answer("".join(map(chr, range(0x4E00, 0x4E00 + 1000))).encode())
    assert sum(message.count("'") // 2 for message in caplog.messages) == 100
    caplog.clear()
    answer(b"abc\n")
    assert caplog.messages == []


def test_an_overlong_line_disturbs_nobody(answer, caplog):
    data = b"a\n" + b"x" * 21 + b"\nb\n" + b"y" * 5000
    assert answer(data, "max_line_bytes=20").split("\n") == ["A", "", "B", "", ""]
    assert [message.split(": ")[0].split(":")[-1] for message in caplog.messages] == ["2", "4"]
    assert "more than max_line_bytes=20" in caplog.messages[0]


def test_a_chunk_is_bounded_in_characters_too(answer, monkeypatch):
    sizes = []

    def predict(self, sources, features, batches_before, with_details):
        sizes.append(len(sources))
        return [Prediction([Hypothesis(("x",), "x", -1.0)]) for _ in sources]

    monkeypatch.setattr(Echo, "predict", predict)
    monkeypatch.setattr(chunks, "CHUNK_CHARACTERS", 100)
    assert answer(b"a\n" * 50 + b"b" * 100 + b"\n" + b"c\n" * 3) == "x\n" * 54
    assert sizes == [32, 19, 3]


def test_tabs_of_a_prediction_make_no_columns(answer, monkeypatch):
    tabbed = Prediction([Hypothesis(("\t",), "\tx", -1.0)])
    monkeypatch.setattr(Echo, "predict", lambda *_: [tabbed])
    assert answer(b"a\n", "format=tsv") == "a\t1\t x\t-1.000000\n"


def test_a_damaged_gz_is_one_clear_mistake(answer, tmp_path):
    whole = gzip.compress(b"a\n" * 1000)
    for name, content in {"x.gz": whole[:20], "y.gz": b"a\n"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"^input=.*{name}: is not a gzip file, or is damaged"):
            answer(b"", f"input={tmp_path}/{name}")


@pytest.mark.parametrize("name", ["words.txt", "words.gz", "WORDS.GZ"])
def test_input_and_output_are_named_as_files_of_training(answer, tmp_path, monkeypatch, name):
    monkeypatch.setenv("HOME", str(tmp_path))
    content = b"\xef\xbb\xbfone\r\n\ntwo"
    (tmp_path / name).write_bytes(content if name.endswith("txt") else gzip.compress(content))
    infer("run=x", f"input='~/{name}'", "output='~/answers'")
    assert (tmp_path / "answers").read_text() == "ONE\n\nTWO\n"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("missing.txt", "no such file"),
        ("missing.GZ", "no such file"),
        (".", "is a directory, not a file"),
        ("~nobody-of-that-name", "no such file"),
        ("-", "standard input is closed"),
    ],
)
def test_input_that_cannot_be_opened(answer, tmp_path, monkeypatch, name, problem):
    monkeypatch.setattr("sys.stdin", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=rf"^input={name}: {problem}$"):
        answer(b"", f"input='{name}'")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_a_long_input_is_never_held_whole(answer, monkeypatch):
    asked, predict = [], Echo.predict

    def counting(self, sources, features, batches_before, with_details):
        asked.append((batches_before, len(sources)))
        return predict(self, sources, features, batches_before, with_details)

    monkeypatch.setattr(Echo, "predict", counting)
    count = 10 * chunks.CHUNK_BATCHES + 1
    assert answer(b"a\n" * count) == "A\n" * count
    # Every chunk continues the numbers of the batches, from which sampling draws.
    size = chunks.CHUNK_BATCHES
    assert asked == [*((i * size, size) for i in range(10)), (10 * size, 1)]


@pytest.fixture
def converse(answer, tmp_path, request, monkeypatch):
    """A program that writes lines to `infer.py` through one pipe and reads another."""
    monkeypatch.setattr(Echo.decoding, "kind", getattr(request, "param", SearchKind.greedy))
    for name in ("questions", "answers"):
        os.mkfifo(tmp_path / name)
    files = [f"input={tmp_path}/questions", f"output={tmp_path}/answers", "max_line_bytes=9"]
    thread = threading.Thread(target=infer, args=("run=x", *files), daemon=True)
    thread.start()
    # A pipe opened for both directions waits for nobody, and so for no program that failed.
    readers = (tmp_path / "answers").open("r+b", buffering=0)
    with readers as answers, (tmp_path / "questions").open("r+b", buffering=0) as questions:

        def ask(data, count, seconds=20):
            """Returns `count` lines of answers, or those that came in time."""
            questions.write(data)
            found = b""
            while found.count(b"\n") < count and select.select([answers], [], [], seconds)[0]:
                found += answers.read(1000)
            return found

        yield ask
    thread.join(timeout=20)
    assert not thread.is_alive()


def test_a_program_that_waits_gets_its_answer_at_once(converse):
    assert converse(b"a\n", 1) == b"A\n"
    assert converse(b"\n", 1) == b"\n"
    assert converse(b"b\nc\nd", 2) == b"B\nC\n"
    assert converse(b"e\n" + b"x" * 100, 2) == b"DE\n\n"
    assert converse(b"x" * 100 + b"\n", 0) == b""
    assert converse(b"x" * 200 + b"\n", 1) == b"\n"
    assert converse(b"f\n", 1) == b"F\n"


@pytest.mark.parametrize("converse", [SearchKind.sampling], indirect=True)
def test_draws_do_not_depend_on_when_lines_arrive(converse, monkeypatch, caplog):
    monkeypatch.setattr(lines, "_LONG_PAUSE", 0.05)
    count = chunks.CHUNK_BATCHES
    assert converse(b"a\n", 1, seconds=0.3) == b""
    assert converse(b"a\n", 1, seconds=0.3) == b""
    [message] = caplog.messages  # A program that waits for ever is told why.
    assert message.endswith(
        "with decoding=sampling answers wait for more lines or the end of the input"
    )
    assert converse(b"a\n" * count, count) == b"A\n" * count


def test_a_failed_run_leaves_the_old_output(answer, tmp_path, monkeypatch):
    assert answer(b"a\n") == "A\n"
    monkeypatch.setattr(Echo, "predict", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        answer(b"b\n")
    assert (tmp_path / "out").read_text() == "A\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out"]


def test_a_full_disk_is_one_clear_mistake_and_leaves_the_old_output(answer, tmp_path, monkeypatch):
    assert answer(b"a\n") == "A\n"

    def full_disk(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("seq2seq.files.sync", full_disk)
    with pytest.raises(UserError, match=r"^output=.*out: cannot be written: No space left on dev"):
        answer(b"b\n")
    assert (tmp_path / "out").read_text() == "A\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out"]


@pytest.mark.parametrize("name", ["fifo", "link"])
def test_a_fifo_is_written_into_and_stays(answer, tmp_path, name):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    read = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "fifo").read_text()))
    reader.daemon = True  # A replaced FIFO would keep it waiting for ever.
    reader.start()
    assert answer(b"", f"output={tmp_path}/out") == ""
    (tmp_path / "in").write_bytes(b"a\nb\n")
    ask = ["run=x", f"input={tmp_path}/in", f"output={tmp_path}/{name}"]
    infer(*ask)
    reader.join(timeout=10)
    assert read == ["A\nB\n"]
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)
    assert (tmp_path / "link").is_symlink()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fifo", "in", "link", "out"]


def test_the_reader_of_a_fifo_may_leave(answer, tmp_path):
    os.mkfifo(tmp_path / "fifo")

    def leave():
        (tmp_path / "fifo").open("rb").close()

    reader = threading.Thread(target=leave, daemon=True)
    reader.start()
    (tmp_path / "in").write_bytes(b"a" * 50_000 + b"\n" + b"b\n" * 50_000)
    ask = ["run=x", f"input={tmp_path}/in", f"output={tmp_path}/fifo"]
    infer(*ask)
    reader.join(timeout=10)
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_stays_a_link_to_the_written_file(answer, tmp_path, is_there):
    (tmp_path / "folder").mkdir()
    if is_there:
        (tmp_path / "folder" / "real").write_text("old\n")
    (tmp_path / "out").symlink_to("folder/real")
    assert answer(b"a\n") == "A\n"
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "folder" / "real").read_text() == "A\n"
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["real"]


def test_output_that_cannot_be_opened(answer, tmp_path):
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "astray").symlink_to("nowhere/x")
    for name, reason in {
        ".": "cannot be written: Is a directory",
        "circle": "cannot be written: Too many levels of symbolic links",
        "astray": "there is no folder .*nowhere",
        "nowhere/x": "there is no folder .*nowhere",
    }.items():
        with pytest.raises(UserError, match=f"^output={tmp_path}/?{name.strip('.')}: {reason}"):
            answer(b"a\n", f"output={tmp_path}/{name}")
    assert (tmp_path / "circle").is_symlink()
    assert not (tmp_path / "nowhere").exists()


def test_a_prompt_answers_until_the_end_of_input(answer, monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdin", Terminal("one\n\ntwo\n"))
    infer("run=x")
    assert capsys.readouterr().out.replace("> ", "") == "ONE\nthe source is empty\nTWO\n"
