"""The report of a finished training, in its run folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from seq2seq.data.examples import Example
from seq2seq.evaluation.evaluate_model import ScoredExample
from seq2seq.evaluation.report import Material, make_report
from seq2seq.files import write_text
from seq2seq.inference.predictor import Predictor
from seq2seq.runs.run_dir import RunDir
from seq2seq.training.screen import Screen, short_path

log = logging.getLogger(__name__)


def write_report(
    screen: Screen,
    run: RunDir,
    results: Mapping[str, Any],
    dev: Sequence[ScoredExample],
    train: Sequence[Example],
    predictor: Predictor,
) -> None:
    """Writes `report.html`; a failure is told, and costs no more than the page.

    Args:
        screen: Shows where it is.
        run: The run folder.
        results: The content of `results.json`.
        dev: The decoded dev examples. A report shows no test examples: who reads them would tune
            to them.
        train: The training examples.
        predictor: Has the best model.
    """
    best = results["best_epoch"]
    material = Material(
        results={name: results[name] for name in ("dev", "test") if name in results},
        split="dev",
        scored=dev,
        train=train,
        rows=run.load_metrics(),
        best_epoch=best,
    )
    subtitle = (
        f"Run {run.path}: {results['parameters']:,} parameters, best epoch {best} of "
        f"{results['epochs']}, {results['seconds']:,.0f} seconds, "
        f"seq2seq {results['versions']['seq2seq']}"
    )
    try:
        page = make_report(run.short_name, subtitle, material, predictor)
        write_text(run.report, page)
    except Exception as error:  # The run is finished and saved; only its page is missing.
        log.warning("%s was not written: %s", run.report, error)
    else:
        screen.rows({"report": short_path(run.report)})
