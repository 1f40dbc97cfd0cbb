"""Keras's weights files: written whole or not at all, and looked at before they are read.

HDF5 can point to other files, run filters, and claim sizes that no file holds; Keras's own files
do none of that.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from pathlib import Path

import h5py
import keras
import numpy as np

from seq2seq.errors import UserError
from seq2seq.files import writing

_MOST_OBJECTS = 20_000
_PLAIN_LAYOUTS = (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS)


def write_weights(path: Path, model: keras.Model) -> None:
    """Writes a model's weights, without the optimizer's state.

    Raises:
        DiskError: They cannot be written.
    """
    # In memory first: HDF5 takes the whole process down when the disk is full.
    content = _InMemory()
    keras.saving.save_weights(model, content, objects_to_skip=[getattr(model, "optimizer", None)])
    with writing(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def read_weights(path: Path, model: keras.Model) -> None:
    """Gives a model the weights of a file that `count_numbers` has looked at.

    Raises:
        UserError: They are of another shape or model, or some are no finite numbers.
    """
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise misfit(path, str(error).strip().partition("\n")[0]) from error
    if not all(np.isfinite(weight).all() for weight in model.get_weights()):
        raise UserError(f"{path}: some weights are no finite numbers")


def misfit(path: Path, reason: str) -> UserError:
    """Returns what to say of weights that are of another model."""
    return UserError(f"{path}: the weights do not fit config.yaml and the vocabularies ({reason})")


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


class _InMemory(io.BytesIO):
    """A file in memory that Keras takes for one with the ending it insists on."""

    def __str__(self) -> str:
        return "memory.weights.h5"
