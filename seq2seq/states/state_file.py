"""Reader of a decoder's initial state from a file of the user.

The names are those of the `states.npz` that the explorer writes: `bridge_output/0/state_h` is
state_h of decoder layer 0, one number per unit.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from seq2seq.errors import UserError
from seq2seq.files import read_text
from seq2seq.model.bridge import Bridge
from seq2seq.model.rnn.tracing import Array
from seq2seq.runs.array_files import read_array

_PREFIX = "bridge_output/"
_MAX_BYTES = 2**24


def read_state(path: str | Path, bridge: Bridge) -> list[list[Array]]:
    """Reads a state in the form of a bridge's output: by layer, `[U]` each.

    Args:
        path: `.npz`, or `.json`: names to lists of numbers.
        bridge: The bridge of the model.

    Raises:
        UserError: The file is missing or invalid, or its states are not those of the decoder.
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
    """Reads all vectors of a state; the explorer's own file also holds other numbers."""
    try:
        if path.suffix == ".json":
            content = json.loads(read_text(path, _MAX_BYTES))
            if not isinstance(content, dict):
                raise ValueError("it is not an object of names and lists")
            return {name: values for name, values in content.items() if name.startswith(_PREFIX)}
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            return {name: read_array(archive, name) for name in names if name.startswith(_PREFIX)}
    except (OSError, LookupError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"state={path}: not a valid .npz or .json file of states: {reason}"
        ) from error


def _vector(path: str | Path, name: str, values: Any, units: int) -> Array:
    try:
        vector = np.asarray(values, np.float32)
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"state={path}: {name} is not a list of numbers") from error
    if vector.shape != (units,) or not np.isfinite(vector).all():
        raise UserError(
            f"state={path}: {name} has shape {vector.shape}; the decoder takes {units} finite "
            "numbers"
        )
    return vector
