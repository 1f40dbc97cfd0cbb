"""The state explorer: the states and gates of a recurrent layer or of a trained model.

Functions return NumPy arrays with named fields and change nothing in the layers that they observe.
Names are imported when they are first used, so that the command answers before TensorFlow is
loaded.
"""

import importlib
from typing import Any

from seq2seq.hardware import load_tensorflow

_HOMES = {
    "Call": "seq2seq.states.calls",
    "HandOver": "seq2seq.inference.handover",
    "Identity": "seq2seq.states.identity",
    "Returned": "seq2seq.states.calls",
    "StatefulEncoder": "seq2seq.inference.stream",
    "Statistics": "seq2seq.evaluation.state_statistics",
    "Trace": "seq2seq.model.rnn.tracing",
    "gradient_norms": "seq2seq.evaluation.state_statistics",
    "hand_over": "seq2seq.inference.handover",
    "identities": "seq2seq.states.identity",
    "make_layer": "seq2seq.states.calls",
    "returns": "seq2seq.states.calls",
    "state_statistics": "seq2seq.evaluation.state_statistics",
    "trace": "seq2seq.model.rnn.tracing",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    load_tensorflow()
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
