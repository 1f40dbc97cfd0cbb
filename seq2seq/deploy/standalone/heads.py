"""Output heads: from vectors `[B, K, U]` to logits `[B, K, V]`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seq2seq.deploy.standalone.arithmetic import (
    NEVER,
    SMALLEST,
    Weights,
    log_sigmoid,
    log_softmax,
    log_sum,
)


class Step(NamedTuple):
    """What a head sees of a decoding step."""

    vectors: np.ndarray  # [B, K, U]
    attention: np.ndarray | None  # [B, K, S]
    tokens: np.ndarray  # [B, K]: the tokens before the step


class Head:
    """Projection: one matrix from the decoder's units to the vocabulary."""

    def __init__(self, weights: Weights, size: int, table: np.ndarray | None) -> None:
        """Keeps the weights; `size` is V, `table` the target embeddings if they write too."""
        self.weights, self.size, self.table = weights, size, table

    def memory(self, memory: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns further entries of the memory of a source."""
        return {}

    def start(self, mask: np.ndarray) -> np.ndarray | None:
        """Returns the state that the head carries from step to step, if any."""
        return None

    def __call__(
        self, step: Step, memory: dict[str, np.ndarray], carried: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns logits `[B, K, V]`, and the carried state after the step."""
        return self.words(step.vectors, "kernel", "bias"), carried

    def words(self, vectors: np.ndarray, kernel: str, bias: str) -> np.ndarray:
        """Returns the logits of the output layer."""
        found: np.ndarray = vectors @ self.weights[kernel] + self.weights[bias]
        return found if self.table is None else found @ self.table.T


class PointerGenerator(Head):
    """Words mixed with the source symbols under soft attention (See, Liu & Manning 2017)."""

    def __call__(
        self, step: Step, memory: dict[str, np.ndarray], carried: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns log-probabilities; attention on what cannot be copied counts for the words."""
        assert step.attention is not None
        # [B, K, V + 1]: by target id; the last column is for symbols that cannot be copied.
        copied = np.zeros((*step.tokens.shape, self.size + 1), np.float32)
        batch, beams = np.indices(step.tokens.shape)[..., None]  # [B, K, 1] each
        np.add.at(copied, (batch, beams, memory["copies"][:, None]), step.attention)
        copied = np.where(copied > SMALLEST, np.log(np.maximum(copied, SMALLEST)), NEVER)
        gate = step.vectors @ self.weights["gate.kernel"] + self.weights["gate.bias"]
        word, copy = log_sigmoid(gate), log_sigmoid(-gate)
        words = log_softmax(self.words(step.vectors, "words.kernel", "words.bias"))
        words = words + np.logaddexp(word, copy + copied[..., -1:])
        return np.logaddexp(words, copy + copied[..., :-1]), carried


class HardAttention(Head):
    """A distribution per source position, averaged by that of the alignment (Wu et al. 2018)."""

    def memory(self, memory: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns projections of the encoder's outputs, and which symbols can be copied."""
        values, weights = memory["values"], self.weights
        found = {"keys": values @ weights["key.kernel"]}
        found["parts"] = values @ weights["source_part.kernel"]
        if "gate.kernel" in weights:
            found["is_symbol"] = memory["copies"][..., None] == np.arange(self.size)
            found["can_copy"] = memory["copies"] < self.size
        return found

    def __call__(
        self, step: Step, memory: dict[str, np.ndarray], carried: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns log Σ_s p(a = s) · p(y | a = s)."""
        tokens = self.tokens(step.vectors, memory)  # [B, K, S, V]
        scores = step.vectors @ memory["keys"].transpose(0, 2, 1)
        scores = np.where(memory["mask"][:, None], scores, NEVER)
        alignment, carried = self.align(scores, tokens, step, carried)
        return log_sum(alignment[..., None] + tokens, 2), carried

    def align(
        self, scores: np.ndarray, tokens: np.ndarray, step: Step, carried: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns log p(a = s) `[B, K, S]`, and the carried state."""
        return log_softmax(scores), carried

    def tokens(self, vectors: np.ndarray, memory: dict[str, np.ndarray]) -> np.ndarray:
        """Returns log p(y | a = s) `[B, K, S, V]`."""
        weights = self.weights
        query = vectors @ weights["target_part.kernel"] + weights["target_part.bias"]
        mixed = np.tanh(query[:, :, None] + memory["parts"][:, None])  # [B, K, S, A]
        # One product of B · K · S rows is faster than B · K products.
        rows, shape = mixed.reshape(-1, mixed.shape[-1]), (*mixed.shape[:3], -1)
        words = (rows @ weights["words.kernel"] + weights["words.bias"]).reshape(shape)
        words = log_softmax(words)
        if "gate.kernel" not in weights:
            return words
        gate = (rows @ weights["gate.kernel"] + weights["gate.bias"]).reshape(shape)
        words = words + np.where(memory["can_copy"][:, None, :, None], log_sigmoid(gate), 0)
        with_copy = np.logaddexp(words, log_sigmoid(-gate))
        return np.where(memory["is_symbol"][:, None], with_copy, words)


class MonotonicAttention(HardAttention):
    """Hard attention whose alignments never go back (Wu & Cotterell 2019).

    The carried state `[B · K, S, V]` is the joint log-probability of alignment and token. The token
    that is written picks a column of it.
    """

    def start(self, mask: np.ndarray) -> np.ndarray:
        """Returns the state that leaves the first position."""
        state = np.full((*mask.shape, self.size), NEVER, np.float32)
        state[:, 0] = 0.0
        return state

    def align(
        self, scores: np.ndarray, tokens: np.ndarray, step: Step, carried: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns log p(a = s | the tokens before the step) `[B, K, S]`, and the carried state."""
        assert carried is not None
        rows = np.arange(len(carried))
        left = carried[rows, :, step.tokens.reshape(-1)].reshape(scores.shape)
        # log Σ_{q ≥ r} exp(score_q), by r: of the positions that can be reached from r.
        total = np.logaddexp.accumulate(scores[..., ::-1], axis=-1)[..., ::-1]
        reached = np.logaddexp.accumulate(log_softmax(left) - total, axis=-1)
        alignment = scores + reached
        return alignment, (alignment[..., None] + tokens).reshape(carried.shape)


HEADS = {
    "projection": Head,
    "tied_table": Head,
    "pointer_generator": PointerGenerator,
    "hard": HardAttention,
    "monotonic": MonotonicAttention,
}
