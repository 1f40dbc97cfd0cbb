"""Bounded reads: complete within the limit, skipped or refused above it."""

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seq2seq.errors import UserError
from seq2seq.files import read_lines, read_text


@given(st.lists(st.text("ab\r\n", max_size=9)), st.integers(1, 8))
def test_lines_are_those_of_split_or_none(pieces, most):
    data = "\n".join(pieces).encode()
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    if not lines[-1]:
        lines.pop()
    expected = [line if len(line.removesuffix(b"\n")) <= most else None for line in lines]
    assert list(read_lines(io.BytesIO(data), most)) == expected


class Endless(io.RawIOBase):
    """Returns the same byte again and again, and counts."""

    def __init__(self, most):
        self.left, self.largest = most, 0

    def readable(self):
        return True

    def readline(self, size=-1):
        size = min(size, self.left)
        self.left, self.largest = self.left - size, max(self.largest, size)
        return b"a" * size


def test_a_long_line_is_read_in_pieces():
    stream = Endless(2**28)
    assert list(read_lines(stream, 100)) == [None]
    assert stream.left == 0
    assert stream.largest <= 2**20


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: None, "cannot be read: No such file"),
        (lambda path: path.write_bytes(b"a" * 11), "has more than 10 bytes"),
        (lambda path: path.write_bytes(b"a\nb\xff\n"), r"file:2: .*byte 0xff is not UTF-8"),
        (lambda path: path.mkdir(), "not a regular file"),
        (lambda path: os.mkfifo(path), "not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
        (lambda path: path.symlink_to(path), "cannot be read"),
    ],
)
def test_files_that_are_refused(make, problem, tmp_path):
    make(tmp_path / "file")
    with pytest.raises(UserError, match=problem):
        read_text(tmp_path / "file", 10)


def test_a_whole_file_keeps_its_line_ends(tmp_path):
    (tmp_path / "file").write_bytes(b"a\r\nb\r\xc3\xa9\n")
    assert read_text(tmp_path / "file", 10) == "a\r\nb\ré\n"
    with pytest.raises(UserError, match="cannot be read"):
        read_text(tmp_path / "\0", 10)
