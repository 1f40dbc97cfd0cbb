"""Inference: search, compiled search, predictor, streams, and the line protocol of `infer.py`."""

import importlib
from typing import Any

from seq2seq.hardware import load_tensorflow

_HOMES = {"Hypothesis": "answers", "Prediction": "answers", "Predictor": "predictor"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    load_tensorflow()
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
