"""Progress bar of a training, and the line that each epoch leaves."""

from __future__ import annotations

from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from seq2seq.evaluation.metrics import METRICS, format_metric


class ProgressBar(keras.callbacks.Callback):
    """A bar for the whole training with loss, decoded accuracy, examples/s and time left.

    Every epoch also leaves one line, so that redirected output tells the same story.
    """

    def __init__(self, console: Console, epochs: int, steps: int) -> None:
        """Prepares the bar; `steps` counts those of an epoch."""
        super().__init__()
        self.epochs = epochs
        self.steps = steps
        self.epoch = 0
        self.console = console
        self.progress = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task: TaskID = self.progress.add_task(
            "", total=epochs * steps, epoch=1, epochs=epochs, numbers=""
        )
        self.accuracy = ""

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.progress.start()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch = epoch
        self.progress.update(self.task, epoch=epoch + 1)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs or {}
        numbers = (
            f"loss {logs['loss']:.4f}{self.accuracy}  {logs['examples_per_second']:,.0f} examples/s"
        )
        self.progress.update(
            self.task, completed=self.epoch * self.steps + batch + 1, numbers=numbers
        )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs or {}
        if "val_sequence_accuracy" in logs:
            self.accuracy = f"  decoded {logs['val_sequence_accuracy']:.2%}"
        shown = [
            f"{name.replace('val_', 'dev_')} {format_metric(name.removeprefix('val_'), logs[name])}"
            for name in _names_in_line()
            if name in logs
        ]
        self.console.print(
            f"epoch {epoch + 1}/{self.epochs}  {'  '.join(shown)}  "
            f"{logs['examples_per_second']:,.0f} examples/s",
            highlight=False,
            soft_wrap=True,
        )

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.progress.stop()


def _names_in_line() -> list[str]:
    """Returns the logs that an epoch's line shows: the loss, and the numbers that people compare.

    Perplexity repeats the loss; the optional metrics are for the results' table.
    """
    decoded = [m.name for m in METRICS.values() if m.is_decoded and not m.is_optional]
    return ["loss", "token_accuracy", "val_loss", *(f"val_{name}" for name in decoded)]
