"""What a person reads: the summary before training, the table of results after it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from seq2seq.config.schema import RunConfig
from seq2seq.data.batches import BatchPlan
from seq2seq.data.examples import Splits
from seq2seq.data.vocabulary import Tokenizer, Vocabularies
from seq2seq.evaluation.evaluate_model import Scored
from seq2seq.model.seq2seq import Seq2Seq, count_parameters
from seq2seq.runs.run_dir import RunDir

_PERCENT = ("token_accuracy", "sequence_accuracy", "symbol_error_rate")


def show_start(
    console: Console,
    config: RunConfig,
    run: RunDir,
    splits: Splits,
    vocabularies: Vocabularies,
    plan: BatchPlan,
    model: Seq2Seq,
) -> None:
    """Prints data sizes, vocabularies, parameters, shapes and an example."""
    example = splits.train[0]
    features = f", {len(vocabularies.features)} feature" if vocabularies.features else ""
    shapes = ", ".join(f"{s}→{t}" for _, s, t in plan.shapes)
    parts = {
        name: count_parameters(getattr(model, name)) for name in ("encoder", "bridge", "decoder")
    }
    rows = {
        "data": f"{config.data.task}: {len(splits.train):,} train, {len(splits.dev):,} dev, "
        f"{len(splits.test):,} test",
        "example": f"{_source(config, example.source, example.features)} → "
        f"{Tokenizer(config.data.target.tokens).join(example.target)}",
        "vocabulary": f"{len(vocabularies.source)} source{features}, "
        f"{len(vocabularies.target)} target",
        "model": f"{count_parameters(model):,} parameters: "
        + ", ".join(f"{name} {count:,}" for name, count in parts.items()),
        "batches": f"{plan.steps:,} of {plan.batch_size} per epoch; steps padded to {shapes}",
        "run folder": str(run.path),
    }
    table = Table.grid(padding=(0, 2))
    for name, text in rows.items():
        table.add_row(f"[bold]{name}[/bold]", escape(text))
    console.print(table)


def show_results(
    console: Console,
    config: RunConfig,
    results: dict[str, Any],
    scored: Sequence[Scored],
) -> None:
    """Prints the scores of each split and the best and the worst predictions of the last one."""
    splits = [name for name in ("dev", "test") if name in results]
    table = Table(title=f"Best epoch {results['best_epoch']} of {results['epochs']}")
    table.add_column("")
    for name in splits:
        table.add_column(name, justify="right")
    for metric in results[splits[0]]:
        table.add_row(metric, *(format_metric(metric, results[name][metric]) for name in splits))
    console.print(table)
    by_errors = sorted(scored, key=lambda s: s.errors / max(1, len(s.references[0])))
    examples = Table(title=f"Best and worst of {splits[-1]}")
    for column in ("source", "prediction", "reference", "edits"):
        examples.add_column(column)
    worst = [s for s in by_errors[-3:][::-1] if s.errors]
    for s in [*by_errors[: 6 - len(worst)], *worst]:
        source, features, prediction, reference, *_ = s.row(config.data)
        examples.add_row(
            *map(escape, (f"{source} {features}", prediction, reference, str(s.errors)))
        )
    console.print(examples)


def format_metric(name: str, value: float) -> str:
    """Returns a number as people read it: rates in percent, counts whole."""
    if name in _PERCENT:
        return f"{100 * value:.2f} %"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _source(config: RunConfig, source: Sequence[str], features: Sequence[str]) -> str:
    text = Tokenizer(config.data.source.tokens).join(source)
    return f"{text} ({config.data.features.separator.join(features)})" if features else text


_SHOWN = ("loss", "token_accuracy", "val_loss", "val_sequence_accuracy", "val_symbol_error_rate")


class ProgressBar(keras.callbacks.Callback):
    """A bar for the whole training with loss, decoded accuracy, examples/s and time left.

    Every epoch also leaves one line, so that a log file tells the same story.
    """

    def __init__(self, console: Console, epochs: int, steps: int) -> None:
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
            for name in _SHOWN
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


@contextlib.contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Adds log messages to a file while the context lasts."""
    handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        with contextlib.suppress(OSError):  # see `_LogFile`
            handler.close()


class _LogFile(logging.FileHandler):
    """A log that a full disk does not disturb: the same lines go to standard error."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        pass
