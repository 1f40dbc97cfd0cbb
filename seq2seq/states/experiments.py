"""Experiments on the state: decoding from altered initial states."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from seq2seq.data.buckets import pad
from seq2seq.data.examples import Example, group_references
from seq2seq.evaluation.metrics import sequence_accuracy, symbol_error_rate
from seq2seq.inference.compiled_search import search_from
from seq2seq.inference.members import Tokens
from seq2seq.inference.predictor import Predictor
from seq2seq.model.rnn.tracing import Array
from seq2seq.model.types import LayerStates

# Takes and returns the initial states of the decoder's layers, `[B, U]` each.
Change = Callable[[LayerStates], LayerStates]

_MAX_TRIED = 256  # single answers to all sources, and sources that choose them


class AlteredScores(NamedTuple):
    """Scores of decoding from altered states.

    Attributes:
        name: The alteration.
        sequence_accuracy: Share of answers that are right for their own source.
        accuracy_for_next: Share of answers that are right for the next source, the one whose state
            `swapped` hands over.
        symbol_error_rate: Edits per token of the nearest reference of the own source.
    """

    name: str
    sequence_accuracy: float
    accuracy_for_next: float
    symbol_error_rate: float


class Components(NamedTuple):
    """Principal components of a set of vectors `[N, D]` (Pearson 1901).

    Attributes:
        mean: `[D]`.
        directions: `[min(N, D), D]`, unit vectors, the largest variance first.
        shares: Shares of the total variance, `[min(N, D)]`.
    """

    mean: Array
    directions: Array
    shares: Array

    @classmethod
    def of(cls, vectors: Array) -> Components:
        """Computes them by a singular value decomposition."""
        mean = vectors.mean(axis=0)
        _, sizes, directions = np.linalg.svd(vectors - mean, full_matrices=False)
        return cls(mean, directions, sizes**2 / max(float((sizes**2).sum()), 1e-30))

    def cut(self, vectors: Array, k: int) -> Array:
        """Returns the vectors with only the k largest components left."""
        kept = self.directions[:k]
        return self.mean + (vectors - self.mean) @ kept.T @ kept


def initial_states(predictor: Predictor, sources: Sequence[tuple[Tokens, Tokens]]) -> LayerStates:
    """Returns the bridge's output for sources (source tokens, feature tokens)."""
    _, state = predictor.model.encode(tf.constant(_ids(predictor, sources)), training=False)
    return state.layers


def decode_from(
    predictor: Predictor, sources: Sequence[tuple[Tokens, Tokens]], change: Change
) -> list[tuple[str, ...]]:
    """Decodes from altered initial states and the unaltered memory of each source.

    The search is the predictor's. Sampling draws the same random numbers for every change, so that
    answers differ by the state alone.

    Args:
        predictor: The model.
        sources: (source tokens, feature tokens), all decoded as one batch.
        change: The alteration of the bridge's output: `zeroed`, `swapped`, …
    """
    model, decoding = predictor.model, predictor.decoding
    memory, state = model.encode(tf.constant(_ids(predictor, sources)), training=False)
    state = state._replace(layers=change(state.layers))
    found = search_from(model, memory, state, len(sources), decoding, decoding.seed)
    rows = found.tokens.numpy()[:, 0]
    return [predictor.vocabularies.decode_target(row) for row in rows]


def unchanged(state: LayerStates) -> LayerStates:
    """Returns the same state."""
    return state


def zeroed(state: LayerStates) -> LayerStates:
    """Returns zeros: nothing is handed over."""
    return tf.nest.map_structure(tf.zeros_like, state)


def swapped(state: LayerStates) -> LayerStates:
    """Returns the state of the next row in every row, and that of the first in the last."""
    return tf.nest.map_structure(lambda tensor: tf.roll(tensor, -1, axis=0), state)


def interpolated(share: float) -> Change:
    """Returns a change that mixes a row's state with a `share` (0 to 1) of the next row's."""

    def change(state: LayerStates) -> LayerStates:
        def mix(own: Any, other: Any) -> Any:
            return (1.0 - share) * own + share * other

        return tf.nest.map_structure(mix, state, swapped(state))

    return change


