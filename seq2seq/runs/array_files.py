"""Files of named arrays (`.npz`): written atomically, and read within the size that they have."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seq2seq.files import writing


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Writes named arrays atomically as an `.npz` file, without pickled objects.

    Raises:
        DiskError: It cannot be written.
    """
    with writing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_array(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    """Reads an array of an `.npz` file without allocating more than the file holds.

    `np.load` allocates the shape that an entry claims, and expands compressed entries.

    Raises:
        KeyError: There is no such entry.
        ValueError: The entry is compressed, holds objects, or has another size than it claims.
    """
    entry = archive.getinfo(f"{name}.npy")
    if entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")  # A small entry could expand without limit.
    with archive.open(entry) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"{name} has another format version than 1.0")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype.hasobject:
            raise ValueError(f"{name} holds objects, not numbers")
        # `frombuffer` allocates nothing; `reshape` refuses a shape that claims more.
        values = np.frombuffer(file.read(), dtype)
    return values.reshape(shape, order="F" if is_fortran else "C")
