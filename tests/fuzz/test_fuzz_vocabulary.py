"""Fuzzed vocabulary files: any bytes give a vocabulary or one clear line."""

import pytest
from fuzzing import attempt, damage, pieces, share
from hypothesis import given
from hypothesis import strategies as st

from seq2seq.data.vocabulary import Vocabulary
from seq2seq.special_ids import SPECIAL_TOKENS, UNK

tokens = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"))
START = "".join(f"{token}\n" for token in SPECIAL_TOKENS).encode()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("vocabulary") / "vocab.txt"


@share(1)
@given(st.lists(tokens.filter(lambda token: token not in SPECIAL_TOKENS), unique=True))
def test_any_tokens_survive(path, ordinary):
    vocabulary = Vocabulary(ordinary)
    path.write_bytes(vocabulary.to_text().encode())
    assert Vocabulary.load(path).tokens == (*SPECIAL_TOKENS, *ordinary)
    assert vocabulary.decode(Vocabulary.load(path).encode(ordinary)) == tuple(ordinary)


@share(1)
@given(
    st.one_of(
        st.lists(pieces).map(lambda found: START + b"\n".join(found)),
        damage(START + b"a\nb\n"),
        st.binary(),
    )
)
def test_any_bytes(path, content):
    path.write_bytes(content)
    vocabulary = attempt(lambda: Vocabulary.load(path), f"{path}:")
    if vocabulary is None:
        return
    assert vocabulary.to_text().encode().removesuffix(b"\n") == content.removesuffix(b"\n")
    assert UNK not in vocabulary.encode(vocabulary.tokens[len(SPECIAL_TOKENS) :])
