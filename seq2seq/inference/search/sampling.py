"""Sampling of independent hypotheses with temperature, top-k and top-p (nucleus)."""

from typing import Any

import tensorflow as tf

from seq2seq.errors import UserError
from seq2seq.inference.search.greedy import roll_out
from seq2seq.inference.search.hypotheses import (
    Hypotheses,
    SearchSpec,
    State,
    Step,
    make_hypotheses,
    tile,
)


def sample(
    step: Step,
    state: State,
    batch_size: int | tf.Tensor,
    max_length: int,
    temperature: float | tf.Tensor,
    top_k: int,
    top_p: float,
    seed: int | tf.Tensor,
    n_best: int,
) -> Hypotheses:
    """Draws `n_best` independent hypotheses per row.

    The temperature is applied first, then top-k, then top-p to the tokens that remain.

    Args:
        step: The model, one token at a time.
        state: The state before the first token, leaves [B, ...].
        batch_size: B, a number or a scalar tensor.
        max_length: Maximum number of tokens of a hypothesis, EOS included.
        temperature: Divides the log-probs: below 1 sharper, above 1 flatter.
        top_k: Number of most probable tokens to draw from; 0 for all.
        top_p: Mass of the smallest set of tokens to draw from; 1.0 for all tokens.
        seed: The same seed gives the same hypotheses; a scalar.
        n_best: Number of hypotheses per row. They are independent, so some may be equal.

    Returns:
        Hypotheses by falling score. The score is the sum of the model's log-probs, without
        temperature, top-k and top-p.

    Raises:
        UserError: A number is out of range.
    """
    _check(temperature, top_k, top_p, n_best)
    rows = batch_size * n_best
    draws = draw_uniforms(rows, max_length, seed)

    def choose(log_probs: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        return choose_randomly(log_probs, draws[position], temperature, top_k, top_p)

    final = roll_out(step, tile(state, n_best), rows, max_length, choose)
    # [B * n] -> [B, n]
    scores = tf.reshape(final.scores, [batch_size, n_best])
    order = tf.argsort(scores, direction="DESCENDING", stable=True)
    tokens = tf.reshape(final.tokens, [batch_size, n_best, max_length])
    lengths = tf.reshape(final.lengths, [batch_size, n_best])
    best_first = (tf.gather(x, order, batch_dims=1) for x in (tokens, lengths, scores))
    return make_hypotheses(*best_first)


def _find(
    step: Step, state: State, batch_size: Any, max_length: int, settings: Any, seed: tf.Tensor
) -> Hypotheses:
    return sample(
        step,
        state,
        batch_size,
        max_length,
        temperature=settings.temperature,
        top_k=settings.top_k,
        top_p=settings.top_p,
        seed=seed,
        n_best=settings.n_best,
    )


SPEC = SearchSpec(rows_per_source=lambda settings: settings.n_best, find=_find)


def choose_randomly(
    log_probs: tf.Tensor,
    draws: tf.Tensor,
    temperature: float | tf.Tensor,
    top_k: int,
    top_p: float,
) -> tf.Tensor:
    """Returns tokens [N] that follow the filtered log-probs [N, V], from uniform draws [N]."""
    # A finite floor: the softmax of a dead end, where all ids are -inf, would be NaN.
    logits = tf.maximum(log_probs / temperature, tf.float32.min)  # [N, V]
    if top_k == 0 and top_p == 1.0:
        return _invert(tf.nn.softmax(logits), draws)
    vocabulary_size = log_probs.shape[-1]
    # [N, k], sorted: exactly k remain even if the k-th and the next logit are equal.
    logits, ids = tf.math.top_k(logits, min(top_k, vocabulary_size) or vocabulary_size)
    probabilities = keep_nucleus(tf.nn.softmax(logits), top_p)
    return tf.gather(ids, _invert(probabilities, draws), batch_dims=1)


def keep_nucleus(probabilities: tf.Tensor, top_p: float) -> tf.Tensor:
    """Returns the probabilities with 0 outside the nucleus (Holtzman et al. 2020, eq. 2).

    Args:
        probabilities: [N, k], each row sorted, the largest first.
        top_p: The mass of the nucleus, the smallest set of tokens that reaches it.
    """
    if top_p == 1.0:
        return probabilities
    mass_before = tf.cumsum(probabilities, axis=-1, exclusive=True)
    # The first token has no mass before it and always stays.
    return tf.where(mass_before < top_p, probabilities, 0.0)


def _invert(probabilities: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Returns the indices [N] at which the cumulative mass [N, k] first exceeds the draw [N].

    The probabilities need not sum to 1. One draw per row is much cheaper than the Gumbel trick,
    which takes one per id.
    """
    cumulative = tf.cumsum(probabilities, axis=-1)
    # Rounding must never select an id of probability 0: no draw is below a mass of 0.
    cumulative = tf.where(probabilities > 0.0, cumulative, 0.0)
    thresholds = draws[:, None] * tf.reduce_max(cumulative, axis=-1, keepdims=True)
    return tf.argmax(tf.cast(cumulative > thresholds, tf.int32), axis=-1, output_type=tf.int32)


def draw_uniforms(rows: int | tf.Tensor, max_length: int, seed: int | tf.Tensor) -> tf.Tensor:
    """Returns numbers [max_length, rows] in [0, 1), each a function of seed and position."""
    # Philox by name, because XLA has another default generator; and bits instead of floats, because
    # XLA makes other floats of the same bits. The rows are the first axis, so that rows added at
    # the end of a batch change no number before them.
    bits = tf.random.stateless_uniform(
        [rows, max_length],
        seed=tf.stack([tf.cast(seed, tf.int64), 0]),
        minval=None,
        maxval=None,
        dtype=tf.uint32,
        alg="philox",
    )
    # The upper 23 bits: with more, rounding to float32 could make the largest number 1.
    fractions = tf.cast(tf.bitwise.right_shift(bits, tf.constant(9, tf.uint32)), tf.float32)
    return tf.transpose(fractions * 2.0**-23)


def _check(temperature: float | tf.Tensor, top_k: int, top_p: float, n_best: int) -> None:
    if not tf.is_tensor(temperature) and not temperature > 0.0:
        raise UserError(f"temperature={temperature} must be above 0; for greedy search use top_k=1")
    if top_k < 0:
        raise UserError(f"top_k={top_k} must be at least 1, or 0 for all tokens")
    if not 0.0 < top_p <= 1.0:
        raise UserError(f"top_p={top_p} must be above 0 and at most 1")
    if n_best < 1:
        raise UserError(f"n_best={n_best} must be at least 1")
