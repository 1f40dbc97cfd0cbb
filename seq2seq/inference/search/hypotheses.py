"""The types of every search: a step, its nested state, and hypotheses of ids.

Shapes: N is the number of rows a step sees, B for greedy search and B * K for a beam of K; n is
the number of hypotheses returned for each row of the batch; the rest as in `seq2seq/__init__.py`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from seq2seq.special_ids import BOS, EOS, PAD

State = Any
"""Any nest of tensors [N, ...]: tuples, named tuples, lists, dicts."""

Step = Callable[[tf.Tensor, State], tuple[tf.Tensor, State]]
"""(tokens [N] int32, state) -> (log_probs [N, V] float32, new state); V is static."""

IMPOSSIBLE = -1e4
"""A log-prob this low is a mask such as -1e9 and not a probability: e**-104 is 0 in float32."""


class Hypotheses(NamedTuple):
    """Answers for a batch, the best first.

    Where fewer than n answers exist, the rest have score -inf, length 0 and only padding.
    """

    tokens: tf.Tensor  # [B, n, max_length] int32: without BOS, with EOS if it was reached, then PAD
    lengths: tf.Tensor  # [B, n] int32: tokens including EOS
    scores: tf.Tensor  # [B, n] float32


Search = Callable[[tf.Tensor, tf.Tensor], Hypotheses]
"""(source ids [B, S] int32, seed int32) -> hypotheses: a model's search, compiled."""


class SearchSpec(NamedTuple):
    """A search by name: the `SPEC` of a file that is named like its word in `choices.SearchKind`.

    `settings` is any object with the attributes that the search needs: the settings of `decoding`.
    They have no type here, because searches know no configuration.

    Attributes:
        rows_per_source: (settings) -> number of rows that a step sees for each source.
        find: (step, state, batch size, max_length, settings, seed) -> hypotheses.
    """

    rows_per_source: Callable[[Any], int]
    find: Callable[[Step, State, Any, int, Any, tf.Tensor], Hypotheses]


def make_hypotheses(tokens: tf.Tensor, lengths: tf.Tensor, scores: tf.Tensor) -> Hypotheses:
    """Returns hypotheses of which those with score -inf (dead ends) are emptied."""
    is_possible = scores > -float("inf")  # [B, n]
    return Hypotheses(
        tokens=tf.where(is_possible[:, :, None], tokens, PAD),
        lengths=tf.where(is_possible, lengths, 0),
        scores=scores,
    )


def tile(state: State, beam_size: int) -> State:
    """Repeats every row `beam_size` times: leaves [B, ...] become [B * K, ...].

    Searches tile the state themselves. A caller tiles the tensors that its step closes over, such
    as the memory: they are constant and are not part of the state.
    """
    return tf.nest.map_structure(lambda leaf: tf.repeat(leaf, beam_size, axis=0), state)


def forbid_impossible(log_probs: tf.Tensor) -> tf.Tensor:
    """Returns [N, V] log-probs with -inf for PAD, BOS, masked ids and NaN.

    A masked id with a finite log-prob could fill a free slot of a beam, finish there, and take the
    place of a real hypothesis.
    """
    ids = tf.range(log_probs.shape[-1])  # [V]
    is_possible = (log_probs > IMPOSSIBLE) & (ids != PAD) & (ids != BOS)
    return tf.where(is_possible, log_probs, -float("inf"))


def forbid_short(
    step: Step, state: State, rows: int | tf.Tensor, min_length: int
) -> tuple[Step, State]:
    """Returns a step that makes the end impossible before `min_length` tokens, and its first state.

    The other log-probabilities stay as they are: a score is still that of the model.

    Args:
        step: The model, one token at a time.
        state: The state before the first token, leaves [B, ...].
        rows: B.
        min_length: The least number of tokens of an answer, its end not counted.
    """

    def step_of_long(tokens: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        written, inner = state
        log_probs, inner = step(tokens, inner)
        is_early = (written < min_length)[:, None] & (tf.range(log_probs.shape[-1]) == EOS)
        return tf.where(is_early, -float("inf"), log_probs), (written + 1, inner)

    return step_of_long, (tf.zeros([rows], tf.int32), state)


def write(buffer: tf.Tensor, position: tf.Tensor, tokens: tf.Tensor) -> tf.Tensor:
    """Returns the buffer [..., max_length] with `tokens` [...] at `position`."""
    # A select over the whole buffer is one fused pass under XLA; a scatter is a separate loop.
    return tf.where(tf.range(buffer.shape[-1]) == position, tokens[..., None], buffer)


def keep_shapes(new: State, old: State) -> State:
    """Returns the new state with the static shapes of the old one, which a while loop requires."""
    return tf.nest.map_structure(lambda n, o: tf.ensure_shape(n, o.shape), new, old)
