"""Sampling draws from the exact distribution, filtered as asked, and repeats itself by seed."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq.errors import UserError
from seq2seq.inference.search import greedy
from seq2seq.inference.search.sampling import keep_nucleus, sample
from seq2seq.special_ids import EOS

A, B = 4, 5


def draw(scripted, tables, max_length, n_best, *, temperature=1.0, top_k=0, top_p=1.0, seed=1):
    step, state = scripted.trigram_step(tables), scripted.trigram_state(tables)
    rows = tf.shape(tables)[0]
    return sample(step, state, rows, max_length, temperature, top_k, top_p, seed, n_best)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_top_one_is_greedy(scripted, temperature):
    # Rounded log-probs tie often; both must then take the lowest id.
    tables = np.round(scripted.random_tables(5, rows=32, size=8))
    best = greedy(scripted.trigram_step(tables), scripted.trigram_state(tables), 32, 9)
    scripted.assert_same(draw(scripted, tables, 9, 1, temperature=temperature, top_k=1), best)
    scripted.assert_same(draw(scripted, tables, 9, 1, temperature=temperature, top_p=1e-6), best)


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.5])
@pytest.mark.parametrize("filters", [{}, {"top_k": 6}, {"top_p": 0.9999999}])
def test_frequencies_are_those_of_the_tempered_model(scripted, temperature, filters):
    # With filters that remove nothing, the sorted way must have the same distribution.
    (table,) = scripted.random_tables(11, rows=1, size=8)
    tempered = np.where(table > -1e8, table / temperature, -np.inf)
    tempered -= np.log(np.exp(tempered).sum(-1, keepdims=True))
    expected = {ids: np.exp(total) for ids, total in scripted.every_hypothesis(tempered, 2)}
    assert sum(expected.values()) == pytest.approx(1.0, abs=1e-5)

    size = 40_000
    found = draw(scripted, table[None], 2, size, temperature=temperature, **filters)
    drawn = scripted.as_lists(found)[0]
    for ids, probability in expected.items():
        error = 5.0 * np.sqrt(probability / size) + 1e-4
        assert drawn.count(ids) / size == pytest.approx(probability, abs=error)
    # Scores are the model's own, without the temperature.
    model = dict(scripted.every_hypothesis(table, 2))
    np.testing.assert_allclose(found.scores[0], [model[ids] for ids in drawn], rtol=1e-5)


def test_best_score_first(scripted):
    scores = draw(scripted, scripted.random_tables(2, 4, 8), 6, 20).scores.numpy()
    assert np.all(np.diff(scores, axis=1) <= 0)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**31), size=st.integers(1, 40), top_p=st.floats(0.01, 0.99))
def test_nucleus_is_the_smallest_set_with_the_mass(seed, size, top_p):
    logits = 3.0 * np.random.default_rng(seed).normal(size=size)
    probabilities = np.sort(np.exp(logits) / np.exp(logits).sum())[::-1]
    kept = keep_nucleus(tf.constant(probabilities[None], tf.float32), top_p).numpy()[0] > 0
    count = kept.sum()
    assert kept[:count].all()
    assert count >= 1
    assert probabilities[:count].sum() >= top_p - 1e-6
    assert probabilities[: count - 1].sum() < top_p + 1e-6


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"top_k": 2}, {4, 5}),
        ({"top_p": 0.5}, {4}),
        ({"top_p": 0.75}, {4, 5}),
        ({"top_p": 0.85}, {4, 5, 6}),
        ({"top_k": 3, "top_p": 0.85}, {4, 5}),  # 0.80 of the 0.92 that top-k left
        ({"top_k": 100}, {4, 5, 6, EOS}),
        ({}, {4, 5, 6, EOS}),
        ({"top_p": 0.75, "temperature": 100.0}, {4, 5, 6}),  # nearly flat: 3 of 4
    ],
)
def test_only_the_filtered_ids_are_drawn(scripted, filters, expected):
    with np.errstate(divide="ignore"):
        log_probs = np.log([[0.0, 0.0, 0.0, 0.08, 0.55, 0.25, 0.12]])
    options = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, **filters}
    step = scripted.positional_step(log_probs)
    found = sample(step, tf.zeros([1], tf.int32), 1, 1, seed=3, n_best=3000, **options)
    assert set(found.tokens.numpy().ravel().tolist()) == expected


def test_seed_decides(scripted):
    tables = scripted.random_tables(4, 4, 8)
    first, again, other = (draw(scripted, tables, 12, 3, seed=s) for s in (9, 9, 10))
    assert np.array_equal(first.tokens, again.tokens)
    assert not np.array_equal(first.tokens, other.tokens)
    as_tensor = draw(scripted, tables, 12, 3, seed=tf.constant(9))
    assert np.array_equal(first.tokens, as_tensor.tokens)
    draw(scripted, tables, 2, 1, seed=2**40)


def test_samples_of_a_row_differ(scripted):
    flat = 0.1 * scripted.random_tables(4, 3, 8, mask=-np.inf)
    drawn = scripted.as_lists(draw(scripted, flat, 12, 8))
    assert all(len(set(row)) > 4 for row in drawn)


def test_rows_added_to_a_batch_change_nothing_before_them(scripted):
    tables = scripted.random_tables(6, 5, 8)
    together = scripted.as_lists(draw(scripted, tables, 10, 3))
    assert scripted.as_lists(draw(scripted, tables[:2], 10, 3)) == together[:2]


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("filters", [{}, {"top_k": 4, "top_p": 0.9}])
def test_compiled_with_unknown_batch_size_equals_eager(scripted, jit_compile, filters):
    @tf.function(
        input_signature=[tf.TensorSpec([None, 8, 8, 8]), tf.TensorSpec([], tf.int32)],
        jit_compile=jit_compile,
    )
    def search(tables, seed):
        return draw(scripted, tables, 9, 3, seed=seed, **filters)

    for rows in (1, 5):
        tables = scripted.random_tables(rows, rows, size=8)
        scripted.assert_same(search(tables, 21), draw(scripted, tables, 9, 3, seed=21, **filters))


@pytest.mark.parametrize("top_k", [0, 3])
@pytest.mark.parametrize("dead", [-np.inf, -1e9, np.nan])
def test_dead_end_is_reported_as_no_hypothesis(scripted, dead, top_k):
    log_probs = np.full([3, 6], dead)
    log_probs[0, [A, B]] = np.log(0.5)
    step = scripted.positional_step(log_probs)
    found = sample(step, tf.zeros([2], tf.int32), 2, 3, 0.7, top_k, 0.9, 1, 2)
    assert scripted.as_lists(found) == [[(), ()]] * 2
    assert np.all(np.isneginf(found.scores))


@pytest.mark.parametrize(
    ("name", "value"), [("temperature", 0.0), ("top_k", -1), ("top_p", 0.0), ("n_best", 0)]
)
def test_number_out_of_range_is_named(scripted, name, value):
    options = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": 0, "n_best": 1, name: value}
    step = scripted.positional_step(np.zeros([3, 6]))
    with pytest.raises(UserError, match=f"{name}={value}"):
        sample(step, tf.zeros([1], tf.int32), 1, 3, **options)