def given(state: Any) -> Change:
    """Returns a change to a given state: by layer, `[B, U]` or `[U]` each."""

    def change(own: LayerStates) -> LayerStates:
        def put(tensor: Any, value: Any) -> Any:
            return tf.broadcast_to(tf.cast(value, tensor.dtype), tf.shape(tensor))

        return tf.nest.map_structure(put, own, state)

    return change


def cut_to(components: Components, k: int) -> Change:
    """Returns a change that keeps k principal components of a row's states, as one vector."""

    def change(state: LayerStates) -> LayerStates:
        return from_vectors(components.cut(to_vectors(state), k), state)

    return change


def to_vectors(state: LayerStates) -> Array:
    """Returns all states of each row side by side `[B, D]`."""
    return np.concatenate(
        [np.asarray(tensor, np.float32) for tensor in tf.nest.flatten(state)], axis=-1
    )


def from_vectors(vectors: Array, like: LayerStates) -> LayerStates:
    """Returns the nested states of vectors `[B, D]`: the inverse of `to_vectors`."""
    flat = tf.nest.flatten(like)
    parts = np.split(vectors, np.cumsum([tensor.shape[-1] for tensor in flat])[:-1], axis=-1)
    parts = [tf.cast(part, tensor.dtype) for part, tensor in zip(parts, flat, strict=True)]
    return tf.nest.pack_sequence_as(like, parts)


def accuracy(
    predictor: Predictor, examples: Sequence[Example], changes: dict[str, Change]
) -> list[AlteredScores]:
    """Scores the decoding of examples, all as one batch, for each change."""
    groups = group_references(examples)
    sources = [(source, features) for source, features, _ in groups]
    references = [found for _, _, found in groups]
    return [
        _scored(name, decode_from(predictor, sources, change), references)
        for name, change in changes.items()
    ]


def chance(examples: Sequence[Example]) -> AlteredScores:
    """Scores the best single answer to all sources: the upper bound without knowing the source.

    Each number is that of the reference that gives the best number; of many references, the errors
    are tried of the likely ones. No decoder that gives all sources the same answer has more exact
    sequences.
    """
    references = [found for _, _, found in group_references(examples)]
    counts = Counter(reference for found in references for reference in found)
    exact = max(counts.values()) / len(references)
    return AlteredScores("chance", exact, exact, _lowest_error_rate([*counts], references))


def _lowest_error_rate(
    candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]
) -> float:
    """Returns the symbol error rate of the best single answer to all sources.

    All pairs would be quadratic. Of many candidates, those are tried that are best for a part of
    the sources.
    """

    def error_rates(some: Sequence[Sequence[Tokens]]) -> list[float]:
        return [symbol_error_rate([one] * len(some), some) for one in candidates]

    if len(candidates) > _MAX_TRIED:
        rates = error_rates(references[:: math.ceil(len(references) / _MAX_TRIED)])
        candidates = [candidates[i] for i in np.argsort(rates, kind="stable")[:_MAX_TRIED]]
    return min(error_rates(references))


def _scored(
    name: str, answers: Sequence[Tokens], references: Sequence[Sequence[Tokens]]
) -> AlteredScores:
    following = [*references[1:], references[0]]
    return AlteredScores(
        name,
        sequence_accuracy(answers, references),
        sequence_accuracy(answers, following),
        symbol_error_rate(answers, references),
    )


def accuracy_by_components(
    predictor: Predictor, examples: Sequence[Example], components: Components, ks: Sequence[int]
) -> list[AlteredScores]:
    """Scores decoding from states with only k principal components left, for each k."""
    return accuracy(predictor, examples, {str(k): cut_to(components, k) for k in ks})


def _ids(predictor: Predictor, sources: Sequence[tuple[Tokens, Tokens]]) -> Array:
    return pad([predictor.vocabularies.encode_source(*source) for source in sources])
