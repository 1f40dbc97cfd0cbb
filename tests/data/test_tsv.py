import gzip
import io
import os
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seq2seq.config.choices import Normalization
from seq2seq.config.schema import DataConfig
from seq2seq.data.examples import Example
from seq2seq.data.tsv import feature_tokens, normalize, read_examples, source_tokens, target_tokens
from seq2seq.errors import UserError

MakeConfig = Callable[..., DataConfig]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], str]:
    def write_file(content: bytes) -> str:
        path = tmp_path / "data.tsv"
        path.write_bytes(content)
        return str(path)

    return write_file


def test_reads_columns_and_tokens(write, make_config: MakeConfig) -> None:
    path = write(b"K AE1 T\tcat\tignored\nD AO1 G\tdog\n")
    config = make_config(
        source_column=2, source_tokens="char", target_column=1, target_tokens="word"
    )
    assert read_examples(path, config) == [
        Example(("c", "a", "t"), ("K", "AE1", "T")),
        Example(("d", "o", "g"), ("D", "AO1", "G")),
    ]


def test_reads_features(write, make_config: MakeConfig) -> None:
    path = write(b"go\twent\tV;PST\ngo\tgo\t\n")
    config = make_config(features_column=3)
    assert [e.features for e in read_examples(path, config)] == [("V", "PST"), ()]


def test_only_a_line_feed_ends_a_line(write, make_config: MakeConfig) -> None:
    odd = "a\u2028b\x85c\x0bd\x0ce\rf\x1cg"
    path = write(f"{odd}\tx\nnext\ty\n".encode())
    config = make_config(source_tokens="char")
    assert [e.source for e in read_examples(path, config)] == [tuple(odd), tuple("next")]


@pytest.mark.parametrize(
    "content",
    [b"a\tb\r\nc\td\r\n", b"a\tb\nc\td", b"\xef\xbb\xbfa\tb\nc\td\n", b"\n \na\tb\n\t\t\nc\td"],
)
def test_line_ends_byte_order_mark_and_blank_lines(
    write, make_config: MakeConfig, content: bytes
) -> None:
    examples = read_examples(write(content), make_config())
    assert examples == [Example(("a",), ("b",)), Example(("c",), ("d",))]


@pytest.mark.parametrize("content", [b"a\tb\rc\td\r", b"a\tb\rc\td", b"\xef\xbb\xbfa,b\rc,d\r"])
def test_lone_cr_line_ends_are_refused(write, make_config: MakeConfig, content: bytes) -> None:
    with pytest.raises(UserError, match=r"data\.tsv:1: the file has CR line ends.*convert it"):
        read_examples(write(content), make_config())


def test_an_overlong_first_line_may_have_cr_line_ends(write, make_config: MakeConfig) -> None:
    with pytest.raises(
        UserError, match=r"data\.tsv:1: .*convert the file if its lines end with CR"
    ):
        read_examples(write(b"a\tb\r" * 2000), make_config())


def test_a_cr_inside_the_text_of_a_normal_line_is_data(write, make_config: MakeConfig) -> None:
    config = make_config(source_tokens="char")
    assert read_examples(write(b"a\rb\tx\r\n"), config)[0].source == ("a", "\r", "b")
    assert read_examples(write(b"ab\tx\r"), config)[0] == Example(("a", "b"), ("x",))


