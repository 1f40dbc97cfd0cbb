"""Attention as ONNX nodes, for one decoding step, and the memory that it reads.

What depends on the source alone is computed before the steps, by the method `memory`.

Shapes: B sources of S tokens; K hypotheses of each; N = B · K rows; U units of the decoder; M of
the memory; A columns of an attention.
"""

from __future__ import annotations

from typing import NamedTuple

from seq2seq.deploy.onnx_graph.arithmetic import dense
from seq2seq.deploy.onnx_graph.builder import Builder, Values, Weights


class Memory(NamedTuple):
    """What a step reads of the sources.

    Attributes:
        values: The encoder's outputs `[B, S, M]`.
        source: Ids `[B, S]`.
        padding: `[B, 1, S]`: 0 at tokens, NEVER at padding; added to scores.
        rows: The shape `[B, K, -1]`.
        extra: What an attention or a head adds.
    """

    values: str
    source: str
    padding: str
    rows: str
    extra: Values

    def by_source(self, g: Builder, values: str) -> str:
        """Returns values `[N, X]` as `[B, K, X]`."""
        return g.Reshape(values, self.rows)


class DotAttention:
    """The attentional vector tanh(W [context; query]) (Luong et al. 2015, eq. 5).

    The score is query · key; the keys are the memory, or W memory (`general`).
    """

    def __init__(self, weights: Weights) -> None:
        """Keeps the weights."""
        self.weights = weights

    def memory(self, g: Builder, values: str) -> Values:
        """Returns keys, and the context's part of W times the memory: one product per source."""
        kernel = self.weights["combine.kernel"]
        units = kernel.shape[1]
        context = g.MatMul(values, g.weight("attention.combine.context", kernel[:-units]))
        return {"keys": self.keys(g, values), "contexts": context}

    def keys(self, g: Builder, values: str) -> str:
        """Returns the keys `[B, A, S]` of the memory `[B, S, M]`."""
        if "key.kernel" in self.weights:
            values = g.MatMul(values, g.weight("attention.key", self.weights["key.kernel"]))
        return g.Transpose(values, perm=[0, 2, 1])

    def score(self, g: Builder, query: str, keys: str) -> str:
        """Returns the scores `[B, K, S]`."""
        return g.MatMul(query, keys)

    def __call__(self, g: Builder, query: str, memory: Memory) -> tuple[str, str]:
        """Returns the attentional vectors `[B, K, U]` and the weights `[B, K, S]`."""
        kernel, bias = self.weights["combine.kernel"], self.weights["combine.bias"]
        scores = self.score(g, query, memory.extra["keys"])
        weights = g.Softmax(g.Add(scores, memory.padding))
        own = dense(g, "attention.combine.query", query, kernel[-kernel.shape[1] :], bias)
        return g.Tanh(g.Add(g.MatMul(weights, memory.extra["contexts"]), own)), weights


class AdditiveAttention(DotAttention):
    """Attention with the score v · tanh(W query + U memory) (Bahdanau et al. 2015)."""

    def keys(self, g: Builder, values: str) -> str:
        """Returns the keys `[B, 1, S, A]`."""
        keys = g.MatMul(values, g.weight("attention.key", self.weights["key.kernel"]))
        return g.Unsqueeze(keys, [1])

    def score(self, g: Builder, query: str, keys: str) -> str:
        """Returns the scores `[B, K, S]`."""
        kernel, bias = self.weights["query.kernel"], self.weights["query.bias"]
        query = g.Unsqueeze(dense(g, "attention.query", query, kernel, bias), [2])
        return g.MatMul(g.Tanh(g.Add(query, keys)), self.weights["score.scale"])


ATTENTIONS = {"dot": DotAttention, "general": DotAttention, "additive": AdditiveAttention}
