"""A model that LiteRT computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from seq2seq.deploy.standalone.beam_search import StepEngine
from seq2seq.deploy.standalone.request import PAD, Engine, Found, Search
from seq2seq.deploy.standalone.text_model import TextModel


class Tensors(NamedTuple):
    """Tensors by their names in a signature; a state has a row for each hypothesis."""

    by_name: dict[str, np.ndarray]
    length: int  # of the sources that the signatures read

    def rows(self, numbers: np.ndarray) -> Tensors:
        """Returns the state of other rows."""
        return self._replace(by_name={n: t[numbers] for n, t in self.by_name.items()})


class LiteRtSteps:
    """The signatures of a file: `encode_S` reads one source of up to S ids, `step_S` K tokens."""

    def __init__(self, path: Path, sizes: dict[str, Any]) -> None:
        """Opens the file; `sizes` has its `lengths` S and its `rows` K."""
        self.lengths, self.count = sizes["lengths"], sizes["rows"]
        self.interpreter = Interpreter(str(path), num_threads=1)
        self.signatures: dict[str, Any] = {}

    def call(self, name: str, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the outputs of a signature."""
        if name not in self.signatures:
            self.signatures[name] = self.interpreter.get_signature_runner(name)
        found: dict[str, np.ndarray] = self.signatures[name](**tensors)
        return found

    def encode(self, source: np.ndarray) -> tuple[Tensors, Tensors]:
        """Returns the memory and the decoder's first state of the ids `[1, S]` of one source."""
        length = next(size for size in self.lengths if size >= source.shape[1])
        padded = np.full((1, length), PAD, np.int32)
        padded[:, : source.shape[1]] = source
        found = self.call(f"encode_{length}", {"source": padded})
        memory, state = (
            Tensors({n: t for n, t in found.items() if n.startswith(kind)}, length)
            for kind in ("memory", "state")
        )
        return memory, state

    def step(
        self, tokens: np.ndarray, state: Tensors, memory: Tensors
    ) -> tuple[np.ndarray, Tensors]:
        """Returns the log-probabilities `[1, K, V]` of what follows tokens `[1, K]`."""
        rows = tokens.shape[1]
        filled = np.minimum(np.arange(self.count), rows - 1)  # The signature has K rows, no fewer.
        given = {"tokens": tokens[0, filled].astype(np.int32)}
        found = self.call(
            f"step_{memory.length}", given | state.rows(filled).by_name | memory.by_name
        )
        log_probs = found.pop("log_probs")
        return log_probs[None, :rows].copy(), Tensors(found, memory.length).rows(np.arange(rows))


class LiteRtEngine(StepEngine):
    """Answers source by source."""

    steps: LiteRtSteps

    def search(self, source: np.ndarray, search: Search) -> Found:
        """Returns the best answers to source ids `[B, S]`."""
        find = super().search  # A comprehension has no `super()` in Python 3.11.
        return [answer for row in source for answer in find(_alone(row), search)]

    def log_probs(self, source: np.ndarray, target: np.ndarray, temperature: float) -> np.ndarray:
        """Returns the log-probabilities `[B]` of target ids `[B, T]`, each closed by EOS."""
        pairs = zip(source, target, strict=True)
        score = super().log_probs
        return np.concatenate([score(_alone(row), ids[None], temperature) for row, ids in pairs])


def _alone(row: np.ndarray) -> np.ndarray:
    return row[None, : np.count_nonzero(row != PAD)]


class Transducer(TextModel):
    """A trained model with its vocabularies. A call answers lines: `model(["a line"])`."""

    @property
    def largest_beam(self) -> int | None:
        """The largest beam that the file can compute."""
        return self.engine.steps.count if isinstance(self.engine, LiteRtEngine) else None

    @classmethod
    def open(cls, folder: Path, description: dict[str, Any]) -> Engine:
        """Returns the interpreter of the file of a folder."""
        return LiteRtEngine(LiteRtSteps(folder / "model.tflite", description["litert"]))
