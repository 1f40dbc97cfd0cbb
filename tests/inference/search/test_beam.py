"""Beam search: exhaustive when wide, greedy when of width 1, and nothing lost by stopping early."""

from functools import cache

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq.config.schema import Length, Penalty
from seq2seq.errors import UserError
from seq2seq.inference.search import beam, greedy
from seq2seq.inference.search.beam import length_penalties
from seq2seq.inference.search.hypotheses import tile
from seq2seq.special_ids import BOS, EOS, PAD

A, B = 4, 5
PENALTIES = [0.0, 0.6, 1.0, 2.5, -0.7]


@cache
def compiled(scripted_id, max_length, beam_size, n_best, stop_early=True, jit_compile=False):
    """Returns beam(tables, length_penalty), traced once for each combination of settings."""
    scripted = SCRIPTED[scripted_id]

    @tf.function(
        input_signature=[tf.TensorSpec([None, None, None, 6]), tf.TensorSpec([])],
        jit_compile=jit_compile,
    )
    def search(tables, length_penalty):
        return beam(
            scripted.trigram_step(tables),
            scripted.trigram_state(tables),
            tf.shape(tables)[0],
            max_length,
            beam_size,
            length_penalty,
            n_best,
            stop_early,
        )

    return search


SCRIPTED = {}


@pytest.fixture(autouse=True, scope="module")
def _register(scripted):
    SCRIPTED[0] = scripted


def ranked(hypotheses, length_penalty):
    """Scores (tokens, log-prob) pairs and puts finished ones first, then the best."""
    scored = [
        (ids[-1] != EOS, -total / ((5 + len(ids)) / 6) ** length_penalty, ids)
        for ids, total in hypotheses
    ]
    return [(ids, -negative) for _, negative, ids in sorted(scored)]


def shrinking_beam(table, max_length, beam_size):
    """The same search in plain Python, for one row."""
    finished, alive = [], [((), 0.0)]
    for _ in range(max_length):
        longer = []
        for ids, total in alive:
            first, second = (PAD, BOS, *ids)[-2:]
            for token in set(range(len(table))) - {PAD, BOS}:
                longer.append(((*ids, token), total + float(table[first, second, token])))
        longer.sort(key=lambda pair: -pair[1])
        longer = longer[: beam_size - len(finished)]
        finished += [pair for pair in longer if pair[0][-1] == EOS]
        alive = [pair for pair in longer if pair[0][-1] != EOS]
    return finished + alive


def assert_matches(scripted, found, expected_of_row):
    """Compares with a list of (ids, score) per row; the rest of the n-best list must be empty."""
    for row, expected in enumerate(expected_of_row):
        ids = scripted.as_lists(found)[row]
        size = min(len(ids), len(expected))
        assert ids[:size] == [ids for ids, _ in expected[:size]]
        np.testing.assert_allclose(
            found.scores[row, :size], [score for _, score in expected[:size]], rtol=1e-5
        )
        assert ids[size:] == [()] * (len(ids) - size)
        assert np.all(np.isneginf(found.scores[row, size:]))


@pytest.mark.parametrize("length_penalty", PENALTIES)
@pytest.mark.parametrize("max_length", [1, 3, 4])
@pytest.mark.parametrize("stop_early", [False, True])
def test_full_width_is_exhaustive(scripted, max_length, length_penalty, stop_early):
    # 4 legal ids: 40 finished and 81 unfinished hypotheses within 4 tokens.
    for seed, mask in enumerate([-np.inf, -1e9, -1e4]):
        tables = scripted.random_tables(seed, rows=3, size=6, mask=mask)
        expected = [
            ranked(scripted.every_hypothesis(table, max_length), length_penalty) for table in tables
        ]
        for n_best in (1, 7, 130):
            search = compiled(0, max_length, 130, n_best, stop_early)
            assert_matches(scripted, search(tables, length_penalty), expected)


@pytest.mark.parametrize("length_penalty", PENALTIES)
@pytest.mark.parametrize("beam_size", [1, 2, 3, 5, 8])
def test_pruned_beam_equals_plain_python(scripted, beam_size, length_penalty):
    tables = scripted.random_tables(7, rows=16, size=6)
    found = compiled(0, 8, beam_size, beam_size)(tables, length_penalty)
    expected = [ranked(shrinking_beam(table, 8, beam_size), length_penalty) for table in tables]
    assert_matches(scripted, found, expected)


