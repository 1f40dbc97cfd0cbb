"""See the states: what a recurrent layer returns, what it keeps to itself, what it is given.

Functions return NumPy arrays with named fields, and change nothing in the layers they look at.
Names are imported when they are first used, so that the command answers before TensorFlow is
loaded.
"""

import importlib
from typing import Any

_HOMES = {
    "Call": "calls",
    "HandOver": "handover",
    "Identity": "identity",
    "Returned": "calls",
    "StatefulEncoder": "stream",
    "Statistics": "statistics",
    "Trace": "tracing",
    "gradient_norms": "statistics",
    "hand_over": "handover",
    "identities": "identity",
    "make_layer": "calls",
    "returns": "calls",
    "state_statistics": "statistics",
    "trace": "tracing",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
