"""The line protocol of `infer.py`: one answer per input line, in order, and nothing else."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import logging
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO

from seq2seq.config.choices import OutputFormat
from seq2seq.config.commands import InferConfig
from seq2seq.errors import UserError
from seq2seq.files import DiskError, read_lines, writing
from seq2seq.inference.predictor import Prediction, Predictor
from seq2seq.runs.run_dir import RunDir

log = logging.getLogger(__name__)

# What is sorted by length together; both bound the memory of a long input.
CHUNKS = 32  # batches
CHUNK_CHARACTERS = 2**22


class Line(NamedTuple):
    """One line of input."""

    source: str
    features: str
    problem: str | None = None


Write = Callable[[Line, Prediction], str]


def infer(config: InferConfig) -> None:
    """Decodes the input of `infer.py` to its output.

    Raises:
        UserError: The run, the input or the output cannot be opened.
    """
    predictor = Predictor.load(RunDir.find(config.run), config.decoding)
    has_features = predictor.vocabularies.features is not None
    write = _WRITERS[config.format]
    if config.input == "-" and sys.stdin.isatty():
        _converse(predictor, config, has_features, write)
        return
    size = CHUNKS * predictor.decoding.batch_size
    with ExitStack() as stack:
        source = stack.enter_context(_open_input(config.input))
        target = stack.enter_context(_open_output(config.output))
        raw_lines = _raw_lines(source, config)
        lines = (_parse(raw, config, has_features) for raw in raw_lines)
        numbers = itertools.count(1)
        try:
            for chunk in _chunks(lines, size):
                for line, prediction in zip(chunk, _answer(predictor, chunk), strict=True):
                    number = next(numbers)
                    if prediction.problem:
                        log.warning("%s:%d: %s", config.input, number, prediction.problem)
                    target.write(write(line, prediction))
        except BrokenPipeError:
            # The reader has seen enough (`| head`); the interpreter's own flush must not complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _chunks(lines: Iterator[Line], most_lines: int) -> Iterator[list[Line]]:
    """Yields as many lines at a time as are decoded together."""
    chunk: list[Line] = []
    characters = 0
    for line in lines:
        chunk.append(line)
        characters += len(line.source) + len(line.features)
        if len(chunk) == most_lines or characters > CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _answer(predictor: Predictor, lines: list[Line]) -> list[Prediction]:
    predictions = predictor.predict(
        [line.source for line in lines], [line.features for line in lines]
    )
    return [
        Prediction([], line.problem) if line.problem else prediction
        for line, prediction in zip(lines, predictions, strict=True)
    ]


def _converse(predictor: Predictor, config: InferConfig, has_features: bool, write: Write) -> None:
    """Answers at a prompt until the end of input."""
    import readline  # noqa: F401  (line editing and history)

    print("Type a line and press Enter; Ctrl-D ends.", file=sys.stderr)
    while True:
        try:
            text = input("> ")
        except EOFError:
            print(file=sys.stderr)
            return
        line = _parse(text.encode("utf-8", "surrogateescape"), config, has_features)
        [prediction] = _answer(predictor, [line])
        print(prediction.problem or write(line, prediction), end="\n" * bool(prediction.problem))


def _open_input(path: str) -> BinaryIO:
    try:
        if path == "-":
            return sys.stdin.buffer
        open_file: Any = gzip.open if path.endswith(".gz") else open
        return open_file(path, "rb")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UserError(f"input={path}: {getattr(error, 'strerror', None) or error}") from error


def _raw_lines(source: BinaryIO, config: InferConfig) -> Iterator[bytes | None]:
    """Yields lines without their end, None for an overlong one; only \\n (or \\r\\n) ends a line.

    Raises:
        UserError: The input cannot be read further.
    """
    try:
        for number, raw in enumerate(read_lines(source, config.max_line_bytes)):
            if raw is None:
                yield None
                continue
            line = raw.removesuffix(b"\n").removesuffix(b"\r")
            yield line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"input={config.input}: cannot be read to its end: {error}") from error


def _parse(raw: bytes | None, config: InferConfig, has_features: bool) -> Line:
    """Cuts the source and the features out of a line."""
    if raw is None:
        return Line("", "", f"the line has more than max_line_bytes={config.max_line_bytes} bytes")
    try:
        columns = raw.decode("utf-8").split("\t")
    except UnicodeDecodeError as error:
        return Line(
            "", "", f"not UTF-8: byte 0x{raw[error.start]:02x} at position {error.start + 1}"
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


@contextlib.contextmanager
def _open_output(path: str) -> Iterator[TextIO]:
    """Opens standard output, or a file that gets its name only when it is complete.

    Raises:
        UserError: The file cannot be written.
    """
    if path == "-":
        # Predictions end with \n and are UTF-8 whatever the locale.
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
        yield sys.stdout
        sys.stdout.flush()
        return
    if not Path(path).parent.is_dir():
        raise UserError(f"output={path}: there is no folder {Path(path).parent}")
    try:
        with writing(Path(path)) as temporary, temporary.open("w", encoding="utf-8",
                                                              newline="\n") as file:  # fmt: skip
            yield file
    except DiskError as error:
        raise UserError(f"output={error}") from error


def _as_text(line: Line, prediction: Prediction) -> str:
    return f"{prediction.text}\n"


def _as_tsv(line: Line, prediction: Prediction) -> str:
    if prediction.problem:
        return f"{line.source}\t0\t\t{prediction.problem}\n"
    rows: Iterable[str] = (
        f"{line.source}\t{rank}\t{_field(hypothesis.text)}\t{hypothesis.score:.6f}\n"
        for rank, hypothesis in enumerate(prediction.hypotheses, start=1)
    )
    return "".join(rows)


def _field(text: str) -> str:
    # Only a vocabulary of another's making has tokens with tabs.
    return text.replace("\t", " ")


def _as_jsonl(line: Line, prediction: Prediction) -> str:
    answer: dict[str, object] = {"source": line.source}
    if line.features:
        answer["features"] = line.features
    if prediction.problem:
        answer["error"] = prediction.problem
    answer["predictions"] = [
        {"text": hypothesis.text, "score": round(hypothesis.score, 6)}
        for hypothesis in prediction.hypotheses
    ]
    return json.dumps(answer, ensure_ascii=False) + "\n"


_WRITERS: dict[OutputFormat, Write] = {
    OutputFormat.text: _as_text,
    OutputFormat.tsv: _as_tsv,
    OutputFormat.jsonl: _as_jsonl,
}
