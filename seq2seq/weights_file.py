"""Looks at a Keras weights file before anything is read or built from it. Not a reader of weights.

HDF5 can point to other files, run filters, and claim sizes that no file holds; Keras's own files
do none of that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import h5py

from seq2seq.errors import UserError

_MOST_OBJECTS = 20_000
_PLAIN_LAYOUTS = (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS)


def count_numbers(path: Path) -> int:
    """Returns how many numbers the file holds besides the optimizer's.

    Raises:
        UserError: It is no plain HDF5 file of numbers: it has links to other places, data in other
            files, filters (a small file could expand without end), claims more bytes than it has,
            or is damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            numbers = size = 0
            for name, dataset in _datasets(file):
                size += _bytes(dataset, name)
                if not name.startswith("optimizer/"):
                    numbers += dataset.size
            if size > path.stat().st_size:
                raise ValueError("it claims more numbers than it has bytes for")
            return numbers
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise UserError(f"{path}: is no plain or whole weights file: {error}") from error


def _datasets(file: h5py.File) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yields all datasets with their paths, following links of the plainest kind only."""
    waiting, seen = [("", file)], 0
    while waiting:
        prefix, group = waiting.pop()
        for name in group:
            path, seen = f"{prefix}{name}", seen + 1
            # Hard links may go in a circle.
            if seen > _MOST_OBJECTS:
                raise ValueError("it holds too many objects")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{path} is a link to another place")
            item = group[name]
            if isinstance(item, h5py.Group):
                waiting.append((f"{path}/", item))
            elif isinstance(item, h5py.Dataset):
                yield path, item
            else:
                raise ValueError(f"{path} is neither a group nor numbers")


def _bytes(dataset: h5py.Dataset, path: str) -> int:
    how = dataset.id.get_create_plist()
    if how.get_layout() not in _PLAIN_LAYOUTS or how.get_nfilters() or how.get_external_count():
        raise ValueError(f"{path} is compressed, in pieces, or in another file")
    if dataset.dtype.kind not in "fiu":
        raise ValueError(f"{path} holds no numbers")
    return math.prod(dataset.shape) * dataset.dtype.itemsize
