"""Reproduction of a run: trains it again from its record, and compares the two bit by bit."""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from seq2seq.config.commands import ReproduceConfig
from seq2seq.evaluation.evaluate_model import prediction_texts
from seq2seq.runs.provenance import differences_of_records, make_record, refuse_other_data
from seq2seq.runs.run_dir import RunDir
from seq2seq.training.keras_objects import refuse_foreign_code
from seq2seq.training.run import train

log = logging.getLogger(__name__)

Weights = dict[str, npt.NDArray[Any]]
Rows = list[dict[str, str]]

_TIMED = ("seconds", "examples_per_second")


def reproduce(config: ReproduceConfig) -> list[str]:
    """Trains `config.run` again, and returns the differences, one line each.

    Compares the best weights, the metrics of every epoch, the results and the predictions, but not
    the times. Other versions, threads or hosts than in the record are logged first: they are the
    usual reason for a difference.

    Raises:
        UserError: There is no such run, or its data files have changed.
    """
    run = RunDir.find(config.run)
    settings, record = run.load_config(), run.load_record()
    if not config.trust:
        refuse_foreign_code([settings.optimizer, settings.callbacks.extra], run.config_file)
    refuse_other_data(record, settings.data)
    for difference in differences_of_records(record, make_record(settings)):
        log.warning("differs from the record: %s", difference)
    for change in record.get("changes", []):
        log.warning("changed in the course of the run, now from its beginning: %s", change)
    # The settings are resolved but for a few, so that they mean the same on this machine.
    output = Path(config.output or f"{run.path}_reproduced")
    train(dataclasses.replace(settings, run_dir=str(output)), output)
    return list(differences(run, RunDir.open(output)))


def differences(a: RunDir, b: RunDir) -> Iterator[str]:
    """Yields the differences between two finished runs, one line each."""
    yield from _different_weights(_weights(a.best_weights), _weights(b.best_weights))
    yield from _different_rows(_rows(a.metrics), _rows(b.metrics))
    results = [json.loads(run.results.read_text(encoding="utf-8")) for run in (a, b)]
    for name in ("dev", "test", "parameters", "epochs", "best_epoch"):
        one, other = (found.get(name) for found in results)
        if one != other:
            yield f"results, {name}: {one} and {other}"
    for path in sorted(a.predictions.glob("*.tsv")):
        other_path = b.predictions / path.name
        if not other_path.is_file() or _texts(path) != _texts(other_path):
            yield f"predictions/{path.name}"


def _different_weights(a: Weights, b: Weights) -> Iterator[str]:
    for name in sorted(a.keys() | b.keys()):
        if name not in a or name not in b or a[name].shape != b[name].shape:
            yield f"weights {name}: only in one of the runs, or of another shape"
        elif not np.array_equal(a[name], b[name]):
            yield f"weights {name}: by up to {np.abs(a[name] - b[name]).max():.3g}"


def _different_rows(a: Rows, b: Rows) -> Iterator[str]:
    if len(a) != len(b):
        yield f"epochs: {len(a)} and {len(b)}"
    for one, other in zip(a, b, strict=False):
        for name in sorted((one.keys() | other.keys()) - {*_TIMED}):
            if one.get(name) != other.get(name):
                values = f"{one.get(name)} and {other.get(name)}"
                yield f"metrics of epoch {one['epoch']}, {name}: {values}"


def _texts(path: Path) -> str:
    return prediction_texts(path.read_text(encoding="utf-8"))


def _weights(path: Path) -> Weights:
    found: Weights = {}

    def keep(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(keep)
    return found


def _rows(path: Path) -> Rows:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
