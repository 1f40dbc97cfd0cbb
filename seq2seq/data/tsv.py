"""Reader of UTF-8 files of examples, and the functions that turn text into tokens.

Inference calls the same `source_tokens` and `feature_tokens`, so that a model reads text in the
form in which it was trained. `records` knows the formats of files; further columns are ignored.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

from seq2seq.config.choices import Normalization
from seq2seq.config.data_files import NamedFile, has_tags, named_files
from seq2seq.config.schema import DataConfig, SideConfig
from seq2seq.data.examples import Example
from seq2seq.data.line_reader import Line, LineReader
from seq2seq.data.other_formats import (
    JUDGED_LINES,
    other_format,
    refuse_measurements,
    warn_of_first_line,
)
from seq2seq.data.records import Column, Fields, Format, Table
from seq2seq.data.unicode_forms import normalize
from seq2seq.data.vocabulary import Tokenizer
from seq2seq.errors import UserError, visible

Asked = tuple[tuple[str, ...], tuple[str, ...]]
"""Tokens of a source, and its features."""


@functools.lru_cache(maxsize=16)
def _tokenizer(tokens: str) -> Tokenizer:
    """Returns a shared tokenizer: making and checking a new one takes as long as a short line."""
    return Tokenizer(tokens)


def _form(side: SideConfig, config: DataConfig) -> Normalization:
    return config.normalization if side.normalization is None else side.normalization


def source_tokens(text: str, config: DataConfig) -> tuple[str, ...]:
    """Returns the tokens of a source text, normalized and split as the model reads them."""
    return _tokenizer(config.source.tokens).split(normalize(text, _form(config.source, config)))


def target_tokens(text: str, config: DataConfig) -> tuple[str, ...]:
    """Returns the tokens of a target text, normalized and split as the model reads them."""
    return _tokenizer(config.target.tokens).split(normalize(text, _form(config.target, config)))


def feature_tokens(text: str, config: DataConfig) -> tuple[str, ...]:
    """Returns the features of a text such as `V;PST;3;SG`; an empty text has none."""
    return _tokenizer(config.features.separator).split(normalize(text, config.normalization))


def read_examples(files: Any, config: DataConfig) -> list[Example]:
    """Reads the examples of files, one per line. Lines of white space alone are skipped.

    Args:
        files: A setting that names files of examples; paths are as in `LineReader`: compressed if
            their name ends in `.gz`, or `-` for standard input.
        config: The columns, and their split into tokens.

    Raises:
        UserError: A file or one of its lines cannot be read; the message begins with `FILE:` or
            `FILE:LINE:`. Or the files have tags and those of the training have none, or the other
            way round.
    """
    return [*scan_examples(files, config)]


def scan_examples(files: Any, config: DataConfig) -> Iterator[Example]:
    """Yields the examples of `read_examples`."""
    for file in example_files(files, config):
        yield from (example for _, _, example in file.scan())


def read_sources(files: Any, config: DataConfig) -> list[Asked]:
    """Reads the different sources of files, each with its features, in the order first seen.

    The columns are those of examples, but there may be no column of targets.

    Raises:
        UserError: As `read_examples`.
    """
    found = (asked for file in example_files(files, config) for asked in file.sources())
    return list(dict.fromkeys(found))


def example_files(files: Any, config: DataConfig) -> list[ExampleFile]:
    """Returns the files that a setting names.

    Raises:
        UserError: As `read_examples` of the names.
    """
    named = named_files(files)
    if config.train is not None and has_tags(files) != has_tags(config.train):
        name = display_name(named[0].path)
        raise UserError(
            f"{name}: has no tag, but the training files have: write {{TAG: {name}}}"
            if has_tags(config.train)
            else f"{name}: has the tag '{named[0].tag}', but the training files have none"
        )
    return [ExampleFile(file, config) for file in named]


def has_features(config: DataConfig) -> bool:
    """Tells whether examples have features: a column of them, or the tag of their file."""
    return config.features.column is not None or has_tags(config.train)


class ExampleFile:
    """A file of examples.

    Attributes:
        path: As in `LineReader`.
        name: Its name in messages.
        entry: See `NamedFile`.
    """

    def __init__(self, file: NamedFile, config: DataConfig) -> None:
        """Opens nothing yet."""
        self.path, self.entry, self.name = file.path, file.entry, display_name(file.path)
        self._config = config
        self._tags = feature_tokens(file.tag, config) if file.tag is not None else ()
        self._table: Table | None = None

    def scan(self) -> Iterator[tuple[int, bytes, Example]]:
        """Yields (place, bytes of the record, example) for each example.

        The place counts the bytes before the record in the file, or in the content of a compressed
        file. `parse` makes the same example from the same bytes, once the header was read.
        """
        first: list[Sequence[str]] = []
        config = self._config
        self._table = table = self._open(("source", "target", "features"))
        for record, where, text in self._records(table):
            fields = self._split(table, text, where)
            example = self._example(table, fields, where)
            if len(first) < JUDGED_LINES:
                columns = config.source.column, config.target.column
                asked = [table.pick(fields, column) or "" for column in columns]
                if not first and table.format is Format.tsv and not table.has_header:
                    warn_of_first_line(asked, where)
                first.append(fields if isinstance(fields, list) else asked)
                if len(first) == JUDGED_LINES:
                    refuse_measurements(first, self.name)
            assert record.content is not None
            yield record.place, record.content, example
        if not first:
            raise UserError(
                f"{self.name}: has no examples: it is empty, or all its lines are blank"
            )
        if len(first) < JUDGED_LINES:
            refuse_measurements(first, self.name)

    def parse(self, content: bytes) -> Example:
        """Returns the example of a record's bytes, without its end."""
        assert self._table is not None
        fields = self._split(self._table, _decode(content, self.name), self.name)
        return self._example(self._table, fields, self.name)

    def sources(self) -> Iterator[Asked]:
        """Yields the source and the features of each record that is not blank."""
        table = self._open(("source", "features"))
        for _, where, text in self._records(table):
            yield self._source(table, self._split(table, text, where), where)

    def _open(self, sides: Sequence[str]) -> Table:
        reader = LineReader(self.path, self.name, self._config.max_line_bytes)
        columns = {f"data.{side}.column": getattr(self._config, side).column for side in sides}
        return Table(reader, columns)

    def _records(self, table: Table) -> Iterator[tuple[Line, str, str]]:
        """Yields each record that is not blank with its place for messages and its text."""
        config = self._config
        for record in table:
            where = f"{self.name}:{record.number}"
            if record.content is None:
                raise UserError(
                    f"{where}: the line has more than data.max_line_bytes={config.max_line_bytes} "
                    "bytes; raise the limit if the line is intended, or convert the file if its "
                    "lines end with CR"
                )
            if record.has_carriage_returns:
                raise UserError(
                    f"{where}: the file has CR line ends, so all of it is one line; convert it, "
                    r"e.g. with: tr '\r' '\n' < OLD > NEW"
                )
            text = _decode(record.content, where, record.skipped)
            if text.strip():
                yield record, where, text

    def _split(self, table: Table, text: str, where: str) -> Fields:
        try:
            return table.split(text)
        except ValueError as error:
            raise UserError(f"{where}: {error}") from error

    def _example(self, table: Table, fields: Fields, where: str) -> Example:
        source, features = self._source(table, fields, where)
        side = self._config.target
        text = _pick(table, fields, "target", side.column, where)
        target = target_tokens(text, self._config)
        if not target:
            raise UserError(f"{where}: {_why_empty('target', text, side)}")
        return Example(source, target, features)

    def _source(self, table: Table, fields: Fields, where: str) -> Asked:
        config = self._config
        text = _pick(table, fields, "source", config.source.column, where)
        source = source_tokens(text, config)
        if not source:
            raise UserError(f"{where}: {_why_empty('source', text, config.source)}")
        if config.features.column is None:
            return source, self._tags
        tags = _pick(table, fields, "features", config.features.column, where)
        return source, self._tags + feature_tokens(tags, config)


def display_name(path: str) -> str:
    """Returns the name of a file in messages."""
    return "<stdin>" if path == "-" else path


def _decode(content: bytes, where: str, skipped: int = 0) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        column = content[: error.start].count(b"\t") + 1
        raise UserError(
            f"{where}: byte 0x{content[error.start]:02x} (byte {skipped + error.start + 1} of the "
            f"line, in column {column}) is not UTF-8; convert the file to UTF-8"
        ) from error


def _pick(table: Table, fields: Fields, side: str, column: Column, where: str) -> str:
    text = table.pick(fields, column)
    if text is None:
        problem = table.lack(fields, f"data.{side}.column", column)
        hint = other_format(fields, is_csv=table.format is Format.csv)
        raise UserError(f"{where}: {problem}{hint}")
    return text


def _why_empty(side: str, text: str, config: SideConfig) -> str:
    if not text:
        return f"the {side} is empty (data.{side}.column={config.column})"
    tokens = f"data.{side}.tokens={config.tokens!r}"
    return f"the {side} '{visible(text, 40)}' has no tokens ({tokens})"
