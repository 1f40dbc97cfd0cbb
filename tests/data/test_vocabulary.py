"""Vocabulary: unusual characters survive, order is fixed, data cannot forge special tokens."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from project import ROOT

from seq2seq.data.vocabulary import Tokenizer, Vocabulary
from seq2seq.errors import UserError
from seq2seq.special_ids import BOS, EOS, PAD, SPECIAL_TOKENS, UNK

tokens = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1)


@given(st.lists(st.lists(tokens)))
def test_round_trip_through_text_and_ids(tmp_path_factory, sequences):
    vocabulary = Vocabulary.build(sequences, 1)
    path = tmp_path_factory.mktemp("v") / "v.txt"
    path.write_bytes(vocabulary.to_text().encode())
    assert Vocabulary.load(path) == vocabulary
    for sequence in sequences:
        ids = vocabulary.encode(sequence)
        assert all(i >= len(SPECIAL_TOKENS) or token in SPECIAL_TOKENS
                   for i, token in zip(ids, sequence, strict=True))  # fmt: skip
        expected = [SPECIAL_TOKENS[UNK] if t in SPECIAL_TOKENS else t for t in sequence]
        assert list(vocabulary.decode([BOS, *ids, EOS, 4, PAD])) == expected


def test_order_is_by_count_then_by_token():
    vocabulary = Vocabulary.build([["b", "a", "c", "c"], ["é", "rare", "a"]], 1)
    assert vocabulary.tokens[4:] == ("a", "c", "b", "rare", "é")
    assert Vocabulary.build([["b", "a", "c", "c"], ["a"]], 2).tokens[4:] == ("a", "c")


def test_order_does_not_depend_on_hashing():
    code = (
        "from seq2seq.data.vocabulary import Vocabulary;"
        "print(Vocabulary.build([set('the quick brown fox'.split())], 1).tokens)"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in "123"
    }
    assert len(outputs) == 1


def test_special_tokens_in_the_data_are_unknown():
    vocabulary = Vocabulary.build([["<eos>", "a"]], 1)
    assert vocabulary.encode(["a", "<eos>", "<pad>", "new"]) == [4, UNK, UNK, UNK]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read"),
        (b"a\nb\n", "begins with"),
        (b"", "begins with"),
        ("".join(f"{t}\n" for t in SPECIAL_TOKENS).encode() + b"\xff\n", "cannot be read"),
        ("".join(f"{t}\n" for t in (*SPECIAL_TOKENS, "x", "x")).encode(), "twice"),
    ],
)
def test_damaged_files(content, problem, tmp_path):
    path = tmp_path / "vocab.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=problem) as error:
        Vocabulary.load(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("char", "ab c", ("a", "b", " ", "c")),
        ("char", "", ()),
        ("word", "  to \u2003be  ", ("to", "be")),
        (";", "V;PST;;3", ("V", "PST", "3")),
        ("|", "", ()),
    ],
)
def test_tokenizer(kind, text, expected):
    tokenizer = Tokenizer(kind)
    assert tokenizer.split(text) == expected
    assert tokenizer.split(tokenizer.join(expected)) == expected


@pytest.mark.parametrize("tokens", [["a", "a"], ["<eos>"], ["a\n"]])
def test_what_no_file_could_hold(tokens):
    with pytest.raises(ValueError, match="vocabulary"):
        Vocabulary(tokens)


@pytest.mark.parametrize("separator", ["\t", "\n", ";\n"])
def test_a_separator_cannot_break_lines_and_columns(separator):
    with pytest.raises(UserError, match="another separator") as error:
        Tokenizer(separator)
    assert str(error.value).isprintable()


def test_tokenizer_needs_a_kind():
    with pytest.raises(UserError, match="char, word"):
        Tokenizer("")
