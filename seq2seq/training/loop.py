"""The training loop: epochs, checkpoints, evaluation, and the results at its end.

Why not `fit`: it cannot go on inside an epoch, and it averages the loss over padding. Optimizers,
schedules and callbacks are Keras's.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from seq2seq.config.choices import Divergence
from seq2seq.data.batches import Batch, as_dataset, own_error
from seq2seq.errors import UserError
from seq2seq.evaluation.evaluate_model import Scored
from seq2seq.files import DiskError
from seq2seq.model.losses import TokenSums, teacher_forced_metrics
from seq2seq.model.seq2seq import count_parameters
from seq2seq.runs.provenance import versions
from seq2seq.runs.weights import write_weights
from seq2seq.training import terminal as report
from seq2seq.training.divergence import diverged_batch, diverged_evaluation
from seq2seq.training.session import Training
from seq2seq.training.signals import StopRequest
from seq2seq.training.terminal import logging_to

log = logging.getLogger(__name__)


def run_to_end(training: Training) -> dict[str, Any]:
    """Trains the epochs that are left, scores the best model, and writes the results.

    Raises:
        DiskError: The run folder cannot be written any more; what was written is whole.
        UserError: The training diverged.
    """
    try:
        with logging_to(training.run.log):
            report.show_start(training.console, training.config, training.run, training.splits,
                              training.vocabularies, training.plan, training.model)  # fmt: skip
            with StopRequest() as stop:
                _train(training, stop)
            return _finish(training)
    except DiskError as error:
        raise DiskError(f"{error}; {training.way_back()}") from error


def _train(training: Training, stop: StopRequest) -> None:
    progress, settings = training.state.progress, training.config.training
    # One pipeline for all epochs: it prepares the next one while this one is evaluated.
    batches = training.plan.epochs(settings.seed, progress.epoch, start=progress.step)
    iterator = iter(as_dataset(training.plan, batches))
    training.callbacks.on_train_begin()
    training.state.begin()
    while not progress.is_finished(settings):
        training.callbacks.on_epoch_begin(progress.epoch)
        _train_epoch(training, iterator, stop)
        logs = _end_epoch(training)
        training.callbacks.on_epoch_end(progress.epoch, logs)
        progress.end_epoch()
        progress.is_stopped = bool(training.model.stop_training)
        every = settings.checkpoint_epochs
        is_due = progress.epoch % every == 0 if every else training.checkpoints.is_cheap()
        if progress.is_finished(settings) or stop.signal or is_due:
            training.save_checkpoint()
        _stop_if_asked(training, stop)
    training.callbacks.on_train_end()


def _train_epoch(training: Training, batches: Iterator[Batch], stop: StopRequest) -> None:
    progress, settings = training.state.progress, training.config.training
    every, per_call = settings.checkpoint_steps, settings.steps_per_execution
    assert per_call is not None
    while progress.step < training.plan.steps:
        began, first = time.perf_counter(), progress.step
        training.callbacks.on_train_batch_begin(first)
        asked = min(per_call, training.plan.steps - first)
        with own_error(training.plan):
            done = training.train_steps(batches, tf.constant(asked))
        sums = tuple(map(float, done.sums))
        if done.diverged:
            _report_divergence(training, first + int(done.count), int(done.diverged))
        progress.add_steps(int(done.count), sums, time.perf_counter() - began)
        training.callbacks.on_train_batch_end(progress.step - 1, _train_logs(training))
        if progress.step == training.plan.steps:
            return  # The checkpoint comes after the evaluation.
        if stop.signal or (every and progress.step // every > first // every):
            training.save_checkpoint()
        _stop_if_asked(training, stop)


def _report_divergence(training: Training, step: int, count: int) -> None:
    """Stops at the step whose loss or gradient is not finite, or says that it was skipped."""
    progress, settings = training.state.progress, training.config.training
    where = f"epoch {progress.epoch + 1}, step {step}"
    if settings.on_divergence is Divergence.skip:
        log.warning("skipped %d steps up to %s: the loss or a gradient was not finite",
                    count, where)  # fmt: skip
        return
    batch = next(training.plan.epoch(settings.seed, progress.epoch, start=step - 1))
    problem = diverged_batch(
        where, batch, training.run, training.config.data, training.vocabularies
    )
    raise UserError(f"{problem}; {training.way_back()}")


def _train_logs(training: Training) -> dict[str, float]:
    progress = training.state.progress
    examples = min(progress.step * training.plan.batch_size, len(training.splits.train))
    return {
        **teacher_forced_metrics(TokenSums(*progress.sums)),
        "learning_rate": float(training.optimizer.learning_rate),
        "examples_per_second": examples / max(progress.epoch_seconds, 1e-9),
    }


def _end_epoch(training: Training) -> dict[str, float]:
    """Evaluates, keeps the best model, writes the table; returns the epoch's logs."""
    progress, settings = training.state.progress, training.config.training
    began, number = time.perf_counter(), progress.epoch + 1
    logs = _train_logs(training)
    row = {"epoch": number, "seconds": 0.0, **logs}
    if number == settings.epochs or number % settings.evaluate_every == 0:
        # A callback may swap in averaged weights for the test; the best are then these.
        training.callbacks.on_test_begin()
        metrics, scored = training.evaluate(training.splits.dev)
        if not math.isfinite(metrics["loss"]):
            problem = diverged_evaluation(metrics["loss"], number)
            raise UserError(f"{problem}; {training.way_back()}")
        if progress.judge(metrics, settings.monitor):
            training.state.keep_best()
            write_weights(training.run.best_weights, training.model)
        training.callbacks.on_test_end(metrics)
        if training.tensorboard is not None:
            training.tensorboard.decoded = scored
        logs |= {f"val_{name}": value for name, value in metrics.items()}
        row |= {f"dev_{name}": value for name, value in metrics.items()}
    progress.seconds += progress.epoch_seconds + time.perf_counter() - began
    progress.rows.append(row | {"seconds": round(progress.seconds, 3)})
    training.run.save_metrics(progress.rows)
    return logs


def _stop_if_asked(training: Training, stop: StopRequest) -> None:
    """Ends the process with 130 or 143 after a checkpoint was saved."""
    if stop.signal is not None:
        log.warning("stopped and saved; go on with: python train.py resume=%s", training.run.path)
        raise SystemExit(128 + stop.signal)


def _finish(training: Training) -> dict[str, Any]:
    """Scores the best model on dev and test, and writes results and predictions."""
    progress = training.state.progress
    if not progress.best_epoch:
        # A callback stopped before the first evaluation: what there is, is the best.
        progress.best_epoch = progress.epoch
        training.state.keep_best()
        write_weights(training.run.best_weights, training.model)
    training.state.take_best()
    splits = {"dev": training.splits.dev, "test": training.splits.test}
    results: dict[str, Any] = {}
    scored: list[Scored] = []
    for name, examples in splits.items():
        if examples:
            results[name], scored = training.evaluate(examples)
            training.run.save_predictions(name, (s.row(training.config.data) for s in scored))
    train_seconds = sum(
        len(training.splits.train) / row["examples_per_second"] for row in progress.rows
    )
    results |= {
        "parameters": count_parameters(training.model),
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "seconds": round(progress.seconds, 3),
        "examples_per_second": len(training.splits.train) * len(progress.rows) / train_seconds,
        "versions": versions(),
    }
    training.run.save_results(results)
    if training.tensorboard is not None:
        training.tensorboard.write_results(results)
    report.show_results(training.console, training.config, results, scored)
    return results
