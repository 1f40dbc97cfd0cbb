"""Fuzzed requests: one answer per line for any bytes, with unchanged neighbours."""

import dataclasses
import json
from contextlib import nullcontext

import pytest
from fuzzing import pieces, share
from hypothesis import example, given
from hypothesis import strategies as st
from project import compose_config

from seq2seq.config.choices import OutputFormat
from seq2seq.inference import lines
from seq2seq.inference.predictor import Predictor
from seq2seq.runs.run_dir import RunDir

MOST_BYTES = 700


@pytest.fixture(scope="module")
def predictor(tiny_run):
    return Predictor.load(RunDir.open(tiny_run[1]))


@pytest.fixture(scope="module")
def settings():
    return compose_config("run=x", f"max_line_bytes={MOST_BYTES}", name="infer")


@pytest.fixture
def answer(predictor, settings, tmp_path):
    """Returns a function from bytes of input to lines of output, through `lines.infer`."""

    def ask(data, form):
        (tmp_path / "in").write_bytes(data)
        files = {"input": str(tmp_path / "in"), "output": str(tmp_path / "out")}
        config = dataclasses.replace(settings, format=OutputFormat(form), **files)
        lines.infer(config, nullcontext(predictor))
        found = (tmp_path / "out").read_bytes().decode("utf-8")
        assert found.endswith("\n") or not found
        return found.split("\n")[:-1]

    return ask


def is_clean(line, predictor):
    """An independent statement of the protocol."""
    try:
        tokens = line.removesuffix(b"\r").decode("utf-8").split("\t")[0].split()
    except UnicodeDecodeError:
        return False
    fits = len(tokens) <= predictor.data.max_source_length and len(line) <= MOST_BYTES
    return bool(tokens) and fits


def read(form, row):
    """An output line as (source, prediction, score, problem)."""
    if form == "text":
        return None, row, None, None
    if form == "tsv":
        source, rank, text, last = row.split("\t")
        return (source, text, None, last) if rank == "0" else (source, text, float(last), None)
    found = json.loads(row)
    if "error" in found:
        assert found["predictions"] == []
        return found["source"], "", None, found["error"]
    [best] = found["predictions"]
    return found["source"], best["text"], best["score"], None


ordinary = st.lists(st.sampled_from("0123456789"), min_size=1, max_size=9).map(" ".join)
hostile = st.one_of(
    st.lists(pieces, max_size=5).map(b"".join),
    st.sampled_from([b"1 " * 257, b"1 " * 5000, b"\t" * 600, b"1\t" * 300, b"x" * 10**5,
                     "a\u0300".encode() * 200, b'"', b"'1", b"\\", b"{}"]),
)  # fmt: skip


@share(2)
@given(
    st.lists(st.one_of(ordinary.map(str.encode), hostile), max_size=12),
    st.sampled_from(list(OutputFormat)),
    st.booleans(),
)
@example([b"\xef\xbb\xbf1 2", b"", b"\xef\xbb\xbf3"], OutputFormat.jsonl, False)
def test_one_answer_per_line_in_order(answer, predictor, requests, form, has_end):
    data = b"\n".join(requests) + b"\n" * has_end
    asked = data.split(b"\n")
    if not asked[-1]:
        asked.pop()
    answers = [read(form, row) for row in answer(data, form)]
    assert len(answers) == len(asked)
    if asked and len(asked[0]) <= MOST_BYTES:
        asked[0] = asked[0].removeprefix(b"\xef\xbb\xbf")
    clean = [i for i, line in enumerate(asked) if is_clean(line, predictor)]
    # Behind an empty line, because a mark at the start of the file is not of the text.
    alone = answer(b"\n" + b"".join(asked[i] + b"\n" for i in clean), form)[1:]
    for i, row in zip(clean, alone, strict=True):
        source, text, score, problem = read(form, row)
        assert answers[i][:2] == (source, text)
        assert answers[i][2] == pytest.approx(score, abs=1e-4)
        assert answers[i][3] is problem is None
    for i in set(range(len(asked))) - set(clean):
        assert answers[i][1] == ""
        assert form == "text" or answers[i][3]


def test_a_line_of_ten_megabytes_and_one_of_a_million_tokens(answer):
    data = b"1 2\n" + b"x" * 10**7 + b"\n" + b"1 " * 10**6 + b"\r\n3 4\n"
    rows = [read("jsonl", row) for row in answer(data, "jsonl")]
    assert [bool(row[1]) for row in rows] == [True, False, False, True]
    assert {row[3] for row in rows[1:3]} == {
        f"the line has more than max_line_bytes={MOST_BYTES} bytes"
    }