@pytest.mark.parametrize("length_penalty", [Penalty.minimum, Penalty.maximum])
def test_the_longest_answers_have_scores_at_the_largest_penalties(length_penalty):
    penalties = length_penalties(Length.maximum, length_penalty).numpy()
    for log_prob in (np.float32(-1e-3), np.float32(-1e8)):
        scores = log_prob / penalties
        assert np.isfinite(scores).all()
        assert (scores < 0).all()


@pytest.mark.parametrize("length_penalty", PENALTIES)
def test_beam_of_one_is_greedy(scripted, length_penalty):
    tables = scripted.random_tables(3, rows=64, size=6)
    found = compiled(0, 12, 1, 1)(tables, length_penalty)
    best = greedy(scripted.trigram_step(tables), scripted.trigram_state(tables), 64, 12)
    assert scripted.as_lists(found) == scripted.as_lists(best)
    penalty = ((5.0 + best.lengths.numpy()) / 6.0) ** length_penalty
    np.testing.assert_allclose(found.scores, best.scores / penalty, rtol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    length_penalty=st.floats(-2.0, 4.0, width=32),
    n_best=st.integers(1, 4),
    sharpness=st.sampled_from([0.3, 1.0, 4.0]),
    is_rounded=st.booleans(),
)
def test_stopping_early_loses_nothing(seed, length_penalty, n_best, sharpness, is_rounded):
    scripted = SCRIPTED[0]
    tables = sharpness * scripted.random_tables(seed, rows=16, size=6)
    # Whole numbers make many scores exactly equal.
    tables = np.floor(tables) if is_rounded else tables
    patient = compiled(0, 10, 4, n_best, False)(tables, length_penalty)
    hasty = compiled(0, 10, 4, n_best, True)(tables, length_penalty)
    assert scripted.as_lists(patient) == scripted.as_lists(hasty)
    assert np.array_equal(patient.scores, hasty.scores)


@pytest.mark.parametrize("seed", range(3))
def test_rows_do_not_depend_on_their_batch(scripted, seed):
    tables = scripted.random_tables(seed, rows=12, size=6)
    search = compiled(0, 10, 4, 3)
    together = search(tables, 0.6)
    for row in range(12):
        alone = search(tables[row : row + 1], 0.6)
        assert alone.tokens.numpy().tolist() == together.tokens[row : row + 1].numpy().tolist()
        assert alone.scores.numpy().tolist() == together.scores[row : row + 1].numpy().tolist()


@pytest.mark.parametrize("beam_size", [1, 4, 9])
def test_eager_graph_and_xla_agree(scripted, beam_size):
    graph = compiled(0, 8, beam_size, beam_size)
    xla = compiled(0, 8, beam_size, beam_size, jit_compile=True)
    for rows in (1, 6):
        tables = scripted.random_tables(rows, rows, size=6)
        step, state = scripted.trigram_step(tables), scripted.trigram_state(tables)
        eager = beam(step, state, rows, 8, beam_size, 0.6, beam_size)
        scripted.assert_same(graph(tables, 0.6), eager)
        scripted.assert_same(xla(tables, 0.6), eager)


def counted(step):
    """Returns the step and a variable that counts its calls."""
    calls = tf.Variable(0)

    def counting(tokens, state):
        calls.assign_add(1)
        return step(tokens, state)

    return counting, calls


@pytest.mark.parametrize(
    ("n_best", "stop_early", "expected"), [(1, True, 2), (2, True, 30), (1, False, 30)]
)
def test_stops_as_soon_as_the_list_is_final(scripted, n_best, stop_early, expected):
    # Two steps finish "A EOS" with -0.2; "A A" has -0.3 and goes on to the last position.
    log_probs = np.full([30, 6], -50.0)
    log_probs[:, A], log_probs[1, A], log_probs[1, EOS] = -0.1, -0.2, -0.1
    step, calls = counted(scripted.positional_step(log_probs))
    search = tf.function(lambda state: beam(step, state, 2, 30, 2, 0.0, n_best, stop_early))
    found = search(tf.zeros([2], tf.int32))
    assert scripted.as_lists(found)[0][0] == (A, EOS)
    assert calls.numpy() == expected


def test_stopped_row_is_frozen_while_others_go_on():
    # Row 0 ends at once, with a rival that can no longer win; row 1 never ends.
    ending, endless = np.full([2, 6], -50.0, np.float32)
    ending[[EOS, A]], endless[[A, B]] = (-0.1, -3.0), (-0.5, -1.0)
    log_probs = np.stack([ending, ending, endless, endless])
    seen = tf.Variable(tf.fill([5, 4], -1))
    position = tf.Variable(0)

    def step(tokens, state):
        seen.scatter_nd_update([[position]], [tokens])
        position.assign_add(1)
        return tf.constant(log_probs), state

    found = beam(step, tf.zeros([2, 1]), 2, 5, 2, 0.0, 1)
    assert found.lengths.numpy().tolist() == [[1], [5]]
    assert seen.numpy()[:, :2].tolist() == [[BOS, BOS], [EOS, A], *[[PAD, PAD]] * 3]


