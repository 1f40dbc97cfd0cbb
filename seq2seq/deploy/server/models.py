"""The models that a server is started with, by name."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

from seq2seq.config.commands import ServeConfig
from seq2seq.deploy.server.served import Model
from seq2seq.errors import UserError
from seq2seq.runs.run_dir import RunDir

log = logging.getLogger(__name__)

DEFAULT = "default"
"""The name of the model of `run=` or `export=`."""

_MAX_EXAMPLES = 200


def has_runs(config: ServeConfig) -> bool:
    """Tells whether a model needs TensorFlow."""
    return any(not _is_export(one) for one in _named(config).values())


def load_models(config: ServeConfig) -> dict[str, Model]:
    """Loads all models, the default one first.

    Raises:
        UserError: None is named, or one cannot be loaded.
    """
    found = _named(config)
    if not found:
        raise UserError("run is not set; add run=... or export=... to the command line")
    return {
        name: _load_export(name, str(one), config)
        if _is_export(one)
        else _load_run(name, one, config)
        for name, one in found.items()
    }


def _named(config: ServeConfig) -> dict[str, Any]:
    if config.run is not None and config.export is not None:
        raise UserError("run and export: name one of them, or several models as models.NAME=...")
    if config.export is not None and not _is_export(config.export):
        raise UserError(f"export={config.export} is not an exported folder: it has no model.json")
    default = config.run if config.run is not None else config.export
    return ({} if default is None else {DEFAULT: default}) | config.models


def _is_export(name: Any) -> bool:
    return isinstance(name, str) and (Path(name) / "model.json").is_file()


def _load_export(name: str, folder: str, config: ServeConfig) -> Model:
    from seq2seq.deploy.server.exported_model import ExportedModel

    for setting in ("reject_below", "lexicon", "answers"):
        if getattr(config.decoding, setting) is not None:
            raise UserError(f"decoding.{setting} needs a run: {name} is an export")
    changes = {
        field.name: value
        for field in dataclasses.fields(config.decoding)
        if (value := getattr(config.decoding, field.name)) is not None
    }
    if "kind" in changes:
        changes["kind"] = str(changes["kind"])
    return ExportedModel(name, folder, changes)


def _load_run(name: str, runs: Any, config: ServeConfig) -> Model:
    from seq2seq.deploy.server.trained_model import TrainedModel
    from seq2seq.inference.predictor import Predictor

    opened = RunDir.find_all(runs)
    predictor = Predictor.load(opened, config.decoding)
    return TrainedModel(
        name, predictor, opened[0].dev_sources(_MAX_EXAMPLES), config.max_batch_rows
    )
