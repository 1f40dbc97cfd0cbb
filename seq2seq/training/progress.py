"""Training counters, best epoch and early stopping."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seq2seq.config.choices import Monitor
from seq2seq.config.schema import TrainingConfig
from seq2seq.evaluation.metrics import METRICS
from seq2seq.model.losses import TokenSums
from seq2seq.runs.saved_progress import check_progress


@dataclass(frozen=True)
class Progress:
    """An immutable record of how far a training has come; its methods return the next one.

    With the variables and the best weights it is all that a stopped training needs to resume. The
    fields' names are part of the checkpoint format.

    Attributes:
        has_begun: Whether callbacks were told that training begins. Older checkpoints lack it.
        epoch: Finished epochs.
        step: Finished steps of the present epoch.
        sums: Sums over these steps, in the order of `TokenSums`; empty before the first.
        epoch_seconds: Time spent on these steps.
        seconds: Time spent on the finished epochs, with their evaluation.
        best_epoch: Number of the best epoch so far, from 1; 0: none was evaluated.
        best_value: The rank of its monitored metric, see `Metric.rank`.
        best_loss: Its dev loss.
        evaluations_without_better: Evaluations since the monitored metric last improved.
        is_stopping: Whether a callback has asked to stop after the present epoch.
        is_stopped: Whether a callback ended the training.
        rows: The table of `metrics.csv`, one row per finished epoch.
        callbacks: Attributes of the user's callbacks, by the callbacks' names; `Saved.tree` each.
            Only the text of a checkpoint has them up to date, see `state.to_arrays`.
    """

    has_begun: bool = False
    epoch: int = 0
    step: int = 0
    sums: tuple[float, ...] = ()
    epoch_seconds: float = 0.0
    seconds: float = 0.0
    best_epoch: int = 0
    best_value: float | None = None
    best_loss: float = math.inf
    evaluations_without_better: int = 0
    is_stopping: bool = False
    is_stopped: bool = False
    rows: tuple[dict[str, Any], ...] = ()
    callbacks: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_json(cls, text: str | bytes) -> Progress:
        """Reads the text of `to_json`.

        Raises:
            ValueError: The text is not the progress of a training.
        """
        try:
            found = cls(**json.loads(text))
            # JSON has lists only.
            found = dataclasses.replace(found, sums=tuple(found.sums), rows=tuple(found.rows))
        except (TypeError, RecursionError) as error:
            raise ValueError(f"not the progress of a training: {error}") from error
        check_progress(vars(found), len(TokenSums._fields))
        return found

    def to_json(self) -> str:
        """Returns the fields as JSON text, numbers to the last bit."""
        return json.dumps(dataclasses.asdict(self))

    def add_steps(self, count: int, sums: Sequence[float], seconds: float) -> Progress:
        """Counts finished steps of the present epoch.

        Args:
            count: Number of steps.
            sums: `TokenSums` over them.
            seconds: Time spent on them.
        """
        before = self.sums or [0.0] * len(sums)
        return dataclasses.replace(
            self,
            step=self.step + count,
            sums=tuple(a + b for a, b in zip(before, sums, strict=True)),
            epoch_seconds=self.epoch_seconds + seconds,
        )

    def add_row(self, row: Mapping[str, Any], evaluation_seconds: float) -> Progress:
        """Adds the present epoch's row to the table, and its time to the total."""
        seconds = self.seconds + self.epoch_seconds + evaluation_seconds
        finished = {**row, "seconds": round(seconds, 3)}
        return dataclasses.replace(self, seconds=seconds, rows=(*self.rows, finished))

    def end_epoch(self, is_stopped: bool = False) -> Progress:
        """Goes to the next epoch; `is_stopped`: a callback wants none."""
        return dataclasses.replace(
            self, epoch=self.epoch + 1, step=0, epoch_seconds=0.0, sums=(), is_stopped=is_stopped
        )

    def judge(self, metrics: Mapping[str, float], monitor: Monitor) -> tuple[Progress, bool]:
        """Compares the present epoch's dev metrics with the best; tells whether they are better.

        Of equal values the lower loss is kept, but only the monitored metric renews patience.
        """
        value = METRICS[monitor].rank(metrics[monitor])
        is_better = self.best_value is None or value > self.best_value
        waited = 0 if is_better else self.evaluations_without_better + 1
        judged = dataclasses.replace(self, evaluations_without_better=waited)
        if not is_better and (value != self.best_value or metrics["loss"] >= self.best_loss):
            return judged, False
        best = dataclasses.replace(
            judged, best_value=value, best_loss=metrics["loss"], best_epoch=self.epoch + 1
        )
        return best, True

    def is_finished(self, settings: TrainingConfig) -> bool:
        """Whether training ends: all epochs done, stopped by a callback, or out of patience."""
        if self.is_stopped or (settings.epochs and self.epoch >= settings.epochs):
            return True
        patience, metric = settings.patience, METRICS[settings.monitor]
        if patience is None:
            return False
        if metric.perfect is not None and self.best_value == metric.rank(metric.perfect):
            # No epoch will be better; one more to lower the loss is enough.
            patience = 1
        return self.evaluations_without_better >= patience

    def totals(self, examples: int) -> dict[str, float]:
        """Returns epochs, time and speed of a training with `examples` per epoch."""
        # Speed of the steps alone, without evaluation.
        train_seconds = sum(examples / row["examples_per_second"] for row in self.rows)
        return {
            "epochs": self.epoch,
            "best_epoch": self.best_epoch,
            "seconds": round(self.seconds, 3),
            "examples_per_second": examples * len(self.rows) / train_seconds,
        }
