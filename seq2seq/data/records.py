"""Records of a text file: tab-separated lines, CSV with a header, or JSON Lines.

The end of the name tells which, before a `.gz`: `.csv`, `.jsonl` or `.ndjson`; all other files and
standard input are tab-separated. A column is a number, counted from 1, or a name: of the header, or
in JSON's objects. A tab-separated file has a header only if a column has a name.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any

from seq2seq.data.line_reader import Line, LineReader
from seq2seq.data.other_formats import other_format
from seq2seq.errors import UserError, visible

Column = int | str
Fields = list[str] | dict[str, Any]

# In all but tab-separated files, a text may have them, but no token can.
_BLANKS = str.maketrans("\t\r\n", "   ")


class Format(StrEnum):
    """Formats of text files."""

    tsv = "tab-separated"
    csv = "CSV"
    jsonl = "JSON Lines"


def format_of(path: str) -> Format:
    """Returns the format that the name of a file tells."""
    name = path.lower().removesuffix(".gz")
    if name.endswith(".csv"):
        return Format.csv
    return Format.jsonl if name.endswith((".jsonl", ".ndjson")) else Format.tsv


class Table:
    """Records of one file, each a line or, in CSV, several.

    Attributes:
        reader: The lines.
        format: How they are split.
    """

    def __init__(self, reader: LineReader, columns: Mapping[str, Column | None]) -> None:
        """Opens nothing yet.

        Args:
            reader: The lines of the file.
            columns: The columns that will be asked for, by their settings.

        Raises:
            UserError: JSON Lines is asked for numbers.
        """
        self.reader, self.format = reader, format_of(reader.path)
        self._columns = {key: column for key, column in columns.items() if column is not None}
        self._header: list[str] | None = None
        for setting, column in self._columns.items():
            if self.format is Format.jsonl and not isinstance(column, str):
                raise UserError(
                    f"{reader.name}: is JSON Lines, whose columns have names: write {setting}=NAME "
                    f"instead of {setting}={column}"
                )

    @property
    def has_header(self) -> bool:
        """Whether the first record is a header."""
        has_names = any(isinstance(column, str) for column in self._columns.values())
        return self.format is Format.csv or (self.format is Format.tsv and has_names)

    def __iter__(self) -> Iterator[Line]:
        """Yields the records; the number is that of the first line.

        Raises:
            UserError: As `LineReader`; the file is not CSV, or its header lacks a column.
        """
        records: Iterable[Line] = self.reader
        if self.format is Format.csv:
            records = _csv_records(self.reader)
        for record in records:
            if self.has_header and self._header is None:
                if record.content is None or record.content.strip():
                    self._header = self._read_header(record)
                continue
            yield record

    def split(self, text: str) -> Fields:
        """Returns the fields of a record, by name in JSON Lines.

        Raises:
            ValueError: It cannot be split; the message says why.
        """
        if self.format is Format.tsv:
            return text.split("\t")
        if self.format is Format.csv:
            return next(csv.reader(io.StringIO(text, newline=""), strict=True), [])
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"cannot be read as JSON: {error}") from error
        if not isinstance(found, dict):
            raise ValueError("is not a JSON object, such as {...}")
        return found

    def pick(self, fields: Fields, column: Column) -> str | None:
        """Returns the text in a column of a record; None if there is none."""
        if isinstance(fields, dict):
            found = fields.get(str(column))
            if not isinstance(found, str | int) or isinstance(found, bool):
                return None
            text = str(found)
            # Half of a surrogate pair, which JSON can write, is not a character.
            return None if any("\ud800" <= c <= "\udfff" for c in text) else text.translate(_BLANKS)
        if isinstance(column, str):
            place = self._header.index(column) if self._header else len(fields)
        else:
            place = column - 1
        if place >= len(fields):
            return None
        return fields[place] if self.format is Format.tsv else fields[place].translate(_BLANKS)

    def lack(self, fields: Fields, setting: str, column: Column) -> str:
        """Returns a message for a record in which `pick` finds nothing."""
        if isinstance(fields, dict):
            is_there = str(column) in fields
            problem = "has no text in it" if is_there else "has no such name"
            return f"{setting}={column}, but the JSON object {problem}"
        count = f"{len(fields)} column" + "s" * (len(fields) != 1)
        by = "tabs" if self.format is Format.tsv else "commas"
        asked = f"column {column}" if isinstance(column, int) else "another one"
        return f"the line has {count} (separated by {by}), but {setting}={column} asks for {asked}"

    def _read_header(self, record: Line) -> list[str]:
        where = f"{self.reader.name}:{record.number}"
        if record.content is None or record.has_carriage_returns:
            raise UserError(f"{where}: the header is too long, or the file has CR line ends")
        try:
            fields = self.split(record.content.decode("utf-8"))
        except ValueError as error:  # UnicodeDecodeError is one, too.
            raise UserError(f"{where}: the header cannot be read: {error}") from error
        names = [field.strip() for field in fields]
        hint = other_format(names, is_csv=self.format is Format.csv)
        for setting, column in self._columns.items():
            # The lines below may have commas in their text, and would be split there.
            if hint and isinstance(column, int) and column > 1:
                raise UserError(f"{where}: {self.lack(fields, setting, column)}{hint}")
            if isinstance(column, str) and names.count(column) != 1:
                problem = "no column" if column not in names else "more than one column"
                shown = ", ".join(f"'{visible(name, 40)}'" for name in names[:20])
                raise UserError(
                    f"{where}: {setting}={column}, but the header has {problem} of this name; its "
                    f"columns are {shown}{hint}"
                )
        return names


def _csv_records(reader: LineReader) -> Iterator[Line]:
    """Yields records of RFC 4180, whose fields in quotation marks may hold line feeds.

    Raises:
        UserError: A quotation mark is never closed, or is followed by text.
    """
    # The library's limit of a field is for the whole process; lines are limited before it.
    csv.field_size_limit(max(csv.field_size_limit(), reader.max_bytes))
    taken: list[Line] = []

    def feed() -> Iterator[str]:
        for line in reader:
            taken.append(line)
            # Bytes that are not UTF-8 are refused when the record is split.
            yield (line.content or b"").decode("utf-8", "surrogateescape") + "\n"

    rows = csv.reader(feed(), strict=True)
    while True:
        taken.clear()
        try:
            next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            number = taken[0].number if taken else 1
            text = ((taken[0].content if taken else None) or b"").decode("utf-8", "replace")
            hint = other_format([text], is_csv=True)
            raise UserError(
                f"{reader.name}:{number}: cannot be read as CSV: {error}{hint}; is there a "
                "quotation mark that is not doubled, or never closed?"
            ) from error
        yield _joined(taken, reader.max_bytes)


def _joined(lines: list[Line], max_bytes: int) -> Line:
    """Returns the lines of one record as one, with the bytes that the file has."""
    first, last = lines[0], lines[-1]
    if len(lines) == 1:
        return first
    content = b""
    for line, following in zip(lines, [*lines[1:], None], strict=True):
        if line.content is None:
            return Line(first.number, first.place, None)
        content += line.content
        if following is not None:
            has_cr = following.place - line.place - len(line.content) == 2
            content += b"\r\n" if has_cr else b"\n"
        if len(content) > max_bytes:
            return Line(first.number, first.place, None)
    return Line(first.number, first.place, content, first.skipped, last.has_end)
