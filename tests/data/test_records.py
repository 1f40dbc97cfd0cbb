"""CSV with a header, JSON Lines, and tab-separated files with a header: columns by name."""

import csv
import gzip
import io
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seq2seq.data.examples import Example
from seq2seq.data.large_file import IndexedFiles, read_or_index
from seq2seq.data.tsv import read_examples, read_sources
from seq2seq.errors import UserError

texts = st.lists(
    st.sampled_from([*'ab",;', "é", " ", "\n", "\r\n", "\t", "\u2028"]), max_size=8
).map("".join)
rows = st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=12)


def as_csv(header, lines, end="\r\n"):
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end).writerows([header, *lines])
    return text.getvalue().encode()


def as_json(header, lines):
    return "".join(
        json.dumps(dict(zip(header, line, strict=True))) + "\n" for line in lines
    ).encode()


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=rows,
    end=st.sampled_from(["\n", "\r\n"]),
    bom=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    is_packed=st.booleans(),
    kind=st.sampled_from(["csv", "CSV", "jsonl"]),
)
def test_what_is_written_is_read(tmp_path, make_config, lines, end, bom, is_packed, kind):
    lines = [(f"x{a}", f"y{b}", c) for a, b, c in lines]
    header = ("form", "lemma, or word", "tags")
    is_csv = kind.lower() == "csv"
    content = bom + (as_csv(header, lines, end) if is_csv else as_json(header, lines))
    path = tmp_path / f"data.{kind}{'.gz' if is_packed else ''}"
    path.write_bytes(gzip.compress(content) if is_packed else content)
    config = make_config(
        source_column="lemma, or word", target_column="form", features_column="tags"
    )
    blanks = str.maketrans("\t\r\n", "   ")
    expected = [
        tuple(tuple(field.translate(blanks).split()) for field in (b, a)) for a, b, _ in lines
    ]
    found = read_examples(str(path), config)
    assert [(example.source, example.target) for example in found] == expected
    indexed = read_or_index(str(path), make_config(**_columns(config), in_memory_mib=0)).examples
    assert isinstance(indexed, IndexedFiles)
    assert [*indexed] == found
    if is_csv:
        by_number = make_config(source_column=2, target_column=1, features_column=3)
        assert read_examples(str(path), by_number) == found
    path.unlink()


def _columns(config):
    return {
        f"{side}_column": getattr(config, side).column for side in ("source", "target", "features")
    }


def test_files_may_differ_in_format_and_in_the_order_of_columns(tmp_path, make_config):
    (tmp_path / "a.tsv").write_text("n\tin\tout\n1\ta\tb\n")
    (tmp_path / "b.csv").write_text('out,in\n"d",c\n\n')
    (tmp_path / "c.jsonl").write_text('{"out": "f", "in": "e"}\n\n{"in": 12, "out": "g"}\n')
    paths = [str(tmp_path / name) for name in ("a.tsv", "b.csv", "c.jsonl")]
    expected = [Example((a,), (b,)) for a, b in ("ab", "cd", "ef", ("12", "g"))]
    for mebibytes in (None, 0):
        config = make_config(source_column="in", target_column="out", in_memory_mib=mebibytes)
        assert [*read_or_index(paths, config).examples] == expected
    asked = make_config(source_column="in", target_column="missing")
    assert read_sources(paths, asked) == [(example.source, ()) for example in expected]


NAMED = {"source_column": "in", "target_column": "out"}


