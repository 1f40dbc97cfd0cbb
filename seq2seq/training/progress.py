"""How far a training has come, which epoch is the best, and when waiting for a better one ends."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from seq2seq.config.choices import Monitor
from seq2seq.config.schema import TrainingConfig

LOWER_IS_BETTER = (Monitor.symbol_error_rate, Monitor.loss)
PERFECT = {Monitor.sequence_accuracy: 1.0, Monitor.symbol_error_rate: 0.0}


@dataclasses.dataclass
class Progress:
    """Where a training stands; with the tensors, all that is needed to go on.

    Attributes:
        epoch: Epochs that are finished.
        step: Steps of the present epoch that are finished.
        sums: Sums over these steps, in the order of `TokenSums`; none before the first.
        epoch_seconds: Spent on these steps.
        seconds: Spent on the finished epochs, with their evaluation.
        best_epoch: Number of the best epoch so far, from 1; 0: none was evaluated.
        best_value: Its monitored metric; higher is better.
        best_loss: Its dev loss.
        evaluations_without_better: Since the best one.
        is_stopped: A callback ended the training.
        rows: What `metrics.csv` holds.
        callbacks: Plain attributes of the user's callbacks, by name.
    """

    epoch: int = 0
    step: int = 0
    sums: list[float] = dataclasses.field(default_factory=list)
    epoch_seconds: float = 0.0
    seconds: float = 0.0
    best_epoch: int = 0
    best_value: float | None = None
    best_loss: float = math.inf
    evaluations_without_better: int = 0
    is_stopped: bool = False
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    callbacks: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_json(cls, text: str | bytes) -> Progress:
        """Reads back what `to_json` wrote.

        Raises:
            ValueError: The text is something else.
        """
        try:
            return cls(**json.loads(text))
        except TypeError as error:
            raise ValueError(f"no progress of a training: {error}") from error

    def to_json(self) -> str:
        """Returns all of it as text, numbers to the last bit."""
        return json.dumps(dataclasses.asdict(self))

    def add_steps(self, count: int, sums: tuple[float, ...], seconds: float) -> None:
        """Counts steps of the present epoch."""
        before = self.sums or [0.0] * len(sums)
        self.sums = [a + b for a, b in zip(before, sums, strict=True)]
        self.step += count
        self.epoch_seconds += seconds

    def end_epoch(self) -> None:
        """Goes over to the next epoch."""
        self.epoch, self.step, self.epoch_seconds, self.sums = self.epoch + 1, 0, 0.0, []

    def judge(self, metrics: Mapping[str, float], monitor: Monitor) -> bool:
        """Takes note of the present epoch's dev metrics; returns whether it is the best so far.

        Of equal values the lower loss is kept, but only the monitored metric buys patience.
        """
        value = metrics[monitor] * (-1 if monitor in LOWER_IS_BETTER else 1)
        is_better = self.best_value is None or value > self.best_value
        waited = self.evaluations_without_better
        self.evaluations_without_better = 0 if is_better else waited + 1
        if not is_better and (value != self.best_value or metrics["loss"] >= self.best_loss):
            return False
        self.best_value, self.best_loss = value, metrics["loss"]
        self.best_epoch = self.epoch + 1
        return True

    def is_finished(self, settings: TrainingConfig) -> bool:
        """Whether there is nothing left to train: all epochs done, stopped, or out of patience."""
        if self.is_stopped or self.epoch >= settings.epochs:
            return True
        patience, monitor = settings.patience, settings.monitor
        if patience is None:
            return False
        if monitor in PERFECT and self.best_value == PERFECT[monitor]:
            # Nothing will be better; one more epoch to widen the margin is enough.
            patience = 1
        return self.evaluations_without_better >= patience
