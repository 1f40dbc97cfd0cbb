"""Export of a run: a folder in each of the formats, written whole or not at all, and compared."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

from seq2seq.config.checks import check_decoding
from seq2seq.config.choices import ExportFormat
from seq2seq.config.commands import ExportConfig
from seq2seq.config.resolve import complete_decoding
from seq2seq.config.schema import RunConfig
from seq2seq.deploy.comparison import compare_answers
from seq2seq.deploy.kinds import refuse_unknown
from seq2seq.deploy.standalone.request import SEARCHES
from seq2seq.deploy.trained import Format, Trained
from seq2seq.errors import UserError
from seq2seq.files import DiskError, local_path
from seq2seq.runs.run_dir import RunDir

_COMPARED = 64  # examples of the dev set


def export(config: ExportConfig) -> list[Path]:
    """Exports a run or an ensemble, prints the folders, and returns them.

    What each folder answers to some of the run's dev examples is compared with the run's answers.

    Raises:
        UserError: The run cannot be loaded; a format cannot have this model, or lacks a package; a
            folder is not empty, or cannot be written; or it answers otherwise than the run.
    """
    runs = RunDir.find_all(config.run)
    formats = config.format if isinstance(config.format, list) else [config.format]
    outputs = {word: _output(config, runs, word, len(formats)) for word in formats}
    for output in outputs.values():
        _refuse_filled(output)
    made = {word: format_named(word) for word in formats}
    settings = [run.load_config() for run in runs]
    decoding = complete_decoding(config.decoding, settings[0].decoding)
    check_decoding(decoding)
    for word, one in made.items():
        _refuse_missing(word, one)
        refuse_unknown(word, "decoding.kind", decoding.kind, SEARCHES)
    trained = _load(runs, settings[0], config)
    for one in made.values():
        one.check(trained)
    for word, output in outputs.items():
        _write(made[word], trained, output)
        print(output)
    return [*outputs.values()]


def format_named(name: ExportFormat) -> Format:
    """Returns the `FORMAT` of the file of `formats/` that is named like the word."""
    found: Format = importlib.import_module(f"seq2seq.deploy.formats.{name}").FORMAT
    return found


def _output(config: ExportConfig, runs: list[RunDir], word: str, count: int) -> Path:
    name = f"{word}_{config.quantize}" if config.quantize else word
    if config.output:
        output = local_path(config.output)
        return output / name if count > 1 else output
    if len(runs) > 1:
        raise UserError("output is not set; an ensemble has no run folder: add output=FOLDER")
    return runs[0].derived / "export" / name


def _refuse_filled(output: Path) -> None:
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UserError(f"output={output} already exists and is not an empty folder; name another")


def _refuse_missing(word: str, made: Format) -> None:
    for package in made.needs:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise UserError(
                f'format={word} needs {package}: pip install "seq2seq[{made.extra}]"'
            ) from error


def _load(runs: list[RunDir], settings: RunConfig, config: ExportConfig) -> Trained:
    from seq2seq.hardware import load_tensorflow

    load_tensorflow()
    from seq2seq.deploy.float32 import in_float32
    from seq2seq.deploy.graph import make_graph
    from seq2seq.inference.predictor import Predictor

    predictor = in_float32(Predictor.load(runs, config.decoding))
    first, is_alone = runs[0], len(runs) == 1
    temperature = predictor.observer.temperature
    return Trained(
        name=first.short_name,
        config=settings,
        record=first.load_record() if first.record.is_file() else {},
        results=first.load_results() if is_alone and first.results.is_file() else {},
        examples=first.dev_sources(_COMPARED),
        license=config.license,
        quantize=config.quantize,
        predictor=predictor,
        graph=make_graph(predictor.members.all, predictor.decoding, temperature),
    )


def _write(made: Format, trained: Trained, output: Path) -> None:
    """Writes the folder under another name, which is then changed: it is whole or not there."""
    temporary = output.with_name(f".tmp.{output.name}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)  # of an export that was killed
        temporary.mkdir(parents=True)
        made.write(trained, temporary)
        compare_answers(made, trained, temporary)
        temporary.replace(output)
    except OSError as error:
        raise DiskError(f"{output}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
