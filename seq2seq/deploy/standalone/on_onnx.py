"""A model that onnxruntime computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from seq2seq.deploy.standalone.request import Engine, Found, Search
from seq2seq.deploy.standalone.text_model import TextModel


class OnnxEngine:
    """A file that holds the model with its search."""

    def __init__(self, path: Path) -> None:
        """Opens the file."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # The products of a step are too small for several.
        options.log_severity_level = 3  # It warns that optional inputs are not constants.
        self.session = onnxruntime.InferenceSession(str(path), options)

    def search(self, source: np.ndarray, search: Search) -> Found:
        """Returns the best answers to source ids `[B, S]`."""
        tokens, scores = self.run(["tokens", "scores"], source, search)
        return [
            [(ids, score) for ids, score in zip(*row, strict=True) if score > -np.inf]
            for row in zip(tokens.tolist(), scores.tolist(), strict=True)
        ]

    def confidences(
        self, source: np.ndarray, answers: Found, search: Search, temperature: float
    ) -> np.ndarray:
        """Returns the probabilities `[B]` of the best answers, for which it searches again."""
        return self.run(["confidence"], source, search, temperature)[0]

    def run(
        self, outputs: list[str], source: np.ndarray, search: Search, temperature: float = 0.0
    ) -> list[np.ndarray]:
        """Returns outputs by their names."""
        numbers = {name: np.array(value) for name, value in search._asdict().items()}
        numbers["temperature"] = np.array(temperature, np.float32)
        numbers["length_penalty"] = numbers["length_penalty"].astype(np.float32)
        given = {"source": source, **numbers}
        found: list[np.ndarray] = self.session.run(outputs, given)
        return found


class Transducer(TextModel):
    """A trained model with its vocabularies. A call answers lines: `model(["a line"])`."""

    @classmethod
    def open(cls, folder: Path, description: dict[str, Any]) -> Engine:
        """Returns the session of the file of a folder."""
        return OnnxEngine(folder / "model.onnx")
