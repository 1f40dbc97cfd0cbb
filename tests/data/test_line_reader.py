"""Line reader: numbers, places, byte order marks and line ends, from any kind of input."""

import gzip
import io
import os
import sys
import types

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seq2seq.data.line_reader import Line, LineReader, check_opens
from seq2seq.errors import UserError

MARK = b"\xef\xbb\xbf"
pieces = st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\n", b"\t", MARK, b"\xff", b"bb"]))


def read(path, max_bytes=100):
    return [*LineReader(str(path), "it", max_bytes)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces.map(b"".join))
def test_lines_stand_at_their_places(tmp_path, content):
    (tmp_path / "plain").write_bytes(content)
    lines = read(tmp_path / "plain")
    expected = content.split(b"\n")
    if not expected[-1]:
        expected.pop()
    assert [line.number for line in lines] == [*range(1, len(expected) + 1)]
    for line, whole in zip(lines, expected, strict=True):
        assert content[line.place :].startswith(line.content)
        mark = MARK if line.number == 1 and whole.startswith(MARK) else b""
        assert mark + line.content == whole.removesuffix(b"\r")
        assert line.skipped == len(mark)
    assert all(line.has_end for line in lines[:-1])
    assert not lines or lines[-1].has_end == content.endswith(b"\n")
    (tmp_path / "packed.Gz").write_bytes(gzip.compress(content))
    assert read(tmp_path / "packed.Gz") == lines
    stdin = types.SimpleNamespace(buffer=io.BytesIO(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", stdin)
        assert read("-") == lines
    assert not stdin.buffer.closed


def test_an_overlong_line_is_counted(tmp_path):
    (tmp_path / "x").write_bytes(b"ab\n" + b"c" * 2000 + b"\nde\n")
    lines = read(tmp_path / "x", max_bytes=2)
    assert lines[0] == Line(1, 0, b"ab")
    assert [(line.number, line.content) for line in lines[1:]] == [(2, None), (3, b"de")]


@given(pieces.map(b"".join), pieces.map(b"".join), st.integers(1, 5))
def test_a_pipe_tells_which_lines_have_arrived(begin, rest, max_bytes):
    """Lines that are there are read without waiting for more, and are those of a file."""
    begin = b"a\n" + begin
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", types.SimpleNamespace(buffer=pipe))
        reader = LineReader("-", "it", max_bytes)
        os.write(writing, begin)
        lines = iter(reader)
        found = [next(lines)]
        while reader.is_waiting(0.0):
            found.append(next(lines))  # It would never return if it waited for more.
        # Of the last line it may have seen that it is too long.
        assert len(found) - begin.count(b"\n") in (0, found[-1].content is None)
        os.write(writing, rest)
        os.close(writing)
        for line in lines:
            found.append(line)
            assert reader.is_waiting(0.0)
        patch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(begin + rest)))
        whole = read("-", max_bytes)
    assert [line._replace(place=0) for line in found] == [line._replace(place=0) for line in whole]


@pytest.mark.parametrize("name", ["missing", "missing.gz", "folder", "file/below", "a\0b", "loop"])
def test_what_cannot_be_opened_is_told_as_by_reading_it(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    path = str(tmp_path / name)
    with pytest.raises(UserError) as of_reading:
        read(path)
    with pytest.raises(UserError) as of_check:
        check_opens(path, "it")
    assert str(of_check.value) == str(of_reading.value)


def test_a_check_takes_nothing_from_a_pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    check_opens(str(path), "it")  # Nobody writes to it yet.
    pipe = os.open(path, os.O_RDWR)
    os.write(pipe, b"a\n")
    check_opens(str(path), "it")
    check_opens(f"/dev/fd/{pipe}", "it")
    assert os.read(pipe, 9) == b"a\n"
    os.close(pipe)
    check_opens("-", "it")


def test_files_of_any_kind_open(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    for path in (tmp_path / "file", tmp_path / "link", "/dev/null"):
        check_opens(str(path), "it")
