"""Reading a decoder's initial state from a file of the user.

The names are those of the `states.npz` that the explorer writes: `bridge_output/0/state_h` is
state_h of decoder layer 0, one number per unit.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from seq2seq.errors import UserError
from seq2seq.model.bridge import Bridge
from seq2seq.states.tracing import Array

_PREFIX = "bridge_output/"


def read_state(path: str | Path, bridge: Bridge) -> list[list[Array]]:
    """Reads a state as `bridge` would hand it over: by layer, `[U]` each.

    Args:
        path: `.npz`, or `.json`: names to lists of numbers.
        bridge: Of the model whose decoder starts from the state.

    Raises:
        UserError: There is no such file, or it holds other states than the decoder's.
    """
    found = _read(Path(path))
    shape = bridge.decoder_shape
    expected = [
        [f"{_PREFIX}{layer}/{name}" for name in bridge.state_names] for layer in range(shape.layers)
    ]
    names = [name for layer in expected for name in layer]
    if sorted(found) != sorted(names):
        raise UserError(
            f"state={path}: holds {', '.join(sorted(found)) or 'no ' + _PREFIX + '…'}; "
            f"the decoder starts from {', '.join(names)}"
        )
    return [[_vector(path, name, found[name], shape.units) for name in layer] for layer in expected]


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.suffix == ".json":
            content = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(content, Mapping):
                raise ValueError("it is no object of names and lists")
            return _ours(content)
        with np.load(path, allow_pickle=False) as file:
            return _ours(file)
    # A single array (.npy) is no context: TypeError.
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"state={path}: no .npz or .json file of states: {reason}") from error


def _ours(content: Mapping[str, Any]) -> dict[str, Any]:
    """The explorer's own file holds other numbers, too."""
    return {name: content[name] for name in content if name.startswith(_PREFIX)}


def _vector(path: str | Path, name: str, values: Any, units: int) -> Array:
    try:
        vector = np.asarray(values, np.float32)
    except (ValueError, TypeError) as error:
        raise UserError(f"state={path}: {name} is no list of numbers") from error
    if vector.shape != (units,) or not np.isfinite(vector).all():
        raise UserError(
            f"state={path}: {name} has shape {vector.shape}; the decoder takes {units} finite "
            "numbers"
        )
    return vector
