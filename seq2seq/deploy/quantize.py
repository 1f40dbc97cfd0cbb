"""Quantization: matrices stored in fewer bits, of which float32 is made again before they are used.

It makes folders smaller, not answers faster.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from seq2seq.config.choices import Quantization

Array = npt.NDArray[Any]

SCALE = ".scale"
_MIN_NUMBERS = 1024  # A smaller matrix saves next to nothing.
_LEVELS = 127


def quantize(name: str, weight: Array, kind: Quantization | None) -> dict[str, Array]:
    """Returns what is stored of a weight, by name.

    `int8` stores whole numbers and, as `NAME.scale`, one number for each column: the column's
    largest absolute value is 127 of them. Vectors and small matrices stay float32.
    """
    if kind is None or weight.ndim < 2 or weight.size < _MIN_NUMBERS:
        return {name: weight}
    if kind is Quantization.float16:
        return {name: weight.astype(np.float16)}
    largest = np.abs(weight).max(axis=tuple(range(weight.ndim - 1)))
    scale = np.where(largest > 0, largest / _LEVELS, 1.0).astype(np.float32)
    return {name: np.rint(weight / scale).astype(np.int8), name + SCALE: scale}
