"""Exported folders, opened in this package."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seq2seq.deploy.standalone.text_model import TextModel

_RUNTIMES = {
    "model.safetensors": "on_numpy",
    "model.onnx": "on_onnx",
    "model.tflite": "on_litert",
}


def load_export(folder: str | Path, decoding: Mapping[str, Any] | None = None) -> TextModel:
    """Loads an exported folder that has a `transducer.py`, with what it runs on.

    Args:
        folder: The folder.
        decoding: Changes to its search.

    Raises:
        OSError: A file cannot be read.
        ImportError: What it runs on is not installed.
        ValueError: It is not such a folder, or the search cannot be run.
    """
    for file, module in _RUNTIMES.items():
        if (Path(folder) / file).is_file():
            runtime = importlib.import_module(f"seq2seq.deploy.standalone.{module}")
            model: TextModel = runtime.Transducer.load(folder, decoding)
            return model
    raise ValueError(f"it has none of {', '.join(_RUNTIMES)}")
