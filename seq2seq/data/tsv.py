"""Reads examples from tab-separated UTF-8 files, and turns text into tokens in the one right way.

Inference uses the same `source_tokens` and `feature_tokens`, so that a model is asked in the form
it was taught. Files have no header; further columns are ignored.
"""

from __future__ import annotations

import codecs
import gzip
import itertools
import os
import re
import sys
import unicodedata
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from seq2seq.config.choices import Normalization
from seq2seq.config.schema import DataConfig, SideConfig
from seq2seq.data.examples import Example
from seq2seq.data.vocabulary import Tokenizer
from seq2seq.errors import UserError, visible
from seq2seq.files import read_lines

# Below U+0300 there are no combining marks; text that is rarely without such characters for long
# pays nothing for what follows.
_MAYBE_MARKS = re.compile("[^\x00-\u02ff]{200}")


def normalize(text: str, normalization: Normalization) -> str:
    """Returns `text` in a Unicode normal form, or as it is."""
    if normalization is Normalization.none:
        return text
    form: Any = normalization.value
    if _MAYBE_MARKS.search(text):
        text = _sort_marks(text, "NFKD" if "K" in form else "NFD")
    return unicodedata.normalize(form, text)


def _sort_marks(text: str, form: Literal["NFD", "NFKD"]) -> str:
    """Decomposes `text` and brings marks into canonical order (Unicode 3.11, D109).

    `unicodedata` does so by insertion, in a time that grows as the square of the marks on one
    letter: two minutes for a line of a megabyte. What is in order already costs it nothing.
    """
    decomposed = "".join(unicodedata.normalize(form, character) for character in text)
    pieces = itertools.groupby(decomposed, key=lambda c: unicodedata.combining(c) > 0)
    return "".join(
        "".join(sorted(piece, key=unicodedata.combining) if are_marks else piece)
        for are_marks, piece in pieces
    )


def source_tokens(text: str, config: DataConfig) -> tuple[str, ...]:
    """Returns the tokens of a source as the model sees them."""
    return Tokenizer(config.source.tokens).split(normalize(text, config.normalization))


def target_tokens(text: str, config: DataConfig) -> tuple[str, ...]:
    """Returns the tokens of a target as the model sees them."""
    return Tokenizer(config.target.tokens).split(normalize(text, config.normalization))


def feature_tokens(text: str, config: DataConfig) -> tuple[str, ...]:
    """Returns the features in `text`, e.g. `V;PST;3;SG`; an empty text has none."""
    return Tokenizer(config.features.separator).split(normalize(text, config.normalization))


def read_examples(path: str, config: DataConfig) -> list[Example]:
    """Reads the examples of a file, one per line; lines of white space alone are skipped.

    Args:
        path: A file, compressed if its name ends in `.gz`, or `-` for standard input.
        config: Says which columns to read and how they split into tokens.

    Raises:
        UserError: The file or one of its lines cannot be read; the message begins with
            `FILE:` or `FILE:LINE:`.
    """
    return [example for _, _, example in scan_examples(path, config)]


def scan_examples(path: str, config: DataConfig) -> Iterator[tuple[int, bytes, Example]]:
    """Yields the examples as `read_examples` does, each after the place and the bytes of its line.

    The place counts the bytes before it in the file, or in what a compressed file holds;
    `parse_line` makes the same example of the same bytes.
    """
    name, end, is_empty = display_name(path), 0, True
    for number, raw in enumerate(_lines(path, config.max_line_bytes), start=1):
        where = f"{name}:{number}"
        start, end = end, end + len(raw)
        line = raw.removesuffix(b"\n").removesuffix(b"\r")
        text = _decode(line, where, is_first=number == 1)
        if number == 1 and line.startswith(codecs.BOM_UTF8):
            start, line = start + len(codecs.BOM_UTF8), line.removeprefix(codecs.BOM_UTF8)
        if text.strip():
            yield start, line, _parse(text.split("\t"), where, config)
            is_empty = False
    if is_empty:
        raise UserError(f"{name}: has no examples: it is empty, or all its lines are blank")


