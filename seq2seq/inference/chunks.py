"""Chunks of `infer.py`: lines of an input that are sorted by length and decoded together.

It needs no model and no TensorFlow, so that a process can hand out chunks that others decode.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

from seq2seq.config.choices import OutputFormat
from seq2seq.config.commands import InferConfig
from seq2seq.config.data_files import named_files
from seq2seq.data.line_reader import LineReader, check_opens
from seq2seq.data.records import Column, Table
from seq2seq.errors import UserError
from seq2seq.inference.answers import Prediction
from seq2seq.inference.formats import Line

log = logging.getLogger(__name__)

# Limits of a chunk. Both bound the memory that a long input takes.
CHUNK_BATCHES = 32
CHUNK_CHARACTERS = 2**22


def input_paths(config: InferConfig) -> list[str]:
    """Returns the inputs of `infer.py`.

    Raises:
        UserError: There is none, no file matches a pattern, or a file is named twice.
    """
    if isinstance(config.input, dict) or not config.input:
        raise UserError(f"input={config.input}: name a file, [A,B], or - for standard input")
    return [file.path for file in named_files(config.input)]


def check_inputs(paths: Sequence[str]) -> None:
    """Checks that inputs of `infer.py` are there, before anything is loaded.

    Raises:
        UserError: One cannot be opened.
    """
    for path in paths:
        check_opens(path, _name(path))


def read_chunks(
    table: Table,
    config: InferConfig,
    has_features: bool,
    batch_size: int,
    is_pausing: Callable[[int], bool] = lambda count: False,
) -> Iterator[list[Line]]:
    """Yields the lines of an input within the limits of a chunk, and at least one in each.

    A chunk ends early when `is_pausing` tells so of its number of lines.

    Raises:
        UserError: The input cannot be opened, or cannot be read to its end.
    """
    chunk: list[Line] = []
    characters = 0
    for line in _lines(table, config, has_features):
        chunk.append(line)
        characters += len(line.source) + len(line.features)
        is_full = len(chunk) == CHUNK_BATCHES * batch_size or characters > CHUNK_CHARACTERS
        if is_full or is_pausing(len(chunk)):
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _lines(table: Table, config: InferConfig, has_features: bool) -> Iterator[Line]:
    """Yields the lines, with a warning if the input has other line ends than line feeds."""
    for record in table:
        if record.has_carriage_returns:
            log.warning(
                "%s: has CR line ends, so all of it is answered as one line; convert it, e.g. "
                r"with: tr '\r' '\n' < OLD > NEW",
                table.reader.name,
            )
        line = parse(record.content, table, config, has_features)
        yield line._replace(number=record.number)


def open_table(path: str, config: InferConfig, has_features: bool) -> Table:
    """Returns the lines of an input, or the records of a CSV or JSON Lines file.

    Raises:
        UserError: JSON Lines is asked for columns by number.
    """
    reader = LineReader(path, _name(path), config.max_line_bytes)
    return Table(reader, _columns(config, has_features))


def _name(path: str) -> str:
    """Returns the name of an input in messages."""
    return f"input={path}"


def _columns(config: InferConfig, has_features: bool) -> dict[str, Column]:
    wanted = {"source.column": config.source.column}
    return wanted | ({"features.column": config.features.column} if has_features else {})


def parse(content: bytes | None, table: Table, config: InferConfig, has_features: bool) -> Line:
    """Returns the source and the features of a line, or why it has none."""
    if content is None:
        return Line("", "", f"the line has more than max_line_bytes={config.max_line_bytes} bytes")
    try:
        fields = table.split(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        byte = content[error.start]
        return Line("", "", f"not UTF-8: byte 0x{byte:02x} at position {error.start + 1}")
    except ValueError as error:
        return Line("", "", str(error))
    texts = []
    for setting, column in _columns(config, has_features).items():
        text = table.pick(fields, column)
        if text is None:
            return Line("", "", table.lack(fields, setting, column))
        texts.append(text)
    source, *features = texts
    return Line(source, "".join(features))


Predict = Callable[[list[str], list[str], int, bool], list[Prediction]]


def answer(
    predict: Predict, lines: Sequence[Line], batches_before: int, form: OutputFormat
) -> list[Prediction]:
    """Returns a prediction for each line of a chunk.

    Args:
        predict: `Predictor.predict`.
        lines: The chunk.
        batches_before: The number of its first batch.
        form: The format of the answers, which decides whether they have details.
    """
    predictions = predict(
        [line.source for line in lines],
        [line.features for line in lines],
        batches_before,
        form is OutputFormat.jsonl,
    )
    return [
        Prediction([], line.problem) if line.problem else prediction
        for line, prediction in zip(lines, predictions, strict=True)
    ]
