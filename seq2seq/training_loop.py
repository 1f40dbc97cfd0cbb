"""The training loop: epochs, checkpoints, evaluation, and the results at its end.

Why not `fit`: it cannot go on inside an epoch, and it averages the loss over padding. Optimizers,
schedules and callbacks are Keras's.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf
from rich.console import Console

from seq2seq import report
from seq2seq.checkpoints import Checkpoints, step_of
from seq2seq.choices import Divergence
from seq2seq.config import TrainConfig
from seq2seq.data.examples import Example, Splits
from seq2seq.data.pipeline import Batch, BatchPlan, Vocabularies, as_dataset, own_error
from seq2seq.disk import DiskError
from seq2seq.divergence import diverged_batch, diverged_evaluation
from seq2seq.errors import UserError
from seq2seq.evaluation import Scored, compile_evaluation, decode, decoded_metrics
from seq2seq.inference import Predictor
from seq2seq.model.losses import TokenSums, teacher_forced_metrics
from seq2seq.model.seq2seq import build_model, count_parameters
from seq2seq.progress_bar import ProgressBar
from seq2seq.record import versions
from seq2seq.run_dir import RunDir
from seq2seq.signals import StopRequest
from seq2seq.targets import make_callbacks, make_optimizer
from seq2seq.tensorboard import TensorBoard
from seq2seq.training_state import TrainingState
from seq2seq.training_step import compile_training, complete, steps_per_call

log = logging.getLogger(__name__)


class Training:
    """One training in this process: what it works on, the loop, the bookkeeping."""

    def __init__(
        self, config: TrainConfig, run: RunDir, splits: Splits, vocabularies: Vocabularies
    ) -> None:
        """Builds everything; writes nothing yet.

        Raises:
            UserError: The settings contradict each other.
        """
        settings = complete(config.training)
        config = dataclasses.replace(config, training=settings)
        keras.utils.set_random_seed(settings.seed)
        if settings.deterministic:
            tf.config.experimental.enable_op_determinism()
        self.config, self.run, self.splits, self.vocabularies = config, run, splits, vocabularies
        self.plan = self._plan(splits.train)
        self.model = build_model(
            config.model, vocabularies.source_size, len(vocabularies.target), settings.precision
        )
        self.optimizer = make_optimizer(config.optimizer, settings.epochs * self.plan.steps)
        self.optimizer.build(self.model.trainable_variables)
        self.model.compile(optimizer=self.optimizer)
        self.train_steps = compile_training(self.model, self.optimizer, settings)
        self.steps_per_call = settings.steps_per_execution or steps_per_call(
            self.plan, count_parameters(self.model)
        )
        self.evaluate_batches = compile_evaluation(self.model)
        self.predictor = Predictor(self.model, vocabularies, config.data, config.decoding)
        self.console = Console()
        self.tensorboard = (
            TensorBoard(config, run, self.predictor, splits.dev[:256])
            if config.callbacks.tensorboard
            else None
        )
        extra = make_callbacks(config.callbacks.extra)
        self.callbacks = keras.callbacks.CallbackList(
            [
                ProgressBar(self.console, settings.epochs, self.plan.steps),
                *([self.tensorboard] if self.tensorboard else []),
                *extra.values(),
            ],
            model=self.model,
            epochs=settings.epochs,
            steps=self.plan.steps,
            verbose=0,
        )
        self.state = TrainingState(self.model, self.optimizer, extra)
        self.checkpoints = Checkpoints(run.checkpoints, settings.checkpoints_kept)

    def run_to_end(self) -> dict[str, Any]:
        """Trains the epochs that are left, scores the best model, and writes the results.

        Raises:
            DiskError: The run folder cannot be written any more; what was written is whole.
            UserError: The training diverged.
        """
        try:
            with self.run.logging():
                report.show_start(self.console, self.config, self.run, self.splits,
                                  self.vocabularies, self.plan, self.model)  # fmt: skip
                with StopRequest() as stop:
                    self._train(stop)
                return self._finish()
        except DiskError as error:
            raise DiskError(f"{error}; {self._way_back()}") from error

    def save_checkpoint(self) -> None:
        """Writes all that is needed to go on from here.

        Raises:
            DiskError: The disk is full, or the folder cannot be written.
        """
        progress = self.state.progress
        steps = progress.epoch * self.plan.steps + progress.step
        self.checkpoints.save(steps, self.state.to_arrays())

    def restore(self, before: TrainConfig) -> None:
        """Takes up the newest whole checkpoint.

        Args:
            before: The settings that it was written with.

        Raises:
            UserError: There is none, or it is of another model or optimizer.
        """
        path, arrays = self.checkpoints.load_newest()
        try:
            if self.state.restore_best(arrays):
                # The file may be of an epoch that is not finished as far as the checkpoint knows.
                self.run.save_weights(self.model)
            self.state.restore(arrays)
        except ValueError as error:
            raise UserError(f"{path}: does not fit the model and optimizer: {error}") from error
        self.checkpoints.drop_after(step_of(path))
        rate = self.config.optimizer.get("learning_rate")
        if rate != before.optimizer.get("learning_rate") and isinstance(rate, int | float):
            self.optimizer.learning_rate = rate
        if self.tensorboard is not None:
            self.tensorboard.resume(self.state.progress.epoch)
        log.info("going on from %s", path)

    def _way_back(self) -> str:
        """Tells the user what is left and how to go on."""
        paths = self.checkpoints.paths()
        if not paths:
            return "there is no checkpoint yet"
        return (
            f"the last good checkpoint is {paths[0]}; "
            f"go on with: python train.py resume={self.run.path}"
        )

    def _train(self, stop: StopRequest) -> None:
        progress, settings = self.state.progress, self.config.training
        # One pipeline for all epochs: it prepares the next one while this one is evaluated.
        batches = self.plan.epochs(settings.seed, progress.epoch, start=progress.step)
        iterator = iter(as_dataset(self.plan, batches))
        self.callbacks.on_train_begin()
        self.state.begin()
        while not progress.is_finished(settings):
            self.callbacks.on_epoch_begin(progress.epoch)
            self._train_epoch(iterator, stop)
            logs = self._end_epoch()
            self.callbacks.on_epoch_end(progress.epoch, logs)
            progress.end_epoch()
            progress.is_stopped = bool(self.model.stop_training)
            every = settings.checkpoint_epochs
            is_due = progress.epoch % every == 0 if every else self.checkpoints.is_cheap()
            if progress.is_finished(settings) or stop.signal or is_due:
                self.save_checkpoint()
            self._stop_if_asked(stop)
        self.callbacks.on_train_end()

    def _train_epoch(self, batches: Iterator[Batch], stop: StopRequest) -> None:
        progress, every = self.state.progress, self.config.training.checkpoint_steps
        while progress.step < self.plan.steps:
            began, first = time.perf_counter(), progress.step
            self.callbacks.on_train_batch_begin(first)
            asked = min(self.steps_per_call, self.plan.steps - first)
            with own_error(self.plan):
                done = self.train_steps(batches, tf.constant(asked))
            sums = tuple(map(float, done.sums))
            if done.diverged:
                self._report_divergence(first + int(done.count), int(done.diverged))
            progress.add_steps(int(done.count), sums, time.perf_counter() - began)
            self.callbacks.on_train_batch_end(progress.step - 1, self._train_logs())
            if progress.step == self.plan.steps:
                return  # The checkpoint comes after the evaluation.
            if stop.signal or (every and progress.step // every > first // every):
                self.save_checkpoint()
            self._stop_if_asked(stop)

    def _report_divergence(self, step: int, count: int) -> None:
        """Stops at the step whose loss or gradient is not finite, or says that it was skipped."""
        progress, settings = self.state.progress, self.config.training
        where = f"epoch {progress.epoch + 1}, step {step}"
        if settings.on_divergence is Divergence.skip:
            log.warning("skipped %d steps up to %s: the loss or a gradient was not finite",
                        count, where)  # fmt: skip
            return
        batch = next(self.plan.epoch(settings.seed, progress.epoch, start=step - 1))
        problem = diverged_batch(where, batch, self.run, self.config.data, self.vocabularies)
        raise UserError(f"{problem}; {self._way_back()}")

    def _train_logs(self) -> dict[str, float]:
        progress = self.state.progress
        examples = min(progress.step * self.plan.batch_size, len(self.splits.train))
        return {
            **teacher_forced_metrics(TokenSums(*progress.sums)),
            "learning_rate": float(self.optimizer.learning_rate),
            "examples_per_second": examples / max(progress.epoch_seconds, 1e-9),
        }

    def _end_epoch(self) -> dict[str, float]:
        """Evaluates, keeps the best model, writes the table; returns the epoch's logs."""
        progress, settings = self.state.progress, self.config.training
        began, number = time.perf_counter(), progress.epoch + 1
        logs = self._train_logs()
        row = {"epoch": number, "seconds": 0.0, **logs}
        if number == settings.epochs or number % settings.evaluate_every == 0:
            # A callback may swap in averaged weights for the test; the best are then these.
            self.callbacks.on_test_begin()
            metrics, scored = self._evaluate(self.splits.dev)
            if not math.isfinite(metrics["loss"]):
                problem = diverged_evaluation(metrics["loss"], number)
                raise UserError(f"{problem}; {self._way_back()}")
            if progress.judge(metrics, settings.monitor):
                self.state.keep_best()
                self.run.save_weights(self.model)
            self.callbacks.on_test_end(metrics)
            if self.tensorboard is not None:
                self.tensorboard.decoded = scored
            logs |= {f"val_{name}": value for name, value in metrics.items()}
            row |= {f"dev_{name}": value for name, value in metrics.items()}
        progress.seconds += progress.epoch_seconds + time.perf_counter() - began
        progress.rows.append(row | {"seconds": round(progress.seconds, 3)})
        self.run.save_metrics(progress.rows)
        return logs

    def _evaluate(self, examples: Sequence[Example]) -> tuple[dict[str, float], list[Scored]]:
        """Returns teacher-forced and decoded metrics, and the decoded examples."""
        scored = decode(self.predictor, examples)
        forced = self.evaluate_batches(self._plan(examples).in_order())
        return forced | decoded_metrics(
            scored, self.predictor.target, self.config.training.bleu
        ), scored

    def _plan(self, examples: Sequence[Example]) -> BatchPlan:
        settings = self.config.training
        return BatchPlan(examples, self.vocabularies, settings.batch_size, self.config.data.buckets)

    def _stop_if_asked(self, stop: StopRequest) -> None:
        """Ends the process with 130 or 143 after a checkpoint was saved."""
        if stop.signal is not None:
            log.warning("stopped and saved; go on with: python train.py resume=%s", self.run.path)
            raise SystemExit(128 + stop.signal)

    def _finish(self) -> dict[str, Any]:
        """Scores the best model on dev and test, and writes results and predictions."""
        progress = self.state.progress
        if not progress.best_epoch:
            # A callback stopped before the first evaluation: what there is, is the best.
            progress.best_epoch = progress.epoch
            self.state.keep_best()
            self.run.save_weights(self.model)
        self.state.take_best()
        splits = {"dev": self.splits.dev, "test": self.splits.test}
        results: dict[str, Any] = {}
        scored: list[Scored] = []
        for name, examples in splits.items():
            if examples:
                results[name], scored = self._evaluate(examples)
                self.run.save_predictions(name, (s.row(self.config.data) for s in scored))
        train_seconds = sum(
            len(self.splits.train) / row["examples_per_second"] for row in progress.rows
        )
        results |= {
            "parameters": count_parameters(self.model),
            "epochs": progress.epoch,
            "best_epoch": progress.best_epoch,
            "seconds": round(progress.seconds, 3),
            "examples_per_second": len(self.splits.train) * len(progress.rows) / train_seconds,
            "versions": versions(),
        }
        self.run.save_results(results)
        if self.tensorboard is not None:
            self.tensorboard.write_results(results)
        report.show_results(self.console, self.config, results, scored)
        return results