@pytest.mark.parametrize(
    ("name", "content", "columns", "message"),
    [
        ("a.jsonl", '{"in": "a", "out": "b"}', {}, "a.jsonl: is JSON Lines, whose columns have na"),
        ("a.csv", "in,on\na,b\n", NAMED, "a.csv:1: data.target.column=out, but the header has no "),
        ("a.csv", "in,out,in\n", NAMED, "a.csv:1: data.source.column=in, but the header has more "),
        ("a.csv", 'in,out\n"a\n\nb",c\nd\n', NAMED, "a.csv:5: the line has 1 column (separated by"),
        ("a.csv", 'in,out\na,b\n"c,d\n', NAMED, "a.csv:3: cannot be read as CSV: unexpected end o"),
        ("a.csv", 'in,out\na,"b"c\n', NAMED, "a.csv:2: cannot be read as CSV: ',' expected after "),
        ("a.csv", "in,out\n\xff,b\n", NAMED, "a.csv:2: byte 0xff (byte 1 of the line, in column 1"),
        ("a.csv", "in,out\n\n", NAMED, "a.csv: has no examples"),
        ("a.csv", "", NAMED, "a.csv: has no examples"),
        ("a.csv", f'in,out\n"{"a" * 3000}\n{"a" * 3000}",b\n', NAMED, "a.csv:2: the line has more"),
        ("a.csv", f'in,out\n"{chr(10) * 900_000}', NAMED, "a.csv:2: "),
        ("a.tsv", "a\tb\n", NAMED, "a.tsv:1: data.source.column=in, but the header has no column "),
        ("a.jsonl", '{"in": "a"}\n', NAMED, "a.jsonl:1: data.target.column=out, but the JSON obje"),
        ("a.jsonl", '\n{"in": "a", "out": null}', NAMED, "a.jsonl:2: data.target.column=out, but "),
        ("a.jsonl", '{"in": true, "out": "a"}', NAMED, "a.jsonl:1: data.source.column=in, but the"),
        ("a.jsonl", '{"in": "\\ud800", "out": "a"}', NAMED, "a.jsonl:1: data.source.column=in, bu"),
        ("a.jsonl", "[1]", NAMED, "a.jsonl:1: is not a JSON object"),
        ("a.jsonl", '{"in": ', NAMED, "a.jsonl:1: cannot be read as JSON: Expecting value"),
        ("a.jsonl", "[" * 2000, NAMED, "a.jsonl:1: cannot be read as JSON: "),
        ("a.txt", '{"in": "a", "out": "b"}', {}, "a.txt:1: the line has 1 column (separated by ta"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mebibytes", [None, 0])
def test_mistakes_name_the_line(
    tmp_path, monkeypatch, make_config, name, content, columns, message, mebibytes
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError) as error:
        read_or_index(name, make_config(in_memory_mib=mebibytes, **columns))
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "content", "separator", "way_out"),
    [
        ("a.csv", "in;out\na;b\n", "semicolons", r"tr ';' '\t' < OLD > NEW.tsv"),
        ("a.csv", "in;out\na, b;c\n", "semicolons", r"tr ';' '\t' < OLD > NEW.tsv"),
        ("a.csv", '"in";"out"\n"a";"b"\n', "semicolons", r"tr ';' '\t' < OLD > NEW.tsv"),
        ("a.csv", "in\tout\na\tb\n", "tabs", "end the file's name in .tsv"),
        ("a.tsv", "in;out\na, b;c\n", "semicolons", r"tr ';' '\t' < OLD > NEW.tsv"),
        ("a.tsv", "in,out\na,b\n", "commas", "give the file a header and a name in .csv"),
        ("a.tsv", "in ||| out\na ||| b\n", "vertical bars", "awk -F ' *[|]+ *'"),
    ],
)
@pytest.mark.parametrize("columns", [{}, NAMED])
def test_another_separator_is_named_at_the_header(
    tmp_path, monkeypatch, make_config, name, content, columns, separator, way_out
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError) as error:
        read_examples(name, make_config(**columns))
    text = str(error.value)
    assert text.startswith(f"{name}:1: ")
    assert f"; if {separator} separate the columns, " in text
    assert way_out in text


def test_a_header_of_one_column_may_have_semicolons(tmp_path, make_config):
    path = tmp_path / "sources.csv"
    path.write_text("a;b\nx;y\n")
    assert read_sources(str(path), make_config()) == [(("x;y",), ())]
    path.write_text('"a;b",c\n"x;y",z\n')
    assert read_examples(str(path), make_config()) == [Example(("x;y",), ("z",))]
