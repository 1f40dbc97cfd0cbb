"""Bulk decoding: `infer.py` over many files, by several processes, resumable after a kill.

The inputs are cut into the chunks of a single pass, and the answers to a chunk are a file, a part.
A command that is started again finds the parts that are there, and decodes the others. Each output
is joined from its parts; they are removed at the end.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from seq2seq.config.choices import SearchKind
from seq2seq.config.commands import InferConfig
from seq2seq.config.program import log_to_standard_error, prepare
from seq2seq.config.resolve import complete_decoding
from seq2seq.data.line_reader import is_compressed
from seq2seq.errors import UserError
from seq2seq.files import DiskError, local_path, locked, writing
from seq2seq.inference.answers import Prediction
from seq2seq.inference.chunks import (
    answer,
    check_inputs,
    input_paths,
    open_table,
    read_chunks,
)
from seq2seq.inference.formats import Line, write_all
from seq2seq.inference.notices import Notices
from seq2seq.inference.parts import copy_answers, fingerprint, name_of, write_part
from seq2seq.inference.workers import Done, Task, Workers
from seq2seq.runs.run_dir import RunDir

if TYPE_CHECKING:
    from seq2seq.inference.bulk_progress import BulkProgress
    from seq2seq.inference.predictor import Predictor

log = logging.getLogger(__name__)


class Input(NamedTuple):
    """An input, and the file for its answers, which other inputs may share."""

    path: str
    output: Path


def is_bulk(config: InferConfig) -> bool:
    """Tells whether these settings of `infer.py` ask for bulk decoding."""
    if config.jobs is not None or config.output == "-":
        return config.jobs is not None
    return _is_folder(config.output) or len(input_paths(config)) > 1


def decode_in_bulk(config: InferConfig) -> None:
    """Decodes the inputs of `infer.py` to its output, a file or a folder.

    Raises:
        UserError: The run, an input or the output cannot be opened, or an input cannot be read to
            its end; or processes were killed again and again.
    """
    from seq2seq.inference.bulk_progress import BulkProgress

    inputs = _inputs(config)
    runs = RunDir.find_all(config.run)
    workers = Workers(functools.partial(_decode, config, runs), config.jobs or 1)
    began, joined = time.monotonic(), set()
    with _parts_of(config.output) as folder, BulkProgress([one.path for one in inputs]) as progress:
        done = workers.decode(_tasks(inputs, config, runs, folder))
        told = _told(inputs, done, progress)
        for output, group in itertools.groupby(told, lambda task: inputs[task.source].output):
            _join([task.part for task in group], output)
            joined.add(output)
        for output in {one.output for one in inputs} - joined:
            _join([], output)  # Its inputs have no lines.
    found = f" ({progress.found:,} were decoded before)" if progress.found else ""
    seconds = time.monotonic() - began
    log.info("%s lines%s in %.0f seconds: %s", f"{progress.lines:,}", found, seconds, config.output)


def _inputs(config: InferConfig) -> list[Input]:
    """Returns the inputs with the files for their answers.

    Raises:
        UserError: An output would be written over an input or another output, or is not a file; or
            an input cannot be opened.
    """
    paths = input_paths(config)
    if config.output == "-":
        raise UserError(f"jobs={config.jobs}: needs output=FILE or output=FOLDER/")
    target = local_path(config.output)
    if _is_folder(config.output):
        inputs = [Input(path, target / _name_in_folder(path)) for path in paths]
    else:
        inputs = [Input(path, target) for path in paths]
    read = {local_path(path).resolve() for path in paths if path != "-"}
    taken: dict[Path, str] = {}
    for path, output in inputs:
        if output.exists() and not output.is_file():
            raise UserError(f"output={output}: is not a file, so it cannot be resumed")
        if output.resolve() in read:
            raise UserError(f"output={output}: is an input; choose another folder")
        if _is_folder(config.output) and (other := taken.setdefault(output, path)) != path:
            raise UserError(f"{other} and {path} would have one output, {output}")
    check_inputs(paths)
    return inputs


def _is_folder(output: str) -> bool:
    return output.endswith("/") or local_path(output).is_dir()


def _name_in_folder(path: str) -> str:
    name = Path(path).name
    return "stdin" if path == "-" else name[:-3] if is_compressed(name) else name


@contextlib.contextmanager
def _parts_of(output: str) -> Iterator[Path]:
    """Yields the folder for parts, inside the output's or beside it.

    It is removed at the end, and after an error if it has no parts.

    Raises:
        UserError: It cannot be made, or another process works in it.
    """
    target = local_path(output)
    folder = target / ".parts" if _is_folder(output) else target.with_name(f"{target.name}.parts")
    if not _is_folder(output) and not target.parent.is_dir():
        raise UserError(f"output={output}: there is no folder {target.parent}")
    is_done = False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder, "decoding"):
            try:
                yield folder
                is_done = True
            finally:
                if is_done or not any(path.name[0] != "." for path in folder.iterdir()):
                    shutil.rmtree(folder, ignore_errors=True)
    except (DiskError, OSError) as error:
        raise UserError(f"output={output}: {error}") from error
    finally:
        if not is_done and _is_folder(output):
            with contextlib.suppress(OSError):
                target.rmdir()  # An error leaves no empty folder.


def _tasks(
    inputs: Sequence[Input], config: InferConfig, runs: Sequence[RunDir], folder: Path
) -> Iterator[Task]:
    """Yields the chunks of all inputs in order.

    Raises:
        UserError: An input cannot be opened, or cannot be read to its end.
    """
    decoding = complete_decoding(config.decoding, runs[0].load_config().decoding)
    has_features = any(run.feature_vocabulary.is_file() for run in runs)
    model = fingerprint(config, runs)
    count = _counter(config, runs) if decoding.kind is SearchKind.sampling else lambda lines: 0
    for source, (path, _) in enumerate(inputs):
        table = open_table(path, config, has_features)
        batches = 0
        for lines in read_chunks(table, config, has_features, decoding.batch_size):
            part = folder / name_of(model, lines, batches)
            yield Task(lines, batches, part, source)
            batches += count(lines)


def _counter(config: InferConfig, runs: Sequence[RunDir]) -> Callable[[list[Line]], int]:
    """Returns a function that counts the batches of a chunk without decoding it.

    The random numbers of sampling follow from the number of a batch in its input, and lines that
    are refused are in no batch.
    """
    predictor = _load(config, runs)

    def count(lines: list[Line]) -> int:
        texts = [line.source for line in lines], [line.features for line in lines]
        return predictor.count_batches(predictor.without_search(*texts))

    return count


def _told(inputs: Sequence[Input], done: Iterable[Done], progress: BulkProgress) -> Iterator[Task]:
    """Yields tasks that are done, after their lines were counted and the user was told of them."""
    for source, group in itertools.groupby(done, lambda one: one.task.source):
        notices = Notices(inputs[source].path)
        for task, remarks, is_found in group:
            for place, problem, unknown, is_rejected in remarks:
                remarked = Prediction([], problem, tuple(unknown), is_rejected=is_rejected)
                notices.tell(task.lines[place].number, remarked)
            notices.skip(len(task.lines) - len(remarks))
            progress.add(len(task.lines), is_found)
            yield task
        notices.sum_up()


def _join(parts: Sequence[Path], output: Path) -> None:
    """Writes the answers of parts to a file, atomically."""
    with writing(Path(os.path.realpath(output))) as temporary, temporary.open("wb") as file:
        for part in parts:
            copy_answers(part, file)


_loaded: list[Predictor] = []  # one, in a process that decodes


def _decode(config: InferConfig, runs: Sequence[RunDir], task: Task) -> None:
    """Writes the part of a task; in a process of `Workers`."""
    if not _loaded:
        log_to_standard_error()
        _loaded.append(_load(config, runs))
    [predictor] = _loaded
    predictions = answer(predictor.predict, task.lines, task.batches_before, config.format)
    write_part(task.part, predictions, write_all(task.lines, predictions, config.format))


def _load(config: InferConfig, runs: Sequence[RunDir]) -> Predictor:
    prepare(config.device, is_shown=False)  # The bar is shown.
    from seq2seq.inference.predictor import Predictor

    return Predictor.load(runs, config.decoding)
