"""Fuzzed example files: any bytes give examples or one clear line; valid files are read."""

import gzip

import pytest
from fuzzing import attempt, damage, pieces, share
from hypothesis import given
from hypothesis import strategies as st
from project import compose_config

from seq2seq.config.choices import Normalization
from seq2seq.config.schema import FeaturesConfig, SideConfig
from seq2seq.data.examples import Example
from seq2seq.data.tsv import read_examples

tokens = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r;| \ufeff"))


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """Returns a function from bytes and settings of `data` to examples, or None for a UserError."""
    folder = tmp_path_factory.mktemp("files")
    data = compose_config("run_dir=x", "data=tsv").data

    def read(content, is_gzip=False, **changes):
        path = folder / ("fuzz.gz" if is_gzip else "fuzz")
        path.write_bytes(content)
        for key, value in changes.items():
            setattr(data, key, value)
        return attempt(lambda: read_examples(str(path), data), f"{path}:")

    return read


forms = st.sampled_from([form for form in Normalization if form != "auto"])
side = st.builds(
    SideConfig, st.integers(1, 3), st.sampled_from(["char", "word", ";", "ab"]), st.none() | forms
)
features = st.builds(FeaturesConfig, st.sampled_from([None, 1, 3]), st.sampled_from([";", "|"]))
lines = st.lists(st.lists(st.sampled_from([b"\t", b"a", b";"]) | pieces, max_size=6).map(b"".join))


@share(1)
@given(
    lines.map(b"\n".join),
    side,
    side,
    features,
    forms,
    st.integers(1, 60),
)
def test_any_bytes(read, content, source, target, features, normalization, most_bytes):
    found = read(
        content,
        source=source,
        target=target,
        features=features,
        normalization=normalization,
        max_line_bytes=most_bytes,
    )
    if found is not None:
        assert found
        assert all(example.source and example.target for example in found)
        assert all(all(tokens) for example in found for tokens in example)


@share(1)
@given(lines.map(b"\n".join).map(gzip.compress).flatmap(damage))
def test_any_damage_to_gzip(read, content):
    read(content, is_gzip=True)


@st.composite
def examples(draw, spelling, separator):
    sequence = tokens.filter(bool) if spelling != "char" else tokens.filter(lambda t: len(t) == 1)
    sequence = sequence.filter(lambda token: token.split() == [token])
    sequences = st.lists(sequence, min_size=1, max_size=4).map(tuple)
    tags = tokens.filter(bool).filter(lambda token: separator not in token)
    return draw(st.lists(st.builds(Example, sequences, sequences, st.lists(tags).map(tuple)),
                         min_size=1))  # fmt: skip


@share(1)
@given(
    st.data(),
    st.sampled_from([("char", ""), ("word", " "), ("; ", "; "), ("|", "|")]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_what_is_well_formed_is_read(read, data, spelling, end, has_mark, is_gzip, ends):
    kind, join = spelling
    expected = data.draw(examples(kind, ";"))
    text = end.join("\t".join(sep.join(column) for sep, column in zip((join, join, ";"), e,
                    strict=True)) for e in expected)  # fmt: skip
    content = b"\xef\xbb\xbf" * has_mark + (text + end * ends).encode()
    found = read(
        gzip.compress(content) if is_gzip else content,
        is_gzip,
        source=SideConfig(1, kind, None),
        target=SideConfig(2, kind, None),
        features=FeaturesConfig(3, ";"),
        normalization=Normalization.none,
        max_line_bytes=2**20,
    )
    assert found == expected
