"""Reproduction of a run: trains it again from its record, and compares the two bit by bit."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from seq2seq.config.choices import Strategy
from seq2seq.config.commands import ReproduceConfig
from seq2seq.errors import UserError, visible
from seq2seq.evaluation.evaluate_model import prediction_texts
from seq2seq.files import read_text
from seq2seq.runs.provenance import differences_of_records, make_record, refuse_other_data
from seq2seq.runs.run_dir import RunDir
from seq2seq.runs.weights import read_arrays
from seq2seq.training.keras_objects import refuse_foreign_code
from seq2seq.training.run import train

log = logging.getLogger(__name__)

Weights = dict[str, npt.NDArray[Any]]
Rows = list[dict[str, str]]

_MAX_LINE = 1000  # characters of a difference
_MAX_PREDICTION_BYTES = 2**30
_COMPUTED_SINCE = ("exposure_gap", "intervals")  # of other scores and the predictions
_TIMED = ("seconds", "examples_per_second")


def reproduce(config: ReproduceConfig) -> list[str]:
    """Trains `config.run` again, and returns the differences, one line each.

    Compares the best weights, the metrics of every epoch, the results and the predictions, but not
    the times. Other versions, threads or hosts than in the record are logged first: they are the
    usual reason for a difference.

    Raises:
        UserError: There is no such run, it is damaged, or its data files have changed.
    """
    run = RunDir.find(config.run)
    settings, record = run.load_config(), run.load_record()
    if not config.trust:
        refuse_foreign_code([settings.optimizer, settings.callbacks.extra], run.config_file)
    if settings.training.strategy is Strategy.multi_worker:
        raise UserError(
            f"run={run.path}: several workers trained it, and reproduce starts one process; train "
            "it again with workers=N, and compare the two with seq2seq.compare"
        )
    before = Outcome.of(run)  # now: a damaged file is not found out after hours of training
    refuse_other_data(record, settings.data, settings.data)
    for difference in differences_of_records(record, make_record(settings)):
        log.warning("differs from the record: %s", difference)
    for change in record["changes"]:
        log.warning("changed in the course of the run, now from its beginning: %s", change)
    # The settings are resolved but for a few, so that they mean the same on this machine.
    output = Path(config.output or f"{run.path}_reproduced")
    train(dataclasses.replace(settings, run_dir=str(output)), output)
    found = differences(before, Outcome.of(RunDir.open(output)))
    return [visible(line, _MAX_LINE) for line in found]


class Outcome(NamedTuple):
    """All numbers and texts of a finished run that a repetition must equal.

    Attributes:
        weights: The arrays of the best weights, by name.
        rows: The table of `metrics.csv`.
        results: The content of `results.json`.
        predictions: The texts of each file of predictions, by its name.
    """

    weights: Weights
    rows: Rows
    results: dict[str, Any]
    predictions: dict[str, str]

    @classmethod
    def of(cls, run: RunDir) -> Outcome:
        """Reads it from a run folder.

        Raises:
            UserError: The run is not finished, or a file is damaged.
        """
        predictions = {}
        for path in sorted(run.predictions.glob("*.tsv")):
            predictions[path.name] = prediction_texts(read_text(path, _MAX_PREDICTION_BYTES))
        return cls(
            read_arrays(run.best_weights), run.load_metrics(), run.load_results(), predictions
        )


def differences(a: Outcome, b: Outcome) -> Iterator[str]:
    """Yields the differences between two finished runs, one line each."""
    yield from _different_weights(a.weights, b.weights)
    yield from _different_rows(a.rows, b.rows)
    for name in ("dev", "test", "parameters", "epochs", "best_epoch"):
        one, other = (_scores(outcome.results.get(name)) for outcome in (a, b))
        if one != other:
            yield f"results, {name}: {one} and {other}"
    for name in sorted(a.predictions.keys() | b.predictions.keys()):
        if a.predictions.get(name) != b.predictions.get(name):
            yield f"predictions/{name}"


def _scores(part: Any) -> Any:
    """Returns a part of the results without what earlier versions do not compute."""
    if not isinstance(part, dict):
        return part
    return {name: value for name, value in part.items() if name not in _COMPUTED_SINCE}


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
