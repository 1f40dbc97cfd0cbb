"""Arithmetic of several nodes, and the number that stands for what is ruled out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy.typing as npt

Array = npt.NDArray[Any]

NEVER = -1e9
"""Log-probability of what is ruled out: finite, so that differences stay numbers."""


class Nodes(Protocol):
    """What is needed of a `Builder` here."""

    def __getattr__(self, operator: str) -> Callable[..., Any]: ...

    def weight(self, name: str, array: Array, over: int = -2) -> str: ...


def dense(g: Nodes, name: str, vectors: str, kernel: Array, bias: Array) -> str:
    """Returns vectors `[..., I]` times a kernel, plus a bias."""
    return g.Add(g.MatMul(vectors, g.weight(name, kernel)), bias)


def log_sigmoid(g: Nodes, x: str) -> str:
    """Returns log(sigmoid(x))."""
    return g.Neg(g.Softplus(g.Neg(x)))


def log_add(g: Nodes, one: str, other: str) -> str:
    """Returns log(exp(one) + exp(other))."""
    return g.Add(g.Max(one, other), g.Softplus(g.Neg(g.Abs(g.Sub(one, other)))))


def log_sum(g: Nodes, x: str, axis: int) -> str:
    """Returns log Σ exp(x) over an axis; several times as fast as `ReduceLogSumExp`."""
    largest = g.ReduceMax(x, [axis])
    total = g.Log(g.ReduceSum(g.Exp(g.Sub(x, largest)), [axis], keepdims=0))
    return g.Add(total, g.Squeeze(largest, [axis]))


def repeat(g: Nodes, values: str, times: str) -> str:
    """Returns values `[B, X]` as `[B · K, X]`, each K times in a row; `times` is K, `[1]`."""
    shape = g.Concat(g.Shape(values, start=0, end=1), times, g.Shape(values, start=1), axis=0)
    flat = g.Concat([-1], g.Shape(values, start=1), axis=0)
    return g.Reshape(g.Expand(g.Unsqueeze(values, [1]), shape), flat)
