"""Chunks of `infer.py`: lines of an input that are sorted by length and decoded together.

It needs no model and no TensorFlow, so that a process can hand out chunks that others decode.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

from seq2seq.config.choices import OutputFormat
from seq2seq.config.commands import InferConfig
from seq2seq.data.line_reader import LineReader
from seq2seq.inference.answers import Prediction
from seq2seq.inference.formats import Line

log = logging.getLogger(__name__)

# Limits of a chunk. Both bound the memory that a long input takes.
CHUNK_BATCHES = 32
CHUNK_CHARACTERS = 2**22


def read_chunks(
    reader: LineReader,
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
    for line in _lines(reader, config, has_features):
        chunk.append(line)
        characters += len(line.source) + len(line.features)
        is_full = len(chunk) == CHUNK_BATCHES * batch_size or characters > CHUNK_CHARACTERS
        if is_full or is_pausing(len(chunk)):
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _lines(reader: LineReader, config: InferConfig, has_features: bool) -> Iterator[Line]:
    """Yields the lines, with a warning if the input has other line ends than line feeds."""
    for line in reader:
        if line.has_carriage_returns:
            log.warning(
                "%s: has CR line ends, so all of it is answered as one line; convert it, e.g. "
                r"with: tr '\r' '\n' < OLD > NEW",
                reader.name,
            )
        yield parse(line.content, config, has_features)


def parse(content: bytes | None, config: InferConfig, has_features: bool) -> Line:
    """Returns the source and the features of a line, or why it has none."""
    if content is None:
        return Line("", "", f"the line has more than max_line_bytes={config.max_line_bytes} bytes")
    try:
        columns = content.decode("utf-8").split("\t")
    except UnicodeDecodeError as error:
        return Line(
            "", "", f"not UTF-8: byte 0x{content[error.start]:02x} at position {error.start + 1}"
        )
    wanted = {"source.column": config.source.column}
    if has_features:
        wanted["features.column"] = config.features.column
    for setting, column in wanted.items():
        if column > len(columns):
            problem = f"{setting}={column}, but the line has {len(columns)} tab-separated columns"
            return Line("", "", problem)
    features = columns[config.features.column - 1] if has_features else ""
    return Line(columns[config.source.column - 1], features)


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
