"""Weights from a safetensors file."""

from __future__ import annotations

import json
import mmap
from pathlib import Path
from typing import Any

import numpy as np

NUMBERS = {"F32": "<f4", "F16": "<f2", "I8": "i1"}


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a safetensors file by name, as float32; pages are read when used.

    The file is 8 bytes with the length of the header, the header in JSON, and the numbers. An array
    of whole numbers is multiplied by `NAME.scale`, which has a number for each of its columns.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not such a file.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(min(length, path.stat().st_size)))
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            header.pop("__metadata__", None)
            stored = {n: _tensor(content, 8 + length, n, entry) for n, entry in header.items()}
            scales = {n: stored.pop(f"{n}.scale") for n, t in [*stored.items()] if t.dtype == "i1"}
            return {n: _float32(t, scales.get(n)) for n, t in stored.items()}
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise ValueError(f"{path}: is not a file of safetensors: {error}") from error


def _tensor(content: mmap.mmap, first: int, name: str, entry: dict[str, Any]) -> np.ndarray:
    if entry["dtype"] not in NUMBERS:
        raise ValueError(f"{name} is {entry['dtype']}")
    kind = np.dtype(NUMBERS[entry["dtype"]])
    start, end = entry["data_offsets"]
    numbers = np.frombuffer(content, kind, (end - start) // kind.itemsize, first + start)
    return numbers.reshape(entry["shape"])


def _float32(stored: np.ndarray, scale: np.ndarray | None) -> np.ndarray:
    numbers = stored.astype(np.float32, copy=False)
    return numbers if scale is None else numbers * scale
