"""Line protocol of `infer.py`: one answer per input line, in order, and nothing else.

A program that writes a line to a pipe and waits gets its answer at once: lines are decoded together
only as far as they have arrived.

A line that cannot be answered gets an empty answer, or a row with the reason, and a warning on
standard error. It never disturbs its neighbours. Symbols that the model does not know are answered,
with a warning on standard error.
"""

from __future__ import annotations

import functools
import itertools
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from seq2seq.config.choices import OutputFormat, SearchKind
from seq2seq.config.commands import InferConfig
from seq2seq.config.schema import DecodingConfig
from seq2seq.data.line_reader import Line as InputLine
from seq2seq.data.line_reader import LineReader
from seq2seq.errors import printable
from seq2seq.inference.answers import Prediction
from seq2seq.inference.formats import WRITERS, Line, Write
from seq2seq.inference.notices import Notices
from seq2seq.inference.output_file import opening_output, write_visibly
from seq2seq.inference.predictor import Predictor
from seq2seq.runs.run_dir import RunDir

log = logging.getLogger(__name__)

# Limits of a chunk, the lines that are sorted by length and decoded together. Both bound the memory
# that a long input takes.
CHUNK_BATCHES = 32
CHUNK_CHARACTERS = 2**22

_PATIENCE = 0.01  # seconds that a chunk of at least a batch waits for further lines
_LONG_PAUSE = 0.5  # seconds; a program that waits for its answer is told that there is none yet


def infer(config: InferConfig) -> None:
    """Decodes the input of `infer.py`, line by line, to its output.

    Raises:
        UserError: The run, the input or the output cannot be opened, or the input cannot be read to
            its end.
    """
    predictor = Predictor.load(RunDir.find_all(config.run), config.decoding)
    has_features = predictor.members.has_features
    write = WRITERS[config.format]
    if config.input == "-" and sys.stdin is not None and sys.stdin.isatty():
        _converse(predictor, config, has_features, write)
        return
    chunk_size = CHUNK_BATCHES * predictor.decoding.batch_size
    with ExitStack() as stack:
        target = stack.enter_context(opening_output(config.output))
        reader = LineReader(config.input, f"input={config.input}", config.max_line_bytes)
        lines = (_parse(line.content, config, has_features) for line in _checked(reader))
        numbers, batches = itertools.count(1), 0
        notices = Notices(config.input)
        for chunk in _chunks(lines, chunk_size, _pauses(reader, predictor.decoding)):
            predictions = _answer(predictor, chunk, batches, config.format)
            batches += predictor.count_batches(predictions)
            for line, prediction in zip(chunk, predictions, strict=True):
                number = next(numbers)
                if prediction.problem:
                    log.warning("%s:%d: %s", config.input, number, prediction.problem)
                notices.warn(number, prediction)
                write_visibly(target, write(line, prediction))
            target.flush()
        notices.sum_up()


def _checked(reader: LineReader) -> Iterator[InputLine]:
    """Yields the lines, with a warning if the input has other line ends than line feeds."""
    for line in reader:
        if line.has_carriage_returns:
            log.warning(
                "%s: has CR line ends, so all of it is answered as one line; convert it, e.g. "
                r"with: tr '\r' '\n' < OLD > NEW",
                reader.name,
            )
        yield line


def _pauses(reader: LineReader, decoding: DecodingConfig) -> Callable[[int], bool]:
    """Returns a function that tells whether a chunk of so many lines is answered as it is."""

    def is_pausing(count: int) -> bool:
        # Only a full batch is worth a wait. Decoding it takes longer than that.
        return not reader.is_waiting(_PATIENCE if count >= decoding.batch_size else 0.0)

    @functools.cache
    def tell() -> None:
        log.warning(
            "%s: with decoding=sampling answers wait for more lines or the end of the input",
            reader.name,
        )

    def tell_of_pause(count: int) -> bool:
        # A draw depends on the line's place in its chunk, and must not depend on when lines arrive.
        if not reader.is_waiting(_LONG_PAUSE):
            tell()
        return False

    return tell_of_pause if decoding.kind is SearchKind.sampling else is_pausing


def _chunks(
    lines: Iterator[Line], max_lines: int, is_pausing: Callable[[int], bool]
) -> Iterator[list[Line]]:
    """Yields lists of lines within the limits of a chunk, and at least one line in each.

    A chunk ends early when `is_pausing` tells so of its number of lines.
    """
    chunk: list[Line] = []
    characters = 0
    for line in lines:
        chunk.append(line)
        characters += len(line.source) + len(line.features)
        is_full = len(chunk) == max_lines or characters > CHUNK_CHARACTERS
        if is_full or is_pausing(len(chunk)):
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _answer(
    predictor: Predictor, lines: list[Line], batches_before: int, form: OutputFormat
) -> list[Prediction]:
    predictions = predictor.predict(
        [line.source for line in lines],
        [line.features for line in lines],
        batches_before,
        form is OutputFormat.jsonl,  # with details
    )
    return [
        Prediction([], line.problem) if line.problem else prediction
        for line, prediction in zip(lines, predictions, strict=True)
    ]


def _converse(predictor: Predictor, config: InferConfig, has_features: bool, write: Write) -> None:
    """Answers lines at a prompt until the end of input."""
    import readline  # noqa: F401  (gives `input` line editing and a history)

    print("Type a line and press Enter; Ctrl-D ends.", file=sys.stderr)
    batches, notices = 0, Notices("input")
    for number in itertools.count(1):
        try:
            text = input("> ")
        except EOFError:
            print(file=sys.stderr)
            return
        line = _parse(text.encode("utf-8", "surrogateescape"), config, has_features)
        [prediction] = _answer(predictor, [line], batches, config.format)
        batches += predictor.count_batches([prediction])
        notices.warn(number, prediction)
        answer = prediction.problem or write(line, prediction)
        print(printable(answer), end="\n" * bool(prediction.problem))


def _parse(content: bytes | None, config: InferConfig, has_features: bool) -> Line:
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
