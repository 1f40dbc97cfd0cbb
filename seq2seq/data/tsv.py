"""Reader of tab-separated UTF-8 files of examples, and the functions that turn text into tokens.

Inference calls the same `source_tokens` and `feature_tokens`, so that a model reads text in the
form in which it was trained. Files have no header; further columns are ignored.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from seq2seq.config.choices import Normalization
from seq2seq.config.schema import DataConfig, SideConfig
from seq2seq.data.examples import Example
from seq2seq.data.line_reader import Line, LineReader
from seq2seq.data.other_formats import (
    JUDGED_LINES,
    other_format,
    refuse_measurements,
    warn_of_first_line,
)
from seq2seq.data.unicode_forms import normalize
from seq2seq.data.vocabulary import Tokenizer
from seq2seq.errors import UserError, visible


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


def read_examples(path: str, config: DataConfig) -> list[Example]:
    """Reads the examples of a file, one per line. Lines of white space alone are skipped.

    Args:
        path: As in `LineReader`: a file, compressed if its name ends in `.gz`, or `-` for standard
            input.
        config: The columns, and their split into tokens.

    Raises:
        UserError: The file or one of its lines cannot be read; the message begins with
            `FILE:` or `FILE:LINE:`.
    """
    return [example for _, _, example in scan_examples(path, config)]


def scan_examples(path: str, config: DataConfig) -> Iterator[tuple[int, bytes, Example]]:
    """Yields (place, bytes of the line, example) for each example of `read_examples`.

    The place counts the bytes before the line in the file, or in the content of a compressed file.
    `parse_line` makes the same example from the same bytes.
    """
    name = display_name(path)
    first: list[list[str]] = []
    for line, where, text in _scan_lines(path, config):
        if text.strip():
            columns = text.split("\t")
            example = _parse(columns, where, config)
            if not first:
                fields = columns[config.source.column - 1], columns[config.target.column - 1]
                warn_of_first_line(fields, where)
            if len(first) < JUDGED_LINES:
                first.append(columns)
                if len(first) == JUDGED_LINES:
                    refuse_measurements(first, name)
            assert line.content is not None
            yield line.place, line.content, example
    if not first:
        raise UserError(f"{name}: has no examples: it is empty, or all its lines are blank")
    if len(first) < JUDGED_LINES:
        refuse_measurements(first, name)


def read_sources(path: str, config: DataConfig) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Reads the different sources of a file, each with its features, in the order first seen.

    The columns are those of examples, but there may be no column of targets.

    Raises:
        UserError: As `read_examples`.
    """
    found = [
        _parse_source(text.split("\t"), where, config)
        for _, where, text in _scan_lines(path, config)
        if text.strip()
    ]
    return list(dict.fromkeys(found))


def _scan_lines(path: str, config: DataConfig) -> Iterator[tuple[Line, str, str]]:
    """Yields each line with its place for messages and its text."""
    name = display_name(path)
    for line in LineReader(path, name, config.max_line_bytes):
        where = f"{name}:{line.number}"
        if line.content is None:
            raise UserError(
                f"{where}: the line has more than data.max_line_bytes={config.max_line_bytes} "
                "bytes; raise the limit if the line is intended, or convert the file if its lines "
                "end with CR"
            )
        if line.has_carriage_returns:
            raise UserError(
                f"{where}: the file has CR line ends, so all of it is one line; convert it, e.g. "
                r"with: tr '\r' '\n' < OLD > NEW"
            )
        yield line, where, _decode(line.content, where, line.skipped)


def parse_line(content: bytes, where: str, config: DataConfig) -> Example:
    """Returns the example of a line's bytes, without its end; `where` begins error messages."""
    return _parse(_decode(content, where).split("\t"), where, config)


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


def _parse(columns: list[str], where: str, config: DataConfig) -> Example:
    """Returns the example in the columns of a line."""
    source, features = _parse_source(columns, where, config)
    text = _pick(columns, "target", config.target.column, where)
    target = target_tokens(text, config)
    if not target:
        raise UserError(f"{where}: {_why_empty('target', text, config.target)}")
    return Example(source, target, features)


def _parse_source(
    columns: list[str], where: str, config: DataConfig
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the source and the features in the columns of a line."""
    text = _pick(columns, "source", config.source.column, where)
    source = source_tokens(text, config)
    if not source:
        raise UserError(f"{where}: {_why_empty('source', text, config.source)}")
    if config.features.column is None:
        return source, ()
    tags = _pick(columns, "features", config.features.column, where)
    return source, feature_tokens(tags, config)


def _pick(columns: list[str], side: str, column: int, where: str) -> str:
    if column > len(columns):
        count = f"{len(columns)} column" + "s" * (len(columns) != 1)
        raise UserError(
            f"{where}: the line has {count} (separated by tabs), "
            f"but data.{side}.column={column} asks for column {column}{other_format(columns)}"
        )
    return columns[column - 1]


def _why_empty(side: str, text: str, config: SideConfig) -> str:
    if not text:
        return f"the {side} is empty (data.{side}.column={config.column})"
    tokens = f"data.{side}.tokens={config.tokens!r}"
    return f"the {side} '{visible(text, 40)}' has no tokens ({tokens})"
