"""Keras weights files: atomic writes, and checks of a file from anywhere before it is read.

Keras 3.15 refuses soft and external links, external storage and virtual data where it meets them,
but not everything. It opens the target of a link to a pipe before it checks the link, and waits
forever. It also allocates datasets of up to 4 GiB of which no byte is stored. `count_numbers`
refuses such files.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import numpy.typing as npt

from seq2seq.errors import UserError
from seq2seq.files import check_regular, writing

if TYPE_CHECKING:
    import keras  # late, so that a run folder is read without TensorFlow

_MAX_OBJECTS = 20_000


def write_weights(path: Path, model: keras.Model) -> None:
    """Writes a model's weights without the state of the optimizer.

    Raises:
        DiskError: They cannot be written.
    """
    import keras

    # In memory first: HDF5 aborts the whole process when the disk is full.
    content = _InMemory()
    keras.saving.save_weights(model, content, objects_to_skip=[getattr(model, "optimizer", None)])
    with writing(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def read_weights(path: Path, model: keras.Model) -> None:
    """Loads the weights of a file into a model; `count_numbers` has to have checked the file.

    Raises:
        UserError: The weights have another shape or are of another model, some of them are not
            finite numbers, or Keras refuses the file.
    """
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        # Keras counts the objects that failed in a first paragraph; the second one is the reason.
        paragraphs = str(error).strip().split("\n\n")
        reason = paragraphs[1] if len(paragraphs) > 1 else paragraphs[0]
        raise misfit(path, reason.partition("\n")[0]) from error
    if not all(np.isfinite(weight).all() for weight in model.get_weights()):
        raise UserError(f"{path}: some weights are not finite numbers")


def misfit(path: Path, reason: str) -> UserError:
    """Returns the error for weights of another model."""
    return UserError(f"{path}: the weights do not fit config.yaml and the vocabularies ({reason})")


def count_numbers(path: Path) -> int:
    """Returns how many numbers the file holds, without those of the optimizer.

    Raises:
        UserError: The file is damaged, links to another place, holds data that are not numbers, or
            claims more bytes than it has, as sparse and compressed data can without limit.
    """
    check_regular(path)
    try:
        with h5py.File(path, "r") as file:
            numbers = size = 0
            for name, dataset in _datasets(file):
                # Text of variable length can refer to the same bytes over and over.
                if dataset.dtype.kind not in "fiu":
                    raise ValueError(f"{name} does not hold numbers")
                size += dataset.nbytes
                if not name.startswith("optimizer/"):
                    numbers += dataset.size
            if size > path.stat().st_size:
                raise ValueError("it claims more numbers than it has bytes for")
            return numbers
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise UserError(f"{path}: is not a valid Keras weights file: {error}") from error


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Returns all arrays of a weights file by their paths in it.

    Raises:
        UserError: As `count_numbers`.
    """
    count_numbers(path)
    try:
        with h5py.File(path, "r") as file:
            return {name: dataset[()] for name, dataset in _datasets(file)}
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{path}: is not a valid Keras weights file: {error}") from error


def _datasets(file: h5py.File) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yields all datasets with their paths, and follows hard links alone."""
    waiting, seen = [("", file)], 0
    while waiting:
        prefix, group = waiting.pop()
        for name in group:
            path, seen = f"{prefix}{name}", seen + 1
            # Hard links may form a circle.
            if seen > _MAX_OBJECTS:
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


class _InMemory(io.BytesIO):
    """A file in memory whose name has the ending that Keras insists on."""

    def __str__(self) -> str:
        return "memory.weights.h5"
