"""Parts of a bulk decoding: a file with the answers to each chunk of lines.

The name of a part is a checksum of all that the answers follow from: the model, the settings and
the lines. A part that is there need not be decoded again, and never has the answers of another
model or input.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from seq2seq.config.commands import InferConfig
from seq2seq.config.data_files import named_files
from seq2seq.errors import UserError
from seq2seq.files import checksum, local_path, writing
from seq2seq.inference.answers import Prediction
from seq2seq.inference.formats import Line
from seq2seq.runs.provenance import versions
from seq2seq.runs.run_dir import RunDir

_MAX_HEADER_BYTES = 2**28


class Remark(NamedTuple):
    """What a user is told of a line, beside its answer; see `Prediction`.

    Attributes:
        place: The number of the line in its chunk, counted from 0.
        problem: Why it has no answer.
        unknown: Symbols that the model does not know.
        is_rejected: Whether the answer is.
    """

    place: int
    problem: str | None
    unknown: Sequence[str]
    is_rejected: bool


def fingerprint(config: InferConfig, runs: Sequence[RunDir]) -> str:
    """Returns a checksum of all that answers follow from, but for the lines.

    Raises:
        UserError: A file cannot be read.
    """
    files = (config.decoding.lexicon, config.decoding.answers)
    paths = [local_path(file.path) for one in files for file in named_files(one)]
    settings = dataclasses.asdict(config.decoding), config.format, config.device
    return _digest([model_fingerprint(runs), _checksums(paths), settings])


def model_fingerprint(runs: Sequence[RunDir]) -> str:
    """Returns a checksum of trained runs, and of the versions of what computes with them.

    Raises:
        UserError: A file cannot be read.
    """
    paths = [path for run in runs for path in _files_of(run) if path.is_file()]
    return _digest([_checksums(paths), versions()])


def _checksums(paths: Iterable[Path]) -> list[str]:
    digests = []
    for path in paths:
        try:
            with path.open("rb") as file:
                digests.append(checksum(file))
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    return digests


def _files_of(run: RunDir) -> Iterable[Path]:
    return run.config_file, *run.vocabularies, run.best_weights, run.calibration


def name_of(fingerprint: str, lines: Sequence[Line], batches_before: int) -> str:
    """Returns the name of the part of a chunk.

    Args:
        fingerprint: Of model and settings.
        lines: The chunk.
        batches_before: The number of its first batch, on which only sampling depends.
    """
    asked = [(line.source, line.features, line.problem) for line in lines]
    return _digest([fingerprint, asked, batches_before])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:32]


def write_part(path: Path, predictions: Sequence[Prediction], answers: str) -> None:
    """Writes the answers, below a line with the remarks, atomically.

    Raises:
        DiskError: They cannot be written.
    """
    remarks = [
        Remark(place, one.problem, one.unknown, one.is_rejected)
        for place, one in enumerate(predictions)
        if one.problem or one.unknown or one.is_rejected
    ]
    with writing(path) as temporary:
        text = json.dumps(remarks) + "\n" + answers
        temporary.write_text(text, encoding="utf-8", newline="")


def read_remarks(path: Path) -> list[Remark] | None:
    """Returns the remarks in a part; None if it is not there or damaged."""
    try:
        with path.open("rb") as file:
            return [Remark(*one) for one in json.loads(file.readline(_MAX_HEADER_BYTES))]
    except (OSError, ValueError, TypeError):
        return None


def copy_answers(path: Path, target: BinaryIO) -> None:
    """Writes the answers in a part to a file."""
    with path.open("rb") as file:
        file.readline(_MAX_HEADER_BYTES)
        shutil.copyfileobj(file, target)
