"""Attention: adds to queries a weighted mean of the memory."""

from __future__ import annotations

import numpy as np

from seq2seq.deploy.standalone.arithmetic import NEVER, Weights, log_softmax


def dot_score(query: np.ndarray, keys: np.ndarray, weights: Weights) -> np.ndarray:
    """Returns query · key `[B, K, S]` (Luong et al. 2015)."""
    found: np.ndarray = query @ keys.transpose(0, 2, 1)
    return found


def additive_score(query: np.ndarray, keys: np.ndarray, weights: Weights) -> np.ndarray:
    """Returns v · tanh(W query + key) `[B, K, S]` (Bahdanau et al. 2015)."""
    query = query @ weights["query.kernel"] + weights["query.bias"]
    found: np.ndarray = np.tanh(query[:, :, None] + keys[:, None]) @ weights["score.scale"]
    return found


ATTENTIONS = {"dot": dot_score, "general": dot_score, "additive": additive_score}


class Attention:
    """The attentional vector tanh(W [context; query]) (Luong et al. 2015, eq. 5)."""

    def __init__(self, kind: str, weights: Weights) -> None:
        """Keeps the weights."""
        self.score, self.weights = ATTENTIONS[kind], weights

    def keys(self, values: np.ndarray) -> np.ndarray:
        """Returns the keys `[B, S, A]` of the memory."""
        return values @ self.weights["key.kernel"] if "key.kernel" in self.weights else values

    def __call__(
        self, query: np.ndarray, memory: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the attentional vectors `[B, K, U]` and the weights `[B, K, S]`."""
        scores = self.score(query, memory["keys"], self.weights)
        weights = np.exp(log_softmax(np.where(memory["mask"][:, None], scores, NEVER)))
        both = np.concatenate([weights @ memory["values"], query], axis=-1)
        return np.tanh(
            both @ self.weights["combine.kernel"] + self.weights["combine.bias"]
        ), weights
