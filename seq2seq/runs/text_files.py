"""Content of a run's JSON files and tables: checked reading, and the text to write."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from seq2seq.errors import UserError
from seq2seq.files import DiskError, read_json, read_text

_MAX_RECORD_BYTES = 2**20
_MAX_RESULT_BYTES = 2**26  # of `results.json` and `metrics.csv`

# Parts of `record.json` that are read again.
_RECORD_PARTS: dict[str, type[dict[str, Any]] | type[list[Any]]] = {
    **dict.fromkeys(("versions", "data", "host", "threads", "environment"), dict),
    "changes": list,
}


def read_record(path: Path) -> dict[str, Any]:
    """Reads a `record.json`, in which no part that is read again is missing.

    Raises:
        UserError: The file is missing or damaged.
    """
    found = read_json(path, _MAX_RECORD_BYTES)
    for name, content in _RECORD_PARTS.items():
        part = found.setdefault(name, content())
        if not isinstance(part, content):
            raise UserError(f"{path}: {name} is of another type than {content.__name__}")
    for name, digest in found["data"].items():
        if not isinstance(digest, str):
            raise UserError(f"{path}: data.{name} is not a checksum")
    return found


def read_results(path: Path) -> dict[str, Any]:
    """Reads a `results.json`.

    Raises:
        UserError: The file is missing or damaged.
    """
    return read_json(path, _MAX_RESULT_BYTES)


def read_temperature(path: Path) -> float:
    """Reads the temperature of a `calibration.json`.

    Raises:
        UserError: The file is missing or damaged.
    """
    temperature: Any = read_json(path, _MAX_RECORD_BYTES).get("temperature")
    # A bool is an int, too.
    if type(temperature) not in (int, float) or not 0.01 <= temperature <= 100:
        raise UserError(f"{path}: temperature is not a number from 0.01 to 100")
    return float(temperature)


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Reads a `metrics.csv`.

    Raises:
        UserError: The file is missing or damaged.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(path, _MAX_RESULT_BYTES))))
    except csv.Error as error:
        raise UserError(f"{path}: cannot be read as CSV: {error}") from error
    for row in rows:
        # DictReader has the surplus fields of a line at None, and None for missing ones.
        if "epoch" not in row or None in row or None in row.values():
            raise UserError(f"{path}: is not a table with one row per epoch")
    return rows


def metrics_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns the content of a `metrics.csv`; a metric that was not measured is left empty."""
    text = io.StringIO()
    columns = list(dict.fromkeys(column for row in rows for column in row))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def tab_separated(rows: Iterable[Sequence[str]]) -> str:
    """Returns rows of text as lines of tab-separated columns."""
    return "".join("\t".join(row) + "\n" for row in rows)


def remove(path: Path) -> None:
    """Removes a file if it is there.

    Raises:
        DiskError: It cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise DiskError(f"{path}: cannot be removed: {error.strerror}") from error
