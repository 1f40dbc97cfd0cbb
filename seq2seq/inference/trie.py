"""Prefix tree of the allowed answers, and the restriction of a search to them.

The tree is two tables. The children of a node have consecutive numbers in the order of their
tokens, so that a child's number follows from the tokens that may follow the node.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from seq2seq.config.bounds import check_answers
from seq2seq.data.buckets import pad
from seq2seq.hardware import memory
from seq2seq.inference.search.hypotheses import State, Step
from seq2seq.model.types import Tensor
from seq2seq.special_ids import BOS, EOS, PAD


class Trie(NamedTuple):
    """A prefix tree of N nodes; node 0 is the empty prefix.

    Attributes:
        follows: Bit v of row n: whether token v may follow node n `[N, ceil(V / 8)]` uint8.
        first_child: The number of each node's first child `[N]` int32.
    """

    follows: Tensor
    first_child: Tensor


def build_trie(answers: Sequence[list[int]], vocabulary_size: int) -> Trie:
    """Returns the tree of answers, given as ids without BOS and EOS.

    Raises:
        UserError: It does not fit into memory.
    """
    longest, count = max(map(len, answers)) + 1, len(answers)
    check_answers(count, 2 * 4 * count * longest, memory())
    # Sorted, [answers, longest]: equal prefixes are neighbours.
    rows = np.unique(pad([[*ids, EOS] for ids in answers], longest), axis=0)
    # A node for each prefix that differs from that of the row before, at the place of its last
    # token; numbered by length, then in the order of the rows.
    is_new = np.ones(rows.shape, bool)
    is_new[1:] = np.logical_or.accumulate(rows[1:] != rows[:-1], axis=1)
    is_node = is_new & (rows != PAD)
    numbers = np.cumsum(is_node.T).reshape(rows.T.shape).T
    row, place = np.nonzero(is_node)
    parent = np.where(place > 0, numbers[row, place - 1], 0)
    token = rows[row, place]
    shape = len(row) + 1, -(-vocabulary_size // 8)
    check_answers(count, shape[0] * shape[1], memory())
    follows = np.zeros(shape, np.uint8)
    np.bitwise_or.at(follows, (parent, token // 8), (1 << token % 8).astype(np.uint8))
    first_child = np.zeros(len(row) + 1, np.int32)
    # Backwards: of several children the first one is written last, and stays.
    first_child[parent[::-1]] = numbers[row, place][::-1]
    return Trie(tf.constant(follows), tf.constant(first_child))


def restrict(step: Step, state: State, rows: int | tf.Tensor, trie: Trie) -> tuple[Step, State]:
    """Returns a step that makes all but the answers of the tree impossible, and its first state.

    The log-probabilities of the others stay as they are: a score is still that of the model.

    Args:
        step: The model, one token at a time.
        state: The state before the first token, leaves `[B, ...]`.
        rows: B.
        trie: The tree.
    """

    def restricted(tokens: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        before, inner = state
        log_probs, inner = step(tokens, inner)
        ids = tf.range(log_probs.shape[-1])  # [V]
        # The place of the token among those that may follow. Rows that are finished or impossible
        # write other tokens; any node will do for them.
        is_before = _follows(trie, before, ids) & (ids < tokens[:, None])
        child = tf.gather(trie.first_child, before) + _count(is_before)
        node = tf.where(tokens == BOS, 0, tf.minimum(child, tf.size(trie.first_child) - 1))
        log_probs = tf.where(_follows(trie, node, ids), log_probs, -float("inf"))
        return log_probs, (node, inner)

    return restricted, (tf.zeros([rows], tf.int32), state)


def _follows(trie: Trie, nodes: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """Returns which ids may follow each node `[N, V]`."""
    # [N, V / 8] -> [N, V]: each byte for its eight ids.
    packed = tf.gather(tf.gather(trie.follows, nodes), ids // 8, axis=1)
    bits = tf.bitwise.right_shift(tf.cast(packed, tf.int32), ids % 8)
    return tf.equal(bits % 2, 1)


def _count(is_true: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(is_true, tf.int32), axis=1)
