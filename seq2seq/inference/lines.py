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
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from seq2seq.config.choices import SearchKind
from seq2seq.config.commands import InferConfig
from seq2seq.config.schema import DecodingConfig
from seq2seq.data.line_reader import LineReader
from seq2seq.errors import UserError, printable
from seq2seq.inference.answers import Prediction
from seq2seq.inference.chunks import (
    answer,
    check_inputs,
    input_paths,
    open_table,
    parse,
    read_chunks,
)
from seq2seq.inference.formats import WRITERS, write_all
from seq2seq.inference.notices import Notices
from seq2seq.inference.output_file import opening_output, write_visibly

log = logging.getLogger(__name__)

_PATIENCE = 0.01  # seconds that a chunk of at least a batch waits for further lines
_LONG_PAUSE = 0.5  # seconds; a program that waits for its answer is told that there is none yet


class Answering(Protocol):
    """What answers lines: a `Predictor`, or what takes its place."""

    @property
    def decoding(self) -> DecodingConfig:
        """The settings of the search."""

    @property
    def has_features(self) -> bool:
        """Whether it reads features."""

    def predict(
        self,
        sources: list[str],
        features: list[str],
        batches_before: int,
        with_details: bool,
    ) -> list[Prediction]:
        """Answers lines, see `Predictor.predict`."""

    def count_batches(self, predictions: Sequence[Prediction]) -> int:
        """Returns the number of batches that these answers took."""


def infer(config: InferConfig, opening: AbstractContextManager[Answering]) -> None:
    """Decodes the inputs of `infer.py`, line by line, to its output.

    Args:
        config: The settings.
        opening: Opens the runs.

    Raises:
        UserError: The run, an input or the output cannot be opened, or an input cannot be read to
            its end.
    """
    paths = input_paths(config)
    check_inputs(paths)
    with opening as predictor:
        if paths == ["-"] and sys.stdin is not None and sys.stdin.isatty():
            _converse(predictor, config)
        else:
            _decode(predictor, paths, config)


def _decode(predictor: Answering, paths: Sequence[str], config: InferConfig) -> None:
    """Answers all lines of the inputs."""
    with opening_output(config.output) as target:
        for path in paths:
            for text in _answers(predictor, path, config):
                write_visibly(target, text)
                target.flush()


def _answers(predictor: Answering, path: str, config: InferConfig) -> Iterator[str]:
    """Yields the answers to an input, chunk by chunk."""
    batches, notices = 0, Notices(path)
    size, has_features = predictor.decoding.batch_size, predictor.has_features
    table = open_table(path, config, has_features)
    is_pausing = _pauses(table.reader, predictor.decoding)
    for chunk in read_chunks(table, config, has_features, size, is_pausing):
        predictions = answer(predictor.predict, chunk, batches, config.format)
        batches += predictor.count_batches(predictions)
        for line, prediction in zip(chunk, predictions, strict=True):
            notices.tell(line.number, prediction)
        yield write_all(chunk, predictions, config.format)
    notices.sum_up()


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


def _converse(predictor: Answering, config: InferConfig) -> None:
    """Answers lines at a prompt until the end of input."""
    import readline  # noqa: F401  (gives `input` line editing and a history)

    print("Type a line and press Enter; Ctrl-D ends.", file=sys.stderr)
    has_features = predictor.has_features
    table = open_table("-", config, has_features)
    if table.has_header:
        raise UserError(f"source.column={config.source.column}: a prompt has no columns by name")
    batches, notices = 0, Notices("input")
    for number in itertools.count(1):
        try:
            text = input("> ")
        except EOFError:
            print(file=sys.stderr)
            return
        content = text.encode("utf-8", "surrogateescape")
        line = parse(content, table, config, has_features)
        [prediction] = answer(predictor.predict, [line], batches, config.format)
        batches += predictor.count_batches([prediction])
        notices.warn(number, prediction)
        shown = prediction.problem or WRITERS[config.format](line, prediction)
        print(printable(shown), end="\n" * bool(prediction.problem))
