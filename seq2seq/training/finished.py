"""Recognition of runs that are finished: by their newest checkpoint and their results."""

from __future__ import annotations

from typing import Any, NamedTuple

from seq2seq.config.schema import TrainingConfig
from seq2seq.errors import UserError
from seq2seq.runs.checkpoints import Checkpoints
from seq2seq.runs.run_dir import RunDir
from seq2seq.training.progress import Progress


class Finished(NamedTuple):
    """A finished run: the content of its `results.json`, and why it ended or how to go on."""

    results: dict[str, Any]
    way_on: str


def find_finished(run: RunDir, settings: TrainingConfig) -> Finished | None:
    """Returns the end of a run if nothing of it is left to do with these settings, or None."""
    try:
        results = run.load_results()
        _, progress = Checkpoints(run.checkpoints, settings.checkpoints_kept).load_newest(
            lambda arrays: Progress.from_json(arrays["progress"].tobytes())
        )
        # A run that is being trained longer still has its earlier results.
        if results["epochs"] != progress.epoch or not progress.is_finished(settings):
            return None
    except (UserError, KeyError):
        return None
    if settings.epochs and progress.epoch >= settings.epochs:
        way_on = f"to train longer, add training.epochs={2 * settings.epochs}"
    elif progress.is_stopped:
        way_on = "a callback ended it"
    else:
        way_on = "to train longer, add training.patience=null"
    return Finished(results, way_on)
