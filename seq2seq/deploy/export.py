"""Export of a run: a folder in one of the formats, written whole or not at all."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

from seq2seq.config.checks import check_decoding
from seq2seq.config.choices import ExportFormat
from seq2seq.config.commands import ExportConfig
from seq2seq.config.resolve import complete_decoding
from seq2seq.config.schema import DecodingConfig, RunConfig
from seq2seq.deploy.trained import Format, Trained
from seq2seq.errors import UserError
from seq2seq.files import DiskError, local_path
from seq2seq.runs.calibration_file import load_temperature
from seq2seq.runs.ensemble_dir import EnsembleDir
from seq2seq.runs.run_dir import RunDir

_SHOWN = 2  # examples that a folder shows
_MAX_BYTES = 2**16  # of the file that they are in


def export(config: ExportConfig) -> Path:
    """Exports a run, prints the folder, and returns it.

    Raises:
        UserError: The run cannot be loaded; the format cannot have this model, or lacks a package;
            or the folder is not empty, or cannot be written.
    """
    run = _find(config.run)
    output = local_path(config.output) if config.output else run.path / "export" / config.format
    _refuse_filled(output)
    settings = run.load_config()
    decoding = complete_decoding(config.decoding, settings.decoding)
    check_decoding(decoding)
    made = format_named(config.format)
    made.check(decoding)
    trained = _load(run, settings, decoding, config.license)
    _write(made, trained, output)
    print(output)
    return output


def format_named(name: ExportFormat) -> Format:
    """Returns the `FORMAT` of the file of `formats/` that is named like the word."""
    found: Format = importlib.import_module(f"seq2seq.deploy.formats.{name}").FORMAT
    return found


def _find(name: str) -> RunDir:
    if name != "latest" and EnsembleDir(Path(name)).exists:
        raise UserError(f"run={name} is an ensemble: export its members one by one")
    return RunDir.find(name)


def _refuse_filled(output: Path) -> None:
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UserError(f"output={output} already exists and is not an empty folder; name another")


def _load(run: RunDir, config: RunConfig, decoding: DecodingConfig, license: str) -> Trained:
    from seq2seq.hardware import load_tensorflow

    load_tensorflow()
    from seq2seq.deploy.graph import make_graph
    from seq2seq.inference.members import Member

    member = Member.load(run, config)
    temperature = load_temperature(run)
    graph = make_graph(member.model, member.vocabularies, member.data, decoding, temperature)
    return Trained(
        name=run.short_name,
        config=config,
        record=run.load_record() if run.record.is_file() else {},
        results=run.load_results() if run.results.is_file() else {},
        examples=_examples(run),
        license=license,
        model=member.model,
        graph=graph,
    )


def _examples(run: RunDir) -> list[tuple[str, str]]:
    """Returns the first sources of the decoded dev set, with their features."""
    path = run.predictions / "dev.tsv"
    if not path.is_file():
        return []
    with path.open("rb") as file:
        text = file.read(_MAX_BYTES).decode("utf-8", "replace")
    header, *rows = (line.split("\t") for line in text.split("\n"))
    if header[:2] != ["source", "features"]:  # The run is of an earlier version.
        return []
    return [(row[0], row[1]) for row in rows[:_SHOWN] if len(row) == len(header)]


def _write(made: Format, trained: Trained, output: Path) -> None:
    """Writes the folder under another name, which is then changed: it is whole or not there."""
    temporary = output.with_name(f".tmp.{output.name}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)  # of an export that was killed
        temporary.mkdir(parents=True)
        made.write(trained, temporary)
        temporary.replace(output)
    except OSError as error:
        raise DiskError(f"{output}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
