"""Invented sources look like those of the examples, and are none of them."""

from hypothesis import given
from hypothesis import strategies as st

from seq2seq.data.examples import Example
from seq2seq.data.invented import invent_sources

words = st.lists(st.text("abc", min_size=1, max_size=6), min_size=1, max_size=20)


@given(words, st.integers(0, 40), st.integers(0, 3))
def test_every_three_tokens_are_of_some_example(sources, count, seed):
    tags = [("N", "PL"), ("V",)]
    examples = [Example(tuple(w), ("x",), tags[i % 2]) for i, w in enumerate(sources)]
    found = list(invent_sources(examples, count, seed))
    known = {(example.source, example.features) for example in examples}
    assert len(found) <= count
    assert len(set(found)) == len(found)
    assert not known & set(found)
    triples = {t for e in examples for t in triples_of(e.source)}
    for source, features in found:
        assert set(triples_of(source)) <= triples
        assert features in {example.features for example in examples}
        assert 1 <= len(source) <= max(len(example.source) for example in examples)
    assert found == list(invent_sources(examples, count, seed))


def triples_of(source):
    padded = ["^", "^", *source, "$"]
    return list(zip(padded, padded[1:], padded[2:], strict=False))


def test_they_differ_by_seed():
    examples = [Example(tuple(w), ("x",)) for w in ("banana", "ananas", "nabana", "bananana")]
    first, second = (list(invent_sources(examples, 5, seed)) for seed in (1, 2))
    assert first != second
