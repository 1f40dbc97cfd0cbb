"""A model that NumPy computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seq2seq.deploy.standalone.beam_search import StepEngine
from seq2seq.deploy.standalone.ensemble import load_network
from seq2seq.deploy.standalone.request import Engine
from seq2seq.deploy.standalone.tensors import read_tensors
from seq2seq.deploy.standalone.text_model import TextModel


class Transducer(TextModel):
    """A trained model with its vocabularies. A call answers lines: `model(["a line"])`."""

    @classmethod
    def open(cls, folder: Path, description: dict[str, Any]) -> Engine:
        """Returns the network with the weights of a folder."""
        return StepEngine(load_network(description, read_tensors(folder / "model.safetensors")))