def parse_line(line: bytes, where: str, config: DataConfig) -> Example:
    """Makes an example of the bytes of a line, without its end; `where` begins error messages."""
    return _parse(_decode(line, where, is_first=False).split("\t"), where, config)


def display_name(path: str) -> str:
    """Returns what messages call a file."""
    return "<stdin>" if path == "-" else path


def _lines(path: str, most_bytes: int) -> Iterator[bytes]:
    """Yields the lines as bytes with their ends, so that nothing but a line feed ends a line."""
    name = display_name(path)
    try:
        with _open(path) as stream:
            for number, line in enumerate(read_lines(stream, most_bytes), start=1):
                if line is None:
                    raise UserError(
                        f"{name}:{number}: the line has more than "
                        f"data.max_line_bytes={most_bytes} bytes; raise it if the line is meant"
                    )
                yield line
    except FileNotFoundError as error:
        raise UserError(f"{name}: no such file") from error
    except IsADirectoryError as error:
        raise UserError(f"{name}: is a directory, not a file") from error
    except PermissionError as error:
        raise UserError(f"{name}: no permission to read it") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{name}: is no gzip file, or a damaged one: {error}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{name}: cannot be read: {reason}") from error


def _open(path: str) -> AbstractContextManager[BinaryIO]:
    if path == "-":
        if sys.stdin is None:
            raise UserError("<stdin>: standard input is closed")
        return nullcontext(sys.stdin.buffer)  # not ours to close
    # The shell leaves the ~ of data.train=~/words.tsv alone; Path.expanduser raises on ~words.tsv.
    path = os.path.expanduser(path)  # noqa: PTH111
    if path.lower().endswith(".gz"):
        return cast(BinaryIO, gzip.open(path, "rb"))
    return Path(path).open("rb")


def _decode(line: bytes, where: str, is_first: bool) -> str:
    skipped = len(codecs.BOM_UTF8) if is_first and line.startswith(codecs.BOM_UTF8) else 0
    try:
        return line[skipped:].decode("utf-8")
    except UnicodeDecodeError as error:
        position = skipped + error.start
        column = line[:position].count(b"\t") + 1
        raise UserError(
            f"{where}: byte 0x{line[position]:02x} (byte {position + 1} of the line, in column "
            f"{column}) is not UTF-8; convert the file to UTF-8"
        ) from error


def _parse(columns: list[str], where: str, config: DataConfig) -> Example:
    """Makes an example of the columns of a line."""
    source_text = _pick(columns, "source", config.source.column, where)
    target_text = _pick(columns, "target", config.target.column, where)
    features: tuple[str, ...] = ()
    if config.features.column is not None:
        features_text = _pick(columns, "features", config.features.column, where)
        features = feature_tokens(features_text, config)
    source, target = source_tokens(source_text, config), target_tokens(target_text, config)
    if not source:
        raise UserError(f"{where}: {_why_empty('source', source_text, config.source)}")
    if not target:
        raise UserError(f"{where}: {_why_empty('target', target_text, config.target)}")
    return Example(source, target, features)


def _pick(columns: list[str], side: str, column: int, where: str) -> str:
    if column > len(columns):
        count = f"{len(columns)} column" + "s" * (len(columns) != 1)
        raise UserError(
            f"{where}: the line has {count} (separated by tabs), "
            f"but data.{side}.column={column} asks for column {column}"
        )
    return columns[column - 1]


def _why_empty(side: str, text: str, config: SideConfig) -> str:
    if not text:
        return f"the {side} is empty (data.{side}.column={config.column})"
    tokens = f"data.{side}.tokens={config.tokens!r}"
    return f"the {side} '{visible(text, 40)}' has no tokens ({tokens})"
