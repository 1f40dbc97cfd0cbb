"""Altered states, and principal components, against NumPy."""

import dataclasses
import random

import numpy as np
import pytest
import tensorflow as tf
from test_handover import make_predictor

from seq2seq.config.choices import SearchKind
from seq2seq.data.examples import Example, group_references
from seq2seq.evaluation import metrics
from seq2seq.inference.predictor import Predictor
from seq2seq.states.experiments import (
    Components,
    accuracy,
    accuracy_by_components,
    chance,
    cut_to,
    decode_from,
    given,
    initial_states,
    interpolated,
    swapped,
    to_vectors,
    unchanged,
    zeroed,
)

SOURCES = [(tuple(text), ()) for text in ("abcd", "dcba", "bbcc", "adad")]


@pytest.fixture(scope="module")
def predictor():
    return make_predictor("model.units=6", "model.layers=2", seed=3)[0]


def test_unchanged_is_what_the_predictor_answers(predictor):
    expected = [p.tokens for p in predictor.predict_tokens(SOURCES)]
    assert decode_from(predictor, SOURCES, unchanged) == expected
    assert len(set(expected)) > 1


@pytest.mark.parametrize("kind", ["beam", "sampling"])
def test_altered_states_are_decoded_as_the_predictor_decodes(predictor, kind):
    """This model is one whose best answers are not the greedy ones."""
    decoding = dataclasses.replace(predictor.decoding, kind=SearchKind(kind), length_penalty=0.0)
    other = Predictor(predictor.model, predictor.vocabularies, predictor.data, decoding)
    found = decode_from(other, SOURCES, unchanged)
    assert found != decode_from(predictor, SOURCES, unchanged)
    assert found == decode_from(other, SOURCES, unchanged)
    if kind == "beam":  # Sampling draws for each batch anew.
        assert found == [p.tokens for p in other.predict_tokens(SOURCES)]


def test_swapped_states_swap_the_answers_of_a_model_without_memory(predictor):
    answers = decode_from(predictor, SOURCES, unchanged)
    assert decode_from(predictor, SOURCES, swapped) == [*answers[1:], answers[0]]


def test_zeroed_states_give_all_sources_one_answer(predictor):
    assert len(set(decode_from(predictor, SOURCES, zeroed))) == 1


def test_interpolation_has_the_two_at_its_ends(predictor):
    answers = decode_from(predictor, SOURCES, unchanged)
    assert decode_from(predictor, SOURCES, interpolated(0.0)) == answers
    assert decode_from(predictor, SOURCES, interpolated(1.0)) == [*answers[1:], answers[0]]
    state = [[tf.constant([[0.0], [4.0]])]]
    np.testing.assert_allclose(interpolated(0.25)(state)[0][0], [[1.0], [3.0]])


def test_a_given_state_takes_the_encoder_s_place(predictor):
    first = [[np.array(t)[0] for t in layer] for layer in initial_states(predictor, SOURCES)]
    answers = decode_from(predictor, SOURCES, given(first))
    assert answers == [decode_from(predictor, SOURCES, unchanged)[0]] * 4


def test_components_equal_the_eigenvectors_of_the_covariance():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 4))
    found = Components.of(vectors)
    values, eigenvectors = np.linalg.eigh(np.cov(vectors.T))
    np.testing.assert_allclose(found.shares, values[::-1] / values.sum(), atol=1e-9)
    for mine, theirs in zip(found.directions, eigenvectors.T[::-1], strict=True):
        np.testing.assert_allclose(abs(mine @ theirs), 1, atol=1e-9)
    np.testing.assert_allclose(found.cut(vectors, 4), vectors, atol=1e-9)
    np.testing.assert_allclose(found.cut(vectors, 0), np.tile(vectors.mean(0), (50, 1)), atol=1e-9)
    errors = [np.square(found.cut(vectors, k) - vectors).sum() for k in range(5)]
    assert errors == sorted(errors, reverse=True)


def test_all_components_change_nothing(predictor):
    vectors = to_vectors(initial_states(predictor, SOURCES))
    assert vectors.shape == (4, 24)
    change = cut_to(Components.of(vectors), 24)
    answers = decode_from(predictor, SOURCES, unchanged)
    assert decode_from(predictor, SOURCES, change) == answers


def test_accuracy_of_altered_states(predictor):
    answers = decode_from(predictor, SOURCES, unchanged)
    examples = [Example(s, a, f) for (s, f), a in zip(SOURCES, answers, strict=True)]
    changes = {"unchanged": unchanged, "zeroed": zeroed}
    whole, nothing = accuracy(predictor, examples, changes)
    assert (whole.name, whole.sequence_accuracy, whole.symbol_error_rate) == ("unchanged", 1.0, 0.0)
    assert nothing.sequence_accuracy < 1
    components = Components.of(to_vectors(initial_states(predictor, SOURCES)))
    by_k = accuracy_by_components(predictor, examples, components, [0, 24])
    assert [one.name for one in by_k] == ["0", "24"]
    assert by_k[0].sequence_accuracy < by_k[1].sequence_accuracy == 1.0


def drawn_examples(count, answers, seed=1):
    """Sources, most with one of the answers, every third with two or more."""
    rng = random.Random(seed)
    return [
        Example((str(i),), answers[(i + j) % len(answers)])
        for i in range(count)
        for j in range(1 if i % 3 else rng.randint(2, 4))
    ]


def one_answer_for_all(examples):
    """The best scores of a reference that answers all sources, by trying them all."""
    references = [found for _, _, found in group_references(examples)]
    answers = {answer for found in references for answer in found}
    answered = [([answer] * len(references), references) for answer in answers]
    exact = max(metrics.sequence_accuracy(*one) for one in answered)
    return ("chance", exact, exact, min(metrics.symbol_error_rate(*one) for one in answered))


def near(centre, rng):
    """An answer that shares about half of its tokens with the centre."""
    return tuple(token if rng.random() < 0.5 else rng.choice("abcdefgh") for token in centre)


@pytest.mark.parametrize(("sources", "answers"), [(3, 1), (50, 50), (250, 250), (400, 20)])
def test_chance_is_the_best_single_answer(sources, answers):
    rng = random.Random(2)
    drawn = [tuple(rng.choices("abc", k=rng.randint(1, 6))) for _ in range(answers)]
    examples = drawn_examples(sources, drawn)
    assert chance(examples) == one_answer_for_all(examples)


def test_chance_finds_the_best_of_many_answers():
    rng = random.Random(3)
    centre = tuple("abcdefghab")
    examples = drawn_examples(400, [*(near(centre, rng) for _ in range(399)), centre])
    assert chance(examples) == one_answer_for_all(examples)


def test_chance_takes_twice_as_long_for_twice_as_many_sources(monkeypatch):
    def counted(count):
        """Edit distances that are computed for so many sources with an answer each."""
        calls.clear()
        chance([Example((str(i),), tuple(f"{i:09b}")) for i in range(count)])
        return len(calls)

    calls, distance = [], metrics.edit_distance
    monkeypatch.setattr(metrics, "edit_distance", lambda *pair: calls.append(1) or distance(*pair))
    assert 0 < counted(1024) < 2.5 * counted(512)


def test_vectors_of_bfloat16_can_be_averaged():
    state = [[tf.fill([4096, 1], tf.constant(0.7, tf.bfloat16))]]
    vectors = to_vectors(state)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors.mean(axis=0), 0.7, atol=0.01)