def test_long_hypothesis_that_overtakes_is_waited_for(scripted):
    # After one token "EOS" leads by log-prob and by score, but the penalty favours "A A A EOS".
    log_probs = np.full([4, 6], -50.0)
    log_probs[0, EOS], log_probs[0, A] = -1.0, -1.2
    log_probs[1:3, A] = log_probs[3, EOS] = 0.0
    step = scripted.positional_step(log_probs)
    found = beam(step, tf.zeros([1], tf.int32), 1, 4, 2, 1.0, 2)
    assert scripted.as_lists(found) == [[(A, A, A, EOS), (EOS,)]]
    np.testing.assert_allclose(found.scores, [[-1.2 / 1.5, -1.0]], rtol=1e-6)


def test_finished_precede_unfinished_even_if_less_probable(scripted):
    log_probs = np.full([3, 6], -0.1)
    log_probs[:, EOS] = -5.0
    log_probs[:, 1] = -50.0
    step = scripted.positional_step(log_probs)
    found = beam(step, tf.zeros([1], tf.int32), 1, 3, 40, 0.0, 40)
    ended = [ids[-1] == EOS for ids in scripted.as_lists(found)[0] if ids]
    assert ended == sorted(ended, reverse=True)
    assert not all(ended)


@pytest.mark.parametrize("stop_early", [False, True])
def test_the_shorter_hypothesis_wins_a_tie(scripted, stop_early):
    # "A EOS" is in the first slot, and "EOS" in the second one has the same log-prob.
    log_probs = np.full([2, 6], -50.0)
    log_probs[0, A], log_probs[0, EOS], log_probs[1, EOS] = -1.0, -2.0, -1.0
    step = scripted.positional_step(log_probs)
    found = beam(step, tf.zeros([1], tf.int32), 1, 2, 2, 0.0, 2, stop_early)
    assert scripted.as_lists(found) == [[(EOS,), (A, EOS)]]
    assert found.scores.numpy().tolist() == [[-2.0, -2.0]]


@pytest.mark.parametrize("mask", [-np.inf, -1e9, np.nan])
def test_vocabulary_smaller_than_the_beam_shows_no_duplicates(scripted, mask):
    # Only A and EOS are legal: 3 finished hypotheses and 1 unfinished within 3 tokens.
    log_probs = np.full([3, 6], mask)
    log_probs[:, A], log_probs[:, EOS] = -0.5, -1.0
    step = scripted.positional_step(log_probs)
    found = beam(step, tf.zeros([1], tf.int32), 1, 3, 10, 0.0, 6)
    expected = [(EOS,), (A, EOS), (A, A, EOS), (A, A, A), (), ()]
    assert scripted.as_lists(found) == [expected]
    assert found.scores.numpy().tolist() == [[-1.0, -1.5, -2.0, -1.5, -np.inf, -np.inf]]


def test_masked_end_does_not_block_a_slot(scripted):
    # EOS is masked by a finite number at first; finishing there would cost slots for good.
    log_probs = np.full([3, 6], -1e9)
    log_probs[:, A] = log_probs[1:, EOS] = -0.5
    log_probs[2, B] = -0.6
    step = scripted.positional_step(log_probs)
    found = beam(step, tf.zeros([1], tf.int32), 1, 3, 4, 0.0, 4)
    assert scripted.as_lists(found) == [[(A, EOS), (A, A, EOS), (A, A, A), (A, A, B)]]


def test_n_best_beyond_the_beam_is_the_users_mistake(scripted):
    step = scripted.positional_step(np.zeros([3, 6]))
    with pytest.raises(UserError, match=r"n_best=3 .* beam_size=2"):
        beam(step, tf.zeros([1], tf.int32), 1, 3, 2, 0.0, 3)


def test_empty_batch(scripted):
    found = compiled(0, 8, 4, 4)(np.zeros([0, 6, 6, 6], np.float32), 0.6)
    assert found.tokens.shape == [0, 4, 8]


def test_tile_repeats_each_row_in_place():
    tiled = tile({"h": tf.constant([[1, 2], [3, 4]])}, 2)
    assert tiled["h"].numpy().tolist() == [[1, 2], [1, 2], [3, 4], [3, 4]]
