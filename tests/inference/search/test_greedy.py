"""Greedy search follows the most probable ids, stops when all rows have, and never shows PAD."""

import numpy as np
import pytest
import tensorflow as tf

from seq2seq.inference.search import beam, greedy
from seq2seq.special_ids import BOS, EOS, PAD

A, B = 4, 5


def test_follows_the_script_exactly(scripted):
    log_probs = np.full([5, 6], -9.0)
    for position, token in enumerate([A, B, B, EOS, A]):
        log_probs[position, token] = -0.25
    found = greedy(scripted.positional_step(log_probs), tf.zeros([1], tf.int32), 1, 5)
    assert found.tokens.numpy().tolist() == [[[A, B, B, EOS, PAD]]]
    assert found.lengths.numpy().tolist() == [[4]]
    assert found.scores.numpy().tolist() == [[-1.0]]


def test_without_eos_takes_all_positions(scripted):
    log_probs = np.full([3, 6], -9.0)
    log_probs[:, A] = -0.5
    found = greedy(scripted.positional_step(log_probs), tf.zeros([2], tf.int32), 2, 3)
    assert scripted.as_lists(found) == [[(A, A, A)]] * 2
    assert found.scores.numpy().tolist() == [[-1.5]] * 2


def test_starts_from_bos_and_feeds_back_its_choices():
    # The id after each id; the step sees BOS, then what was chosen, then PAD after EOS.
    follows = tf.constant([A, A, B, A, EOS, A])
    seen = tf.Variable(tf.fill([5, 2], -1))
    position = tf.Variable(0)

    def step(tokens, state):
        seen.scatter_nd_update([[position]], [tokens])
        position.assign_add(1)
        # Row 1 has another script: it never ends.
        following = tf.where(tf.range(2) == 0, tf.gather(follows, tokens), A)
        return tf.math.log(tf.one_hot(following, 6)), state

    greedy(step, tf.zeros([2, 1]), 2, 5)
    assert seen.numpy().T.tolist() == [[BOS, B, A, EOS, PAD], [BOS, A, A, A, A]]


def test_stops_as_soon_as_every_row_has(scripted):
    steps = tf.Variable(0)
    log_probs = np.full([50, 6], -9.0)
    log_probs[:3, A] = log_probs[3, EOS] = -0.1
    positional = scripted.positional_step(log_probs)

    def step(tokens, state):
        steps.assign_add(1)
        return positional(tokens, state)

    tf.function(lambda state: greedy(step, state, 2, 50))(tf.zeros([2], tf.int32))
    assert steps.numpy() == 4


def test_rows_do_not_depend_on_their_batch(scripted):
    tables = scripted.random_tables(0, rows=8, size=7)
    step = scripted.trigram_step(tables)
    state = scripted.trigram_state(tables)
    together = greedy(step, state, 8, 10)
    for row in range(8):
        alone = greedy(step, tf.nest.map_structure(lambda x, r=row: x[r : r + 1], state), 1, 10)
        assert alone.tokens.numpy().tolist() == together.tokens[row : row + 1].numpy().tolist()
        assert alone.scores.numpy().tolist() == together.scores[row : row + 1].numpy().tolist()


@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_with_unknown_batch_size_equals_eager(scripted, jit_compile):
    @tf.function(input_signature=[tf.TensorSpec([None, 7, 7, 7])], jit_compile=jit_compile)
    def search(tables):
        state = scripted.trigram_state(tables)
        return greedy(scripted.trigram_step(tables), state, tf.shape(tables)[0], 9)

    for rows in (1, 5):
        tables = scripted.random_tables(rows, rows, size=7)
        eager = greedy(scripted.trigram_step(tables), scripted.trigram_state(tables), rows, 9)
        scripted.assert_same(search(tables), eager)


def test_empty_batch(scripted):
    step = scripted.positional_step(np.zeros([3, 6]))
    assert greedy(step, tf.zeros([0], tf.int32), 0, 3).tokens.shape == [0, 1, 3]


@pytest.mark.parametrize("search", [greedy, lambda *args: beam(*args, 1, 0.6, 1)])
@pytest.mark.parametrize("dead", [-np.inf, -1e9, np.nan])
def test_dead_end_is_reported_as_no_hypothesis(scripted, search, dead):
    log_probs = np.full([3, 6], dead)
    log_probs[0, A] = 0.0
    found = search(scripted.positional_step(log_probs), tf.zeros([1], tf.int32), 1, 3)
    assert scripted.as_lists(found) == [[()]]
    assert found.scores.numpy().tolist() == [[-np.inf]]


def test_padding_and_bos_are_never_chosen_even_if_the_step_likes_them(scripted):
    log_probs = np.full([4, 6], -3.0)
    log_probs[:, [PAD, BOS]] = -0.01
    log_probs[:, B] = -2.0
    found = greedy(scripted.positional_step(log_probs), tf.zeros([1], tf.int32), 1, 4)
    assert scripted.as_lists(found) == [[(B, B, B, B)]]