@pytest.mark.parametrize(
    ("first", "is_header"),
    [
        ("source\ttarget", True),
        ("# Word\tPronunciation\tfreq", True),
        ('"lemma"\t"form"', True),
        ("English\tFrench", True),
        ("source\tsource", False),
        ("word\tw ɝ d", False),
        ("name\tnames", False),
        ("form\tForm", False),
    ],
)
def test_a_header_is_a_warning(
    write, make_config: MakeConfig, caplog: pytest.LogCaptureFixture, first: str, is_header: bool
) -> None:
    path = write(f"\n{first}\na\tb\nsource\ttarget\n".encode())
    assert len(read_examples(path, make_config())) == 3
    headers = [message for message in caplog.messages if "looks like a header" in message]
    assert [message.split(": ")[0] for message in headers] == [f"{path}:2"] * is_header
    assert any("quotation marks" in message for message in caplog.messages) == ('"' in first)


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ('{"source": "a", "target": "b"}', r"it looks like JSON: end the file's name in \.jsonl"),
        (
            "source,target",
            r"if commas separate the columns, give the file a header and a name in \.csv",
        ),
        ('"a, b";"c"; "d"', "if semicolons separate the columns, convert"),
        ("one, two, three|eins, zwei, drei", "if vertical bars separate the columns, convert"),
        ("a b", "asks for column 2$"),
        ("1 2", "asks for column 2$"),
        ("0.5", r"looks like measurements.*docs/questions\.md"),
        ("12.5,-3,1e-3", r"looks like measurements.*docs/questions\.md"),
    ],
)
def test_another_format_is_named(write, make_config: MakeConfig, line: str, hint: str) -> None:
    with pytest.raises(UserError, match=rf"data\.tsv:1: the line has 1 column .*{hint}"):
        read_examples(write(f"{line}\n".encode()), make_config())


@pytest.mark.parametrize(
    ("lines", "is_series"),
    [
        (["0.1\t0.2"], True),
        (["time\tvalue", *(f"{i}\t{i / 8}" for i in range(30))], True),
        (["1 2 3\t-0.75", "20.5 21 22\t.5e3"] * 30, True),
        (["1 2 3\t3 2 1"] * 30, False),
        (["12\t0012", "0.5\ta half"] * 30, False),
        (["0.1\t0.2"] * 5 + ["a\tb"] + ["0.1\t0.2"] * 30, False),
        (["1.2.3\t1.2"] * 30, False),
        ([f"{i}+{i}\t{i / 8}" for i in range(30)], False),
    ],
)
def test_measurements_are_not_text(write, make_config: MakeConfig, lines, is_series: bool) -> None:
    path = write("".join(f"{line}\n" for line in lines).encode())
    if not is_series:
        assert len(read_examples(path, make_config())) == len(lines)
        return
    with pytest.raises(UserError, match=r"data\.tsv: looks like measurements.*questions\.md"):
        read_examples(path, make_config())


def test_a_byte_order_mark_inside_the_file_is_data(write, make_config: MakeConfig) -> None:
    config = make_config(source_tokens="char")
    examples = read_examples(write("a\tb\n\ufeffc\td\n".encode()), config)
    assert examples[1].source == ("\ufeff", "c")


def test_reads_gzip(tmp_path: Path, make_config: MakeConfig) -> None:
    path = tmp_path / "data.tsv.gz"
    path.write_bytes(gzip.compress(b"a\tb\n") + gzip.compress(b"c\td\n"))
    assert len(read_examples(str(path), make_config())) == 2


