"""Arithmetic in float32, and the numbers that stand for what is ruled out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

# Log-probability of what is ruled out: finite, so that differences stay numbers.
NEVER = -1e9
# A lower log-probability is a mask, not a probability.
IMPOSSIBLE = -1e4
# The logarithm of a smaller probability is taken to be NEVER.
SMALLEST = 1e-30
# Numbers up to which the product of all embeddings and a kernel is computed once and kept.
MAX_KEPT = 2**22
# Values of which it is faster to find the largest before they are sorted.
MANY = 1000

Weights = Mapping[str, np.ndarray]
States = tuple[np.ndarray, ...]  # [N, U] each, state_h first


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Returns 1 / (1 + exp(-x)), without overflow."""
    return 0.5 * np.tanh(0.5 * x) + 0.5


def log_sigmoid(x: np.ndarray) -> np.ndarray:
    """Returns log(sigmoid(x))."""
    return -np.logaddexp(np.float32(0.0), -x)


def log_sum(x: np.ndarray, axis: int) -> np.ndarray:
    """Returns log Σ exp(x) over an axis."""
    largest = x.max(axis=axis, keepdims=True)
    found: np.ndarray = np.log(np.exp(x - largest).sum(axis=axis)) + largest.squeeze(axis)
    return found


def log_softmax(x: np.ndarray) -> np.ndarray:
    """Returns log(softmax(x)) over the last axis."""
    return x - log_sum(x, -1)[..., None]


def below(tensors: Weights, prefix: str) -> dict[str, np.ndarray]:
    """Returns the tensors whose names start with a prefix, by the rest of their names."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
