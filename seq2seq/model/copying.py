"""Copying: a position writes the source symbol that it has, or a word of the output layer.

A gate decides between the two. A position whose symbol is not a target symbol has nothing to copy
and writes words alone. Two heads copy: `hard_attention.py` with a gate per step and position,
`pointer_generator.py` with a gate per step.
"""

from __future__ import annotations

import tensorflow as tf

from seq2seq.model.types import Tensor
from seq2seq.special_ids import SPECIAL_TOKENS


def with_copies(words: Tensor, gate: Tensor, copies: Tensor) -> Tensor:
    """Returns log p(y_t | a_t = s) `[B, T, S, V]` of words or the symbol at position s.

    The copy mechanism of hard attention of Makarov, Ruzsics & Clematide (2017, "Align and Copy").

    Args:
        words: log p_words(y_t | a_t = s) `[B, T, S, V]`.
        gate: Logits of writing a word `[B, T, S]`.
        copies: The target ids of the source symbols `[B, S]`, see `Seq2Seq.copies`.
    """
    size = words.shape[-1]
    is_symbol = tf.equal(copies[..., None], tf.range(size))[:, None]  # [B, 1, S, V]
    is_copyable = (copies < size)[:, None]  # [B, 1, S]
    log_word = tf.where(is_copyable, tf.math.log_sigmoid(gate), 0.0)
    # Only one id per position is a sum. It is computed by itself, because the logarithms of all V
    # sums would take as long as the softmax.
    word = tf.reduce_sum(tf.where(is_symbol, words, 0.0), axis=-1)  # [B, T, S]
    symbol = log_add(log_word + word, tf.math.log_sigmoid(-gate))
    return tf.where(is_symbol, symbol[..., None], log_word[..., None] + words)


def log_add(one: Tensor, other: Tensor) -> Tensor:
    """Returns log(exp(one) + exp(other))."""
    largest = tf.stop_gradient(tf.maximum(one, other))
    return largest + tf.math.log(tf.exp(one - largest) + tf.exp(other - largest))


def same_ids(source_size: int, target_size: int) -> list[int]:
    """Returns `Seq2Seq.copies` of a vocabulary that both sides share."""
    is_text = range(len(SPECIAL_TOKENS), target_size)
    return [i if i in is_text else target_size for i in range(source_size)]
