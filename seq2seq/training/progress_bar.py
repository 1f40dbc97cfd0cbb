"""Progress bar of a training, and the row that each epoch leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from seq2seq.config.schema import TrainingConfig
from seq2seq.evaluation.metrics import METRICS
from seq2seq.training.screen import Screen, short_time

# Heads of columns; other logs have their own names.
_HEADS = {
    "token_accuracy": "tok_acc",
    "val_loss": "dev_loss",
    "val_sequence_accuracy": "seq_acc",
    "val_symbol_error_rate": "sym_err",
}


class ProgressBar(keras.callbacks.Callback):
    """A bar for the whole training: epoch, loss or present work, examples/s and time left.

    Every epoch also leaves a row below heads that are printed once, 80 characters at most, so that
    redirected output tells the same story.
    """

    def __init__(self, screen: Screen, settings: TrainingConfig, steps: int) -> None:
        """Prepares the bar; `steps` counts those of an epoch."""
        super().__init__()
        assert settings.epochs is not None
        self.steps, self.epochs, self.epoch = steps, settings.epochs, 0
        self.screen, self.has_heads = screen, False
        self.columns = _columns(settings)
        self.progress = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(),
            console=screen.console,
            transient=True,
            disable=not screen.console.is_terminal,
        )
        self.task: TaskID = self.progress.add_task(
            "", total=self.epochs * steps, epoch=1, epochs=self.epochs, numbers=""
        )

    def announce(self, work: str) -> None:
        """Shows the present work in place of the numbers of a step."""
        self.progress.update(self.task, numbers=f"{work} ...")

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.progress.start()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch = epoch
        self.progress.update(self.task, epoch=epoch + 1)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs or {}
        numbers = f"loss {logs['loss']:.4f}  {logs['examples_per_second']:,.0f} examples/s"
        self.progress.update(
            self.task, completed=self.epoch * self.steps + batch + 1, numbers=numbers
        )

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.announce("decoding dev")

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        self.progress.update(self.task, numbers="")

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.progress.stop()

    def show_epoch(
        self, number: int, logs: Mapping[str, float], is_best: bool, seconds: float
    ) -> None:
        """Prints the row of an epoch; `seconds` are those of the training so far."""
        first = len(f"{self.epochs}/{self.epochs}")
        heads, widths = ["epoch", *self.columns.values()], [max(5, first)]
        widths += [max(6, len(head)) for head in self.columns.values()]
        cells = [f"{number}/{self.epochs}", *(_cell(name, logs) for name in self.columns)]
        heads, widths = [*heads, "examples/s", "time"], [*widths, 10, 7]
        cells += [f"{logs['examples_per_second']:,.0f}", short_time(seconds)]
        if not self.has_heads:
            self.screen.line(_row(heads, widths))
            self.has_heads = True
        self.screen.line(_row(cells, widths) + (" *" if is_best else ""))


def _columns(settings: TrainingConfig) -> dict[str, str]:
    """Returns the logs in an epoch's row and their heads: the losses and what people compare.

    Perplexity repeats the loss. Of the optional metrics only the monitored one is shown, in place
    of a teacher-forced one; the others are for the results' table.
    """
    monitored = METRICS[settings.monitor]
    decoded = [m for m in METRICS.values() if m.is_decoded and not m.is_optional]
    first = ["loss"] if monitored.is_optional else ["loss", "token_accuracy"]
    names = [*first, "val_loss", *(f"val_{metric.name}" for metric in decoded)]
    if monitored.is_optional:
        names.append(f"val_{monitored.name}")
    return {name: _HEADS.get(name, name.removeprefix("val_")) for name in names}


def _cell(name: str, logs: Mapping[str, float]) -> str:
    if name not in logs:
        return "-"  # Not every epoch is evaluated.
    value, metric = logs[name], METRICS[name.removeprefix("val_")]
    if metric.is_rate:
        return f"{value:.2%}"
    # Six characters, whatever the size.
    digits = ".4f" if abs(value) < 10 else ".2f" if abs(value) < 1000 else ".0f"
    return format(value, digits if abs(value) < 1e6 else ".0e")


def _row(cells: list[str], widths: list[int]) -> str:
    return "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
