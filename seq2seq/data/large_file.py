"""Index of a training file that is too large for memory: the place and the size of each line.

The index takes 24 bytes per line. A batch reads its lines again and parses them; the page cache
makes this fast. Shuffling stays exact, because any line can be read in any order.
"""

from __future__ import annotations

import hashlib
import os
import struct
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple, cast, overload

import numpy as np
import numpy.typing as npt

from seq2seq.config.schema import DataConfig
from seq2seq.data.examples import Example
from seq2seq.data.line_reader import is_compressed
from seq2seq.data.tsv import display_name, parse_line, read_examples, scan_examples
from seq2seq.errors import UserError
from seq2seq.files import local_path

# A row per line: place and size in bytes, then the numbers of source, target and feature tokens.
_ROW = struct.Struct("<qIiii")
_DTYPE = np.dtype(
    [("place", "<i8"), ("size", "<u4"), ("source", "<i4"), ("target", "<i4"), ("features", "<i4")]
)
_ROWS_AT_ONCE = 1024

Keys = npt.NDArray[np.uint64]
Lengths = npt.NDArray[np.int32]
Scanned = tuple[int, bytes, Example]


class Stamp(NamedTuple):
    """Size and time of the last change, by which a change of a file is recognized."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, file: BinaryIO) -> Stamp:
        """Returns the stamp of an open file."""
        status = os.fstat(file.fileno())
        return cls(status.st_size, status.st_mtime_ns)


class IndexedFile(Sequence[Example]):
    """Sequence of the examples of a file, which reads them when they are asked for.

    A file that was written to since it was indexed is refused. A file that was replaced by another
    one of the same name does no harm: the old file stays open and is read.
    """

    def __init__(
        self, file: BinaryIO, stamp: Stamp, index: np.ndarray, name: str, config: DataConfig
    ) -> None:
        """Stores an open file, its stamp when it was indexed, and the index."""
        self._file, self._stamp, self._index = file, stamp, index
        self._name, self._config = name, config

    def __len__(self) -> int:
        return len(self._index)

    @overload
    def __getitem__(self, i: int) -> Example: ...
    @overload
    def __getitem__(self, i: slice) -> list[Example]: ...
    def __getitem__(self, i: int | slice) -> Example | list[Example]:
        if isinstance(i, slice):
            return self.read(np.arange(len(self))[i])
        return self.read(np.array([range(len(self))[i]]))[0]

    def __iter__(self) -> Iterator[Example]:
        for start in range(0, len(self), _ROWS_AT_ONCE):
            yield from self.read(np.arange(start, min(start + _ROWS_AT_ONCE, len(self))))

    @property
    def text_bytes(self) -> int:
        """The size of all lines in bytes."""
        return int(self._index["size"].sum(dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """The size of the index in memory."""
        return self._index.nbytes

    @property
    def lengths(self) -> tuple[Lengths, Lengths, Lengths]:
        """The numbers of source, target and feature tokens, [N] each."""
        return self._index["source"], self._index["target"], self._index["features"]

    def select(self, chosen: npt.NDArray[np.bool_]) -> IndexedFile:
        """Returns the examples where `chosen` [N] is true."""
        return IndexedFile(self._file, self._stamp, self._index[chosen], self._name, self._config)

    def read(self, rows: npt.NDArray[np.integer]) -> list[Example]:
        """Reads the examples with the numbers `rows` [N], in any order.

        Raises:
            UserError: The file has changed since it was indexed, or cannot be read any more.
        """
        wanted = self._index[rows]
        places = zip(wanted["place"].tolist(), wanted["size"].tolist(), strict=True)
        try:
            number = self._file.fileno()
            lines = [os.pread(number, size, place) for place, size in places]
            stamp = Stamp.of(self._file)  # after the reads, so that it covers them
        except OSError as error:
            raise UserError(f"{self._name}: cannot be read: {error.strerror or error}") from error
        if stamp != self._stamp:
            raise UserError(
                f"{self._name}: was changed while it is trained on; a training file above "
                "data.in_memory_mib is read all the time and must not change: start a new run, on "
                "a copy"
            )
        return [parse_line(line, self._name, self._config) for line in lines]


def read_or_index(path: str, config: DataConfig) -> tuple[Sequence[Example], Keys]:
    """Returns the examples of a file, and their `source_keys` [N].

    The examples are a list if their text has at most `data.in_memory_mib`, else an `IndexedFile`.

    Raises:
        UserError: As `read_examples`, or there is no space for a temporary file.
    """
    if config.in_memory_mib is None:
        return _hold(path, config)
    limit = config.in_memory_mib * 2**20
    plain = _open_plain(path)
    if plain is None:
        indexed, keys = _index_copy(path, config)
        return (indexed if indexed.text_bytes > limit else [*indexed]), keys
    stamp = Stamp.of(plain)  # before the scan, so that it covers all of it
    if stamp.size <= limit:
        plain.close()
        return _hold(path, config)
    index, keys = _index(scan_examples(path, config))
    return IndexedFile(plain, stamp, index, path, config), keys


def source_keys(examples: Sequence[Example]) -> Keys:
    """Returns a number per example [N], equal for equal source and features."""
    return np.fromiter(map(_key, examples), np.uint64, len(examples))


def _key(example: Example) -> int:
    # No token contains a tab or a line feed, so different sources give different texts. Not `hash`,
    # which differs from process to process: a resumed run has to draw the same examples.
    text = "\t".join(example.source) + "\n" + "\t".join(example.features)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _hold(path: str, config: DataConfig) -> tuple[list[Example], Keys]:
    examples = read_examples(path, config)
    return examples, source_keys(examples)


def _open_plain(path: str) -> BinaryIO | None:
    """Opens a file that can be read at any place.

    None for other inputs, and for a file that cannot be opened: reading it as lines says why.
    """
    file = local_path(path)
    if path == "-" or is_compressed(path) or not file.is_file():
        return None
    try:
        return file.open("rb")
    except OSError:
        return None


def _index_copy(path: str, config: DataConfig) -> tuple[IndexedFile, Keys]:
    """Indexes a compressed file or a pipe by way of a temporary file, which has no name."""
    name = display_name(path)
    try:
        file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115  (stays open as long as it is read)
        index, keys = _index(_copy(scan_examples(path, config), file))
    except OSError as error:
        raise UserError(
            f"{name}: cannot be unpacked into a temporary file: {error.strerror or error}; set "
            "TMPDIR to a folder with more room, or data.in_memory_mib=null to hold it in memory"
        ) from error
    return IndexedFile(file, Stamp.of(file), index, name, config), keys


def _copy(scanned: Iterable[Scanned], file: BinaryIO) -> Iterator[Scanned]:
    """Writes the lines one after another, and yields them with their new places."""
    for _, line, example in scanned:
        place = file.tell()
        file.write(line)
        yield place, line, example
    file.flush()


def _index(scanned: Iterable[Scanned]) -> tuple[np.ndarray, Keys]:
    rows, keys = bytearray(), array("Q")
    for place, line, example in scanned:
        rows += _ROW.pack(place, len(line), *map(len, example))
        keys.append(_key(example))
    return np.frombuffer(rows, _DTYPE), np.frombuffer(keys, np.uint64)
