"""Scripted steps: tables of log-probs instead of a model, so that every answer is known exactly."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from seq2seq.inference.search.hypotheses import Hypotheses, Step
from seq2seq.special_ids import BOS, EOS, PAD

START = PAD
"""What the trigram step takes for the token before BOS."""


def random_tables(seed: int, rows: int, size: int, mask: float = -1e9) -> np.ndarray:
    """Returns log-probs [rows, V, V, V] of a token after two others, another table for each row."""
    logits = 2.0 * np.random.default_rng(seed).normal(size=(rows, size, size, size))
    logits[..., [PAD, BOS]] = -np.inf
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    log_probs[..., [PAD, BOS]] = mask
    result: np.ndarray = log_probs.astype(np.float32)
    return result


def trigram_step(tables: Any) -> Step:
    """Reads tables [rows, V, V, V]; a state that follows the wrong parent or row changes scores."""

    def step(tokens: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
        indices = tf.stack([state["row"], state["previous"][0], tokens], axis=1)
        return tf.gather_nd(tables, indices), {"row": state["row"], "previous": (tokens,)}

    return step


def trigram_state(tables: Any) -> Any:
    rows = tf.shape(tables)[0]
    return {"row": tf.range(rows), "previous": (tf.fill([rows], START),)}


def positional_step(log_probs: Any) -> Step:
    """Reads log-probs [max_length, V] by position, whatever the tokens; the state is [N]."""

    def step(tokens: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.gather(tf.constant(log_probs, tf.float32), state), state + 1

    return step


def every_hypothesis(table: np.ndarray, max_length: int) -> list[tuple[tuple[int, ...], float]]:
    """Enumerates all sequences under a table [V, V, V], with their log-probs."""
    complete: list[tuple[tuple[int, ...], float]] = []
    growing: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    for _ in range(max_length):
        longer: list[tuple[tuple[int, ...], float]] = []
        for ids, total in growing:
            first, second = (START, BOS, *ids)[-2:]
            for token in set(range(len(table))) - {PAD, BOS}:
                extended = ((*ids, token), total + float(table[first, second, token]))
                (complete if token == EOS else longer).append(extended)
        growing = longer
    return complete + growing


def as_lists(hypotheses: Hypotheses) -> list[list[tuple[int, ...]]]:
    """Returns the tokens without padding, after checking that tokens and lengths agree."""
    tokens, lengths = hypotheses.tokens.numpy(), hypotheses.lengths.numpy()
    assert tokens.dtype == lengths.dtype == np.int32
    assert hypotheses.scores.dtype == tf.float32
    assert not np.isnan(hypotheses.scores).any()
    positions = np.arange(tokens.shape[2])
    assert np.array_equal(tokens != PAD, positions < lengths[:, :, None])
    is_end = positions == lengths[:, :, None] - 1
    assert not np.any((tokens == EOS) & ~is_end)
    return [
        [tuple(ids[:length].tolist()) for ids, length in zip(*row, strict=True)]
        for row in zip(tokens, lengths, strict=True)
    ]


def assert_same(left: Hypotheses, right: Hypotheses, tolerance: float = 1e-5) -> None:
    assert as_lists(left) == as_lists(right)
    np.testing.assert_allclose(left.scores, right.scores, rtol=tolerance, atol=tolerance)


@pytest.fixture(scope="session")
def scripted() -> SimpleNamespace:
    """The functions above: test files cannot import a conftest under every import mode."""
    return SimpleNamespace(
        random_tables=random_tables,
        trigram_step=trigram_step,
        trigram_state=trigram_state,
        positional_step=positional_step,
        every_hypothesis=every_hypothesis,
        as_lists=as_lists,
        assert_same=assert_same,
    )
