"""Output heads as ONNX nodes, for one decoding step.

What depends on the source alone is computed before the steps, by the methods `memory`.

Shapes: B sources of S tokens; K hypotheses of each; N = B · K rows; U units of the decoder; M of
the memory; A columns of an attention; V target ids.
"""

from __future__ import annotations

from typing import NamedTuple

from seq2seq.deploy.onnx_graph.arithmetic import NEVER, dense, log_add, log_sigmoid, log_sum
from seq2seq.deploy.onnx_graph.attention import Memory
from seq2seq.deploy.onnx_graph.builder import Array, Builder, Values, Weights

# The logarithm of a smaller probability is taken to be NEVER.
SMALLEST = 1e-30


class Step(NamedTuple):
    """What a head sees of a decoding step.

    Attributes:
        vectors: `[B, K, U]`.
        attention: Weights `[B, K, S]` of soft attention; "": there is none.
        state: What the head carries from step to step `[N, S]`; "": nothing.
    """

    vectors: str
    attention: str
    state: str


class Head:
    """Projection: one matrix from the decoder's units to the vocabulary."""

    def __init__(self, weights: Weights, size: int, table: Array | None, copies: Array) -> None:
        """Keeps the weights.

        Args:
            weights: Of the head, by their own names.
            size: V.
            table: The target embeddings `[V, E]`, if they write too.
            copies: The target id that each source id is copied as; V: none.
        """
        self.weights, self.size, self.table, self.copies = weights, size, table, copies

    def memory(self, g: Builder, memory: Memory) -> Values:
        """Returns what the head adds to the memory."""
        return {}

    def start(self, g: Builder, source: str) -> str:
        """Returns the state `[B, S]` that the head carries from step to step; "": none."""
        return ""

    def follow(self, g: Builder, seen: str, memory: Memory, rows: str, tokens: str) -> str:
        """Returns the carried state after tokens `[N]` were added to the hypotheses of `rows`."""
        return ""

    def __call__(self, g: Builder, step: Step, memory: Memory) -> tuple[str, str]:
        """Returns logits `[B, K, V]`, and what `follow` needs of the step."""
        return self.words(g, step.vectors, ""), ""

    def words(self, g: Builder, vectors: str, layer: str = "words.") -> str:
        """Returns the logits of the output layer."""
        logits = self.dense(g, vectors, layer)
        if self.table is None:
            return logits
        table = g.weight("decoder.embedding", self.table, over=1)
        return g.MatMul(logits, g.Transpose(table, perm=[1, 0]))

    def dense(self, g: Builder, vectors: str, layer: str) -> str:
        """Returns vectors times the kernel of a layer of the head, plus its bias."""
        kernel, bias = self.weights[f"{layer}kernel"], self.weights[f"{layer}bias"]
        return dense(g, f"head.{layer}kernel", vectors, kernel, bias)

    def copied(self, g: Builder, memory: Memory) -> str:
        """Returns the target ids `[B, S]` of the source's symbols; V: none."""
        return g.Gather(self.copies, memory.source)


class PointerGenerator(Head):
    """Words mixed with the source symbols under soft attention (See, Liu & Manning 2017)."""

    def memory(self, g: Builder, memory: Memory) -> Values:
        """Returns where attention is added up `[B, K, S]`, and the zeros before it."""
        copies = g.Unsqueeze(self.copied(g, memory), [1])
        beams = g.Slice(memory.rows, [0], [2])  # [B, K] as a shape
        targets = g.Expand(copies, g.Concat(beams, [1], axis=0))
        zeros = g.Expand(0.0, g.Concat(beams, [self.size + 1], axis=0))
        return {"targets": targets, "zeros": zeros}

    def __call__(self, g: Builder, step: Step, memory: Memory) -> tuple[str, str]:
        """Returns log-probabilities; attention on what cannot be copied counts for the words."""
        # [B, K, V + 1]: by target id; the last column is for symbols that cannot be copied.
        extra = memory.extra
        sums = g.ScatterElements(
            extra["zeros"], extra["targets"], step.attention, axis=2, reduction="add"
        )
        is_some = g.Greater(sums, SMALLEST)
        logs = g.Where(is_some, g.Log(g.Max(sums, SMALLEST)), NEVER)
        copied, rest = g.Split(logs, [self.size, 1], axis=-1, outputs=2)
        gate = self.dense(g, step.vectors, "gate.")
        word, copy = log_sigmoid(g, gate), log_sigmoid(g, g.Neg(gate))
        words = g.LogSoftmax(self.words(g, step.vectors))
        words = g.Add(words, log_add(g, word, g.Add(copy, rest)))
        return log_add(g, words, g.Add(copy, copied)), ""