def test_expands_the_home_directory(
    tmp_path: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data.tsv").write_bytes(b"a\tb\n")
    assert len(read_examples("~/data.tsv", make_config())) == 1
    with pytest.raises(UserError, match=r"^~nobody-of-that-name: no such file$"):
        read_examples("~nobody-of-that-name", make_config())


class FakeStdin:
    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


def test_reads_standard_input(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = FakeStdin(b"a\tb\nc\n")
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(UserError, match=r"^<stdin>:2: "):
        read_examples("-", make_config())
    assert not stdin.buffer.closed
    monkeypatch.setattr(sys, "stdin", FakeStdin(b"a\tb\n"))
    assert read_examples("-", make_config()) == [Example(("a",), ("b",))]
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UserError, match="standard input is closed"):
        read_examples("-", make_config())


def test_normalizes_every_column(write, make_config: MakeConfig) -> None:
    path = write("e\u0301\tu\u0308\ta\u0300\n".encode())
    config = make_config(source_tokens="char", target_tokens="char", features_column=3)
    assert read_examples(path, config) == [Example(("é",), ("ü",), ("à",))]
    config = make_config(source_tokens="char", normalization=Normalization.none)
    assert read_examples(path, config)[0].source == ("e", "\u0301")


def test_a_side_has_its_own_form(write, make_config: MakeConfig) -> None:
    path = write("e\u0301\te\u0301\n".encode())
    config = make_config(source_tokens="char", target_tokens="char")
    config.source.normalization = Normalization.NFD
    [example] = read_examples(path, config)
    assert example == Example(("e", "\u0301"), ("é",))
    assert source_tokens("é", config) == ("e", "\u0301")


@pytest.mark.parametrize(
    ("form", "expected"),
    [("NFC", "ﬁé"), ("NFD", "ﬁe\u0301"), ("NFKC", "fié"), ("NFKD", "fie\u0301"), ("none", "ﬁé")],
)
def test_normal_forms(form: str, expected: str) -> None:
    assert normalize("ﬁé", Normalization(form)) == expected


marks = st.text("a\u0300\u0315\u0323\u0345\u0f73\u0344가\u11a8é漢ﬁ", max_size=20)


@given(marks, st.sampled_from([form for form in Normalization if form not in ("none", "auto")]))
def test_many_marks_are_sorted_as_unicodedata_does(few: str, form: Normalization) -> None:
    text = "".join(few[i:] + few[:i] for i in range(len(few))) * 3
    assert normalize(text, form) == unicodedata.normalize(form.value, text)


def test_a_million_marks_on_one_letter_end() -> None:
    marks = 170_000 * "\u0315\u0300\u0323"
    expected = "ạ" + "\u0323" * 169_999 + "\u0300" * 170_000 + "\u0315" * 170_000
    assert normalize("a" + marks, Normalization.NFC) == expected


def test_text_of_inference_becomes_the_same_tokens(write, make_config: MakeConfig) -> None:
    config = make_config(source_tokens="char", target_tokens="|", features_column=3)
    row = "e\u0301 x\tu\u0308|o\tA;B"
    source, target, features = row.split("\t")
    expected = Example(
        source_tokens(source, config),
        target_tokens(target, config),
        feature_tokens(features, config),
    )
    assert read_examples(write(row.encode()), config) == [expected]
    assert expected == (("é", " ", "x"), ("ü", "o"), ("A", "B"))
    assert feature_tokens("", config) == ()


@pytest.mark.parametrize(
    ("line", "overrides", "message"),
    [
        (b"c", {}, "the line has 1 column (separated by tabs), but data.target.column=2 asks"),
        (
            b"c\td",
            {"source_column": 5},
            "has 2 columns (separated by tabs), but data.source.column=5",
        ),
        (b"c\td", {"features_column": 3}, "data.features.column=3 asks for column 3"),
        (b"c\td\xff", {}, "byte 0xff (byte 4 of the line, in column 2) is not UTF-8"),
        (b"c\xc3", {}, "byte 0xc3 (byte 2 of the line, in column 1) is not UTF-8"),
        (b"\td", {}, "the source is empty (data.source.column=1)"),
        (b"c\t", {}, "the target is empty (data.target.column=2)"),
        (b" \td", {}, "the source ' ' has no tokens (data.source.tokens='word')"),
        (
            b"c\t;;",
            {"target_tokens": ";"},
            "the target ';;' has no tokens (data.target.tokens=';')",
        ),
    ],
)
def test_errors_of_a_line_name_file_and_line(
    write, make_config: MakeConfig, line: bytes, overrides: dict[str, object], message: str
) -> None:
    path = write(b"a\tb\te\tf\tg\n\n" + line + b"\nx\ty\n")
    with pytest.raises(UserError) as error:
        read_examples(path, make_config(**overrides))
    assert str(error.value).startswith(f"{path}:3: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_byte_position_counts_the_byte_order_mark(write, make_config: MakeConfig) -> None:
    with pytest.raises(UserError, match=r":1: byte 0xfe \(byte 5 of the line, in column 1\)"):
        read_examples(write(b"\xef\xbb\xbfa\xfe\tb\n"), make_config())


@pytest.mark.parametrize("content", [b"", b"\n", b" \n\t\n", b"\xef\xbb\xbf"])
def test_a_file_without_examples(write, make_config: MakeConfig, content: bytes) -> None:
    path = write(content)
    with pytest.raises(UserError) as error:
        read_examples(path, make_config())
    assert str(error.value).startswith(f"{path}: has no examples")


def test_files_that_cannot_be_opened(tmp_path: Path, make_config: MakeConfig) -> None:
    for name in ("missing.tsv", "missing.tsv.gz"):
        with pytest.raises(UserError, match=rf"{name}: no such file$"):
            read_examples(str(tmp_path / name), make_config())
    with pytest.raises(UserError, match=r"is a directory, not a file$"):
        read_examples(str(tmp_path), make_config())
    (tmp_path / "f").write_text("a\tb\n")
    with pytest.raises(UserError, match=r"cannot be read: Not a directory$"):
        read_examples(str(tmp_path / "f" / "g"), make_config())


def test_a_file_without_permission(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:  # chmod would not stop a test that runs as root
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match=r"secret\.tsv: no permission to read it$"):
        read_examples("secret.tsv", make_config())


def test_damaged_gzip(tmp_path: Path, make_config: MakeConfig) -> None:
    path = tmp_path / "data.gz"
    whole = gzip.compress(os.urandom(500).hex().encode() + b"\tb\n")
    flipped = bytearray(whole)
    flipped[60] ^= 0xFF
    for content in (b"a\tb\n", whole[:-20], whole[:5], bytes(flipped), whole + b"rubbish"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"data\.gz: is not a gzip file, or is damaged: "):
            read_examples(str(path), make_config())


def test_a_line_without_an_end_is_refused(tmp_path: Path, make_config: MakeConfig) -> None:
    path = tmp_path / "data.gz"
    path.write_bytes(gzip.compress(b"a\tb\n" + b"x" * 2**25))  # 32 MiB in 32 KiB
    with pytest.raises(UserError, match=r"data\.gz:2: .* data\.max_line_bytes=4000 bytes"):
        read_examples(str(path), make_config())


@pytest.mark.parametrize(("length", "fits"), [(20, True), (21, False)])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_the_bound_counts_the_bytes_of_a_line(
    write, make_config: MakeConfig, length: int, fits: bool, end: bytes
) -> None:
    path = write(b"a\t" + b"b" * (length - 2) + end)
    try:
        assert len(read_examples(path, make_config(max_line_bytes=20))) == fits
    except UserError:
        assert not fits


def test_a_message_does_not_quote_a_whole_line(write, make_config: MakeConfig) -> None:
    with pytest.raises(UserError) as error:
        read_examples(write(b" " * 3000 + b"\tb\n"), make_config())
    assert len(str(error.value)) < 300


def test_a_name_that_no_file_has(make_config: MakeConfig) -> None:
    with pytest.raises(UserError, match="cannot be read: embedded null"):
        read_examples("a\0b", make_config())


lines = st.lists(
    st.sampled_from([b"a", b"\t", b"\n", b"\r", b" ", b"\xff", b"\xc3\xa9", b"\xef\xbb\xbf"])
)


@given(content=st.one_of(st.binary(max_size=80), lines.map(b"".join)), is_gzip=st.booleans())
@example(content=b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\x03", is_gzip=True)
def test_any_bytes_are_examples_or_a_user_error(
    tmp_path_factory: pytest.TempPathFactory, make_config: MakeConfig, content: bytes, is_gzip: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / ("fuzz.gz" if is_gzip else "fuzz")
    path.write_bytes(content)
    examples, message = [], ""
    try:
        examples = read_examples(str(path), make_config(features_column=1))
    except UserError as error:
        message = str(error)
    assert bool(examples) != message.startswith(f"{path}:")
    assert "\n" not in message
    assert all(e.source and e.target for e in examples)
