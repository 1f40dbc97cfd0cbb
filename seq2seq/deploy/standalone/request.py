"""What is asked of a model: ids, and the settings of the search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

VERSION = 1
"""Version of the folder's format."""

PAD, UNK, BOS, EOS = 0, 1, 2, 3
SPECIAL_TOKENS = 4
SEARCHES = ("greedy", "beam")
MAX_PENALTY = 5.0
"""Of `length_penalty`, above and below 0: with larger ones, scores of long answers overflow."""


class Search(NamedTuple):
    """Settings of a beam search. Greedy search is a beam of one without a length penalty."""

    beam_size: int
    length_penalty: float
    max_length: int
    min_length: int
    n_best: int


Found = list[list[tuple[list[int], float]]]  # for each source, ids and scores, the best first


class Engine(Protocol):
    """What computes: the model without its text."""

    def search(self, source: np.ndarray, search: Search) -> Found:
        """Returns the best answers to source ids `[B, S]`."""

    def confidences(
        self, source: np.ndarray, answers: Found, search: Search, temperature: float
    ) -> np.ndarray:
        """Returns the probabilities `[B]` of the best of the answers that `search` has found."""


def make_search(decoding: Mapping[str, Any], known: Mapping[str, Any]) -> Search:
    """Returns the search of the settings.

    Raises:
        ValueError: A setting is not known, or the settings cannot be run.
    """
    if unknown := sorted(decoding.keys() - known.keys()):
        raise ValueError(f"decoding: no such setting: {unknown[0]}; there are {', '.join(known)}")
    for name in ("batch_size", "beam_size", "max_length"):
        if decoding[name] < 1:
            raise ValueError(f"decoding: {name}={decoding[name]} must be at least 1")
    penalty = decoding["length_penalty"]
    if not -MAX_PENALTY <= penalty <= MAX_PENALTY:
        raise ValueError(
            f"decoding: length_penalty={penalty} must be from {-MAX_PENALTY} to {MAX_PENALTY}"
        )
    kind, n_best = decoding["kind"], decoding["n_best"]
    if kind not in SEARCHES:
        raise ValueError(f"decoding: kind={kind} is not in this file; use {' or '.join(SEARCHES)}")
    size = decoding["beam_size"]
    if kind == "greedy":
        size, penalty = 1, 0.0
    if not 1 <= n_best <= size:
        raise ValueError(f"decoding: n_best={n_best} must be from 1 to the beam size, {size}")
    return Search(size, penalty, decoding["max_length"], decoding["min_length"], n_best)


def pad(rows: Sequence[Sequence[int]]) -> np.ndarray:
    """Returns rows of ids as one matrix, padded on the right."""
    matrix = np.full((len(rows), max(map(len, rows))), PAD)
    for number, row in enumerate(rows):
        matrix[number, : len(row)] = row
    return matrix