class HardAttention(Head):
    """A distribution per source position, averaged by that of the alignment (Wu et al. 2018)."""

    def memory(self, g: Builder, memory: Memory) -> Values:
        """Returns projections of the encoder's outputs, and which symbols can be copied."""
        keys, parts = (
            g.MatMul(memory.values, g.weight(f"head.{part}", self.weights[f"{part}.kernel"]))
            for part in ("key", "source_part")
        )
        found = {"head_keys": g.Transpose(keys, perm=[0, 2, 1]), "parts": g.Unsqueeze(parts, [1])}
        if "gate.kernel" in self.weights:
            copied = g.Unsqueeze(self.copied(g, memory), [1, 3])  # [B, 1, S, 1]
            found["can_copy"] = g.Less(copied, self.size)
            beams = g.Slice(memory.rows, [1], [2])
            shape = g.Concat([1], beams, [1, 1], axis=0)
            found["targets"] = g.Expand(g.Min(copied, self.size - 1), shape)  # [B, K, S, 1]
        return found

    def __call__(self, g: Builder, step: Step, memory: Memory) -> tuple[str, str]:
        """Returns log Σ_s p(a = s) · p(y | a = s), and its summands `[B, K, S, V]`."""
        tokens = self.tokens(g, step.vectors, memory.extra)
        scores = g.Add(g.MatMul(step.vectors, memory.extra["head_keys"]), memory.padding)
        alignment = g.Unsqueeze(self.align(g, scores, step.state, memory), [3])
        joint = g.Add(alignment, tokens)
        return log_sum(g, joint, 2), joint

    def align(self, g: Builder, scores: str, state: str, memory: Memory) -> str:
        """Returns log p(a = s) `[B, K, S]`."""
        return g.LogSoftmax(scores)

    def tokens(self, g: Builder, vectors: str, extra: Values) -> str:
        """Returns log p(y | a = s) `[B, K, S, V]`."""
        query = self.dense(g, vectors, "target_part.")
        mixed = g.Tanh(g.Add(g.Unsqueeze(query, [2]), extra["parts"]))  # [B, K, S, A]
        words = g.LogSoftmax(self.words(g, mixed))
        if "gate.kernel" not in self.weights:
            return words
        gate = self.dense(g, mixed, "gate.")  # [B, K, S, 1]
        words = g.Add(words, g.Where(extra["can_copy"], log_sigmoid(g, gate), 0.0))
        # One id per position can also be copied.
        word = g.GatherElements(words, extra["targets"], axis=3)
        symbol = log_add(g, word, log_sigmoid(g, g.Neg(gate)))
        symbol = g.Where(extra["can_copy"], symbol, word)
        return g.ScatterElements(words, extra["targets"], symbol, axis=3)


class MonotonicAttention(HardAttention):
    """Hard attention whose alignments never go back (Wu & Cotterell 2019).

    The carried state `[N, S]` is the log-probability of the alignments of the step before, jointly
    with the token that was written.
    """

    def memory(self, g: Builder, memory: Memory) -> Values:
        """Returns what hard attention has, and constants of the number of positions."""
        length = g.Shape(memory.source, start=1)
        square = g.Expand(NEVER, g.Concat(length, length, axis=0))
        size = g.Mul(length, [self.size])
        return super().memory(g, memory) | {
            "back": g.Trilu(square, -1, upper=0),  # [S, S]: NEVER before the position of the row
            "size": size,  # [1]
            "places": g.Range(0, g.Squeeze(size), self.size),  # [S]
        }

    def start(self, g: Builder, source: str) -> str:
        """Returns the state that leaves the first position."""
        first = g.CumSum(g.Expand(1, g.Shape(source)), 1)
        return g.Where(g.Equal(first, 1), 0.0, NEVER)

    def align(self, g: Builder, scores: str, state: str, memory: Memory) -> str:
        """Returns log p(a = s | the tokens before the step) `[B, K, S]`."""
        left = g.LogSoftmax(memory.by_source(g, state))
        # log p(a = s | r) `[B, K, S, S]`, r before s: the step before was aligned with r.
        moves = g.LogSoftmax(g.Add(g.Unsqueeze(scores, [2]), memory.extra["back"]))
        return g.ReduceLogSumExp(g.Add(moves, g.Unsqueeze(left, [3])), [2], keepdims=0)

    def follow(self, g: Builder, seen: str, memory: Memory, rows: str, tokens: str) -> str:
        """Picks the token's column of `[S, V]` of its row, without copying the others."""
        first = g.Add(g.Mul(rows, memory.extra["size"]), tokens)
        places = g.Add(g.Unsqueeze(first, [1]), memory.extra["places"])  # [N, S]
        return g.Gather(g.Reshape(seen, [-1]), places)


HEADS = {
    "projection": Head,
    "tied_table": Head,
    "pointer_generator": PointerGenerator,
    "hard": HardAttention,
    "monotonic": MonotonicAttention,
}
