"""Content of a run's JSON files and tables: checked reading, and the text to write."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from seq2seq.errors import UserError
from seq2seq.files import read_json, read_text

_MAX_RECORD_BYTES = 2**20
_MAX_RESULT_BYTES = 2**26  # of `results.json` and `metrics.csv`
_MAX_METRICS_LINE = 2**16
_MAX_SOURCES_BYTES = 2**16

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
    for name, digests in found["data"].items():
        # Of several files a list, in which standard input has None.
        several = digests if isinstance(digests, list) else [digests or ""]
        if not all(digest is None or isinstance(digest, str) for digest in several):
            raise UserError(f"{path}: data.{name} is not a checksum")
    return found


def read_results(path: Path) -> dict[str, Any]:
    """Reads a `results.json`.

    Raises:
        UserError: The file is missing or damaged.
    """
    return read_json(path, _MAX_RESULT_BYTES)


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Reads a `metrics.csv`.

    Raises:
        UserError: The file is missing or damaged.
    """
    text = read_text(path, _MAX_RESULT_BYTES)
    # The library has a limit, too, but of the whole process, and readers of data raise it.
    if max(map(len, text.split("\n"))) > _MAX_METRICS_LINE:
        raise UserError(
            f"{path}: cannot be read as CSV: a line has more than {_MAX_METRICS_LINE} characters"
        )
    try:
        rows = list(csv.DictReader(io.StringIO(text)))
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


def read_sources(path: Path) -> list[tuple[str, str]]:
    """Returns sources and features of decoded examples: those in the first 64 KiB of the file.

    There are none if the file is missing, or is that of a version without a header.
    """
    if not path.is_file():
        return []
    with path.open("rb") as file:
        text = file.read(_MAX_SOURCES_BYTES).decode("utf-8", "replace")
    # The last line may have been cut.
    header, *rows = (line.split("\t") for line in text.split("\n")[:-1])
    if header[:1] != ["source"]:
        return []
    with_features = header[1:2] == ["features"]
    return [(row[0], row[1] if with_features else "") for row in rows if len(row) == len(header)]
