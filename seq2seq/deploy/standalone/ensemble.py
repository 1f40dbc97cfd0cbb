"""Ensemble: several networks that answer as one."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from seq2seq.deploy.standalone.arithmetic import Weights, below, log_softmax
from seq2seq.deploy.standalone.beam_search import Steps
from seq2seq.deploy.standalone.network import Network


class EnsembleState(NamedTuple):
    """The states of the members."""

    members: list[Any]

    def rows(self, numbers: np.ndarray) -> EnsembleState:
        """Returns the states of other rows."""
        return EnsembleState([state.rows(numbers) for state in self.members])


class Ensemble:
    """Averages the log-probabilities of its members and renormalises them."""

    def __init__(self, members: list[Network]) -> None:
        """Keeps the members."""
        self.members = members

    def encode(self, source: np.ndarray) -> tuple[Any, EnsembleState]:
        """Returns the memories and first states of source ids `[B, S]`."""
        memories, states = zip(*(one.encode(source) for one in self.members), strict=True)
        return memories, EnsembleState([*states])

    def step(
        self, tokens: np.ndarray, state: EnsembleState, memory: Any
    ) -> tuple[np.ndarray, EnsembleState]:
        """Returns the log-probabilities `[B, K, V]` of what follows tokens `[B, K]`."""
        found = [
            one.step(tokens, own, read)
            for one, own, read in zip(self.members, state.members, memory, strict=True)
        ]
        mean = np.mean([log_probs for log_probs, _ in found], axis=0)
        return log_softmax(mean), EnsembleState([after for _, after in found])


def load_network(description: dict[str, Any], tensors: Weights) -> Steps:
    """Returns the network of a model.json, or its ensemble."""
    first = Network(description["model"], tensors)
    others = [
        Network(other, below(tensors, f"others.{i}."))
        for i, other in enumerate(description["others"])
    ]
    return Ensemble([first, *others]) if others else first
