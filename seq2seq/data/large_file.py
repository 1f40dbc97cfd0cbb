"""Index of training files that are too large for memory: the place and the size of each line.

The index takes 24 bytes per line. A batch reads its lines again and parses them; the page cache
makes this fast. Shuffling stays exact, because any line can be read in any order.
"""

from __future__ import annotations

import hashlib
import os
import struct
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple, cast, overload

import numpy as np
import numpy.typing as npt

from seq2seq.config.schema import DataConfig
from seq2seq.data.examples import Example
from seq2seq.data.line_reader import is_compressed
from seq2seq.data.tsv import ExampleFile, example_files
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


class Stamp(NamedTuple):
    """Size and time of the last change, by which a change of a file is recognized."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, file: BinaryIO) -> Stamp:
        """Returns the stamp of an open file."""
        status = os.fstat(file.fileno())
        return cls(status.st_size, status.st_mtime_ns)


class Part(NamedTuple):
    """Lines of one file in an index.

    Attributes:
        file: The open file with the lines: their own, or the temporary one.
        stamp: That of the file when it was indexed.
        before: The bytes of the parts before it. Places count from the beginning of the first part.
        origin: Where the part begins in the file.
        examples: Its name, and how its lines are read.
    """

    file: BinaryIO
    stamp: Stamp
    before: int
    origin: int
    examples: ExampleFile


class IndexedFiles(Sequence[Example]):
    """Sequence of the examples of files, which reads them when they are asked for.

    A file that was written to since it was indexed is refused. A file that was replaced by another
    one of the same name does no harm: the old file stays open and is read.
    """

    def __init__(self, parts: Sequence[Part], index: np.ndarray) -> None:
        """Stores the parts in the order of their places, and the index of all their lines."""
        self._parts, self._index = parts, index
        self._starts = [part.before for part in parts]

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

    def select(self, rows: npt.NDArray[Any]) -> IndexedFiles:
        """Returns the examples where `rows` [N] is true, or those with the numbers `rows`."""
        return IndexedFiles(self._parts, self._index[rows])

    def read(self, rows: npt.NDArray[np.integer]) -> list[Example]:
        """Reads the examples with the numbers `rows` [N], in any order.

        Raises:
            UserError: A file has changed since it was indexed, or cannot be read any more.
        """
        wanted = self._index[rows]
        numbers = np.searchsorted(self._starts, wanted["place"], side="right") - 1
        parts = [self._parts[number] for number in numbers.tolist()]
        places = zip(parts, wanted["place"].tolist(), wanted["size"].tolist(), strict=True)
        lines = [_read_line(part, place, size) for part, place, size in places]
        for number in np.unique(numbers).tolist():
            _refuse_change(self._parts[number])  # after the reads, so that it covers them
        return [part.examples.parse(line) for part, line in zip(parts, lines, strict=True)]


def _read_line(part: Part, place: int, size: int) -> bytes:
    try:
        return os.pread(part.file.fileno(), size, part.origin + place - part.before)
    except OSError as error:
        name = part.examples.name
        raise UserError(f"{name}: cannot be read: {error.strerror or error}") from error


def _refuse_change(part: Part) -> None:
    if Stamp.of(part.file) != part.stamp:
        raise UserError(
            f"{part.examples.name}: was changed while it is trained on; training files above "
            "data.in_memory_mib are read all the time and must not change: start a new run, on "
            "a copy"
        )


class TrainingFiles(NamedTuple):
    """Examples of the training files.

    Attributes:
        examples: A list, or `IndexedFiles`.
        keys: Their `source_keys` [N].
        counts: The number of examples of each file, and the file's entry in the setting.
    """

    examples: Sequence[Example]
    keys: Keys
    counts: list[tuple[int, int]]


def read_or_index(files: Any, config: DataConfig) -> TrainingFiles:
    """Returns the examples of the training files.

    They are a list if their text has at most `data.in_memory_mib` in all, else `IndexedFiles`.

    Raises:
        UserError: As `read_examples`, or there is no space for a temporary file.
    """
    named = example_files(files, config)
    limit = None if config.in_memory_mib is None else config.in_memory_mib * 2**20
    if limit is None or (all(map(_is_plain, named)) and sum(map(_size, named)) <= limit):
        return _hold(named)
    found = _Indexing().index(named)
    if isinstance(found.examples, IndexedFiles) and found.examples.text_bytes <= limit:
        return found._replace(examples=[*found.examples])
    return found


def _is_plain(file: ExampleFile) -> bool:
    """Tells whether the lines of a file can be read at any place."""
    is_stream = file.path == "-" or is_compressed(file.path)
    return not is_stream and local_path(file.path).is_file()


def _size(file: ExampleFile) -> int:
    return local_path(file.path).stat().st_size


def source_keys(examples: Sequence[Example]) -> Keys:
    """Returns a number per example [N], equal for equal source and features."""
    return np.fromiter(map(_key, examples), np.uint64, len(examples))


def _key(example: Example) -> int:
    # No token contains a tab or a line feed, so different sources give different texts. Not `hash`,
    # which differs from process to process: a resumed run has to draw the same examples.
    text = "\t".join(example.source) + "\n" + "\t".join(example.features)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _hold(files: Sequence[ExampleFile]) -> TrainingFiles:
    examples: list[Example] = []
    counts = []
    for file in files:
        before = len(examples)
        examples += [example for _, _, example in file.scan()]
        counts.append((len(examples) - before, file.entry))
    return TrainingFiles(examples, source_keys(examples), counts)


class _Indexing:
    """Index of files in the making."""

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._rows, self._keys = bytearray(), array("Q")
        self._before = 0  # bytes of the parts so far
        self._unpacked: BinaryIO | None = None

    def index(self, files: Sequence[ExampleFile]) -> TrainingFiles:
        """Scans files one after another."""
        counts = []
        for file in files:
            before = len(self._keys)
            if _is_plain(file) and (opened := _open(file)):
                self._index_plain(file, opened)
            else:
                self._index_copy(file)
            counts.append((len(self._keys) - before, file.entry))
        if self._unpacked is not None:
            # It was written to until now.
            stamp = Stamp.of(self._unpacked)
            self._parts = [
                part._replace(stamp=stamp) if part.file is self._unpacked else part
                for part in self._parts
            ]
        index, keys = np.frombuffer(self._rows, _DTYPE), np.frombuffer(self._keys, np.uint64)
        return TrainingFiles(IndexedFiles(self._parts, index), keys, counts)

    def _index_plain(self, file: ExampleFile, opened: BinaryIO) -> None:
        stamp = Stamp.of(opened)  # before the scan, so that it covers all of it
        self._parts.append(Part(opened, stamp, self._before, 0, file))
        end = stamp.size
        for place, line, example in file.scan():
            self._add(self._before + place, line, example)
            end = max(end, place + len(line))  # The file may grow; `read` will refuse it then.
        self._before += end

    def _index_copy(self, file: ExampleFile) -> None:
        """Copies the lines of a compressed file or a pipe to a temporary file without a name."""
        try:
            if self._unpacked is None:
                self._unpacked = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115  (stays open)
            copy = self._unpacked
            origin = copy.tell()
            self._parts.append(Part(copy, Stamp.of(copy), self._before, origin, file))
            for _, line, example in file.scan():
                self._add(self._before + copy.tell() - origin, line, example)
                copy.write(line)
            copy.flush()
            self._before += copy.tell() - origin
        except OSError as error:
            raise UserError(
                f"{file.name}: cannot be unpacked into a temporary file: "
                f"{error.strerror or error}; set TMPDIR to a folder with more room, or "
                "data.in_memory_mib=null to hold it in memory"
            ) from error

    def _add(self, place: int, line: bytes, example: Example) -> None:
        self._rows += _ROW.pack(place, len(line), *map(len, example))
        self._keys.append(_key(example))


def _open(file: ExampleFile) -> BinaryIO | None:
    """Opens a plain file; None if it cannot be opened: reading it as lines says why."""
    try:
        return local_path(file.path).open("rb")
    except OSError:
        return None
