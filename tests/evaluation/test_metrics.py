"""Decoded scores by hand, and against an edit distance of our own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seq2seq.evaluation.metrics import DecodedScores, corpus_scores, edit_distance, score

words = st.text("abc", max_size=7)


def distance(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


@given(words, words)
def test_edit_distance(a, b):
    assert edit_distance(tuple(a), tuple(b)) == distance(a, b)


def test_by_hand():
    predictions = ["abc", "ab", "", "xyz"]
    references = [["abc"], ["abcd", "b"], ["a"], ["zzz", "xyz"]]
    # Edits to the nearest: 0 of 3, 1 of 1, 1 of 1, 0 of 3.
    assert score(predictions, references) == DecodedScores(4, 0.5, 2 / 8)


def test_of_equally_near_references_the_longest_counts():
    assert score(["ab"], [["a", "abc"]]) == DecodedScores(1, 0.0, 1 / 3)


def test_of_nothing():
    assert score([], []) == DecodedScores(0, 0.0, 0.0)


@given(st.lists(st.tuples(words, st.lists(words, min_size=1, max_size=3)), min_size=1))
def test_properties(pairs):
    predictions, references = zip(*pairs, strict=True)
    scores = score(predictions, references)
    assert 0 <= scores.sequence_accuracy <= 1
    assert scores.symbol_error_rate >= 0
    perfect = score([r[0] for r in references], references)
    assert (perfect.sequence_accuracy, perfect.symbol_error_rate) == (1, 0)


def test_bleu_and_chrf_take_any_number_of_references():
    lines = ["the cat sat on the mat", "a dog"]
    perfect = corpus_scores(lines, [[lines[0]], ["one dog", lines[1]]])
    assert perfect["bleu"] == pytest.approx(100)
    assert perfect["chrf"] == pytest.approx(100)
    worse = corpus_scores(["the cat", "x"], [[lines[0]], [lines[1]]])
    assert worse["bleu"] < 50
