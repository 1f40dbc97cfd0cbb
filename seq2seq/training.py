"""Training: from settings to a finished run folder, in one short loop of our own.

Why not `fit`: it cannot go on inside an epoch, and it averages the loss over padding. Optimizers,
schedules and callbacks are Keras's.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import platform
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from rich.console import Console

from seq2seq import __version__, report
from seq2seq.callbacks import ProgressBar, TensorBoard
from seq2seq.config import Monitor, TrainConfig, override
from seq2seq.data.examples import Example, Splits, lengths, load_splits
from seq2seq.data.pipeline import Batch, BatchPlan, Vocabularies, as_dataset, own_error
from seq2seq.errors import UserError
from seq2seq.evaluation import Scored, compile_evaluation, decode, decoded_metrics
from seq2seq.inference import Predictor, check_decoding
from seq2seq.model.losses import TokenSums, teacher_forced_metrics
from seq2seq.model.seq2seq import Seq2Seq, build_model, count_parameters
from seq2seq.run_dir import RunDir
from seq2seq.signals import StopRequest
from seq2seq.training_step import (
    compile_training,
    complete,
    make_callbacks,
    make_optimizer,
    steps_per_call,
)

log = logging.getLogger(__name__)

LOWER_IS_BETTER = (Monitor.symbol_error_rate, Monitor.loss)
PERFECT = {Monitor.sequence_accuracy: 1.0, Monitor.symbol_error_rate: 0.0}


@dataclasses.dataclass
class Progress:
    """How far a training has come: with the tensors, all that is needed to go on."""

    epoch: int = 0
    step: int = 0
    sums: list[float] = dataclasses.field(default_factory=lambda: [0.0] * len(TokenSums._fields))
    epoch_seconds: float = 0.0
    seconds: float = 0.0
    best_epoch: int = 0
    best_value: float | None = None
    best_loss: float = math.inf
    evaluations_without_better: int = 0
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)


def train(
    config: TrainConfig, path: str | Path, hydra_record: dict[str, str] | None = None
) -> dict[str, Any]:
    """Trains a new run.

    Args:
        config: All settings.
        path: The run folder to make.
        hydra_record: Text files to keep under `.hydra/`.

    Returns:
        What `results.json` holds.

    Raises:
        UserError: The settings, the data or the folder do not allow it.
    """
    check_settings(config)
    run = RunDir.create(path)
    splits = load_splits(config.data)
    config = with_max_length(config, splits.train)
    vocabularies = Vocabularies.build(splits.train, config.data.min_count)
    training = Training(config, run, splits, vocabularies)
    run.save_vocabularies(vocabularies)
    run.save_config(training.config, hydra_record or {})
    return training.run_to_end()


def resume(path: str | Path, changes: Sequence[str] = ()) -> dict[str, Any]:
    """Goes on with a stopped run where its last checkpoint was written.

    Args:
        path: The run folder.
        changes: Overrides such as `training.epochs=200`; only `training.*` may change.

    Raises:
        UserError: There is no run or no checkpoint, or a change is not possible.
    """
    run = RunDir.open(path, setting="resume")
    if refused := [change for change in changes if not change.startswith("training.")]:
        raise UserError(
            f"{refused[0]}: resume goes on with the settings in {run.config_file}; "
            "only training.* may change"
        )
    config = override(run.load_config(), changes)
    check_settings(config)
    training = Training(config, run, load_splits(config.data), run.load_vocabularies())
    training.restore()
    run.save_config(training.config, {})
    return training.run_to_end()


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
        self.callbacks = keras.callbacks.CallbackList(
            [
                ProgressBar(self.console, settings.epochs, self.plan.steps),
                *([self.tensorboard] if self.tensorboard else []),
                *make_callbacks(config.callbacks.extra),
            ],
            model=self.model,
            epochs=settings.epochs,
            steps=self.plan.steps,
            verbose=0,
        )
        self.progress = Progress()
        self.progress_text = tf.Variable("", dtype=tf.string)
        self.checkpoints = tf.train.CheckpointManager(
            tf.train.Checkpoint(
                model=self.model,
                optimizer=self.optimizer,
                dropout=[generator.state for generator in _seed_generators(self.model)],
                progress=self.progress_text,
            ),
            str(run.checkpoints),
            max_to_keep=2,
        )

    def run_to_end(self) -> dict[str, Any]:
        """Trains the epochs that are left, scores the best model, and writes the results."""
        with self.run.logging():
            report.show_start(self.console, self.config, self.run, self.splits,
                              self.vocabularies, self.plan, self.model)  # fmt: skip
            with StopRequest() as stop:
                self._train(stop)
            return self._finish()

    def restore(self) -> None:
        """Takes up the newest checkpoint.

        Raises:
            UserError: There is none.
        """
        newest = self.checkpoints.latest_checkpoint
        if newest is None:
            raise UserError(f"resume={self.run.path}: there is no checkpoint in it; train it anew")
        self.checkpoints.checkpoint.restore(newest).assert_existing_objects_matched()
        self.progress = Progress(**json.loads(self.progress_text.numpy()))

    def _train(self, stop: StopRequest) -> None:
        progress, settings = self.progress, self.config.training
        # One pipeline for all epochs: it prepares the next one while this one is evaluated.
        batches = self.plan.epochs(settings.seed, progress.epoch, start=progress.step)
        iterator = iter(as_dataset(self.plan, batches))
        self.callbacks.on_train_begin()
        while progress.epoch < settings.epochs and not self._is_out_of_patience():
            self.callbacks.on_epoch_begin(progress.epoch)
            self._train_epoch(iterator, stop)
            logs = self._end_epoch()
            self.callbacks.on_epoch_end(progress.epoch, logs)
            progress.epoch, progress.step, progress.epoch_seconds = progress.epoch + 1, 0, 0.0
            progress.sums = [0.0] * len(progress.sums)
            self._save_checkpoint()
            self._stop_if_asked(stop)
            if self.model.stop_training:
                break
        self.callbacks.on_train_end()

    def _train_epoch(self, batches: Iterator[Batch], stop: StopRequest) -> None:
        progress = self.progress
        while progress.step < self.plan.steps:
            began = time.perf_counter()
            count = min(self.steps_per_call, self.plan.steps - progress.step)
            self.callbacks.on_train_batch_begin(progress.step)
            with own_error(self.plan):
                sums = self.train_steps(batches, tf.constant(count))
            progress.sums = [a + float(b) for a, b in zip(progress.sums, sums, strict=True)]
            progress.step += count
            progress.epoch_seconds += time.perf_counter() - began
            self.callbacks.on_train_batch_end(progress.step - 1, self._train_logs())
            if stop.signal is not None and progress.step < self.plan.steps:
                self._save_checkpoint()
                self._stop_if_asked(stop)

    def _train_logs(self) -> dict[str, float]:
        progress = self.progress
        examples = min(progress.step * self.plan.batch_size, len(self.splits.train))
        return {
            **teacher_forced_metrics(TokenSums(*progress.sums)),
            "learning_rate": float(self.optimizer.learning_rate),
            "examples_per_second": examples / max(progress.epoch_seconds, 1e-9),
        }

    def _end_epoch(self) -> dict[str, float]:
        """Evaluates, keeps the best model, writes the table; returns the epoch's logs."""
        progress, settings = self.progress, self.config.training
        began, number = time.perf_counter(), progress.epoch + 1
        logs = self._train_logs()
        _check_finite(logs["loss"], number)
        row = {"epoch": number, "seconds": 0.0, **logs}
        if number == settings.epochs or number % settings.evaluate_every == 0:
            # A callback may swap in averaged weights for the test; the best are then these.
            self.callbacks.on_test_begin()
            metrics, scored = self._evaluate(self.splits.dev)
            _check_finite(metrics["loss"], number)
            self._keep_best(metrics)
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

    def _keep_best(self, metrics: dict[str, float]) -> None:
        progress, monitor = self.progress, self.config.training.monitor
        value = metrics[monitor] * (-1 if monitor in LOWER_IS_BETTER else 1)
        is_better = progress.best_value is None or value > progress.best_value
        progress.evaluations_without_better = (
            0 if is_better else progress.evaluations_without_better + 1
        )
        # Of equal values the lower loss is kept, but only the monitored metric buys patience.
        if is_better or (value == progress.best_value and metrics["loss"] < progress.best_loss):
            progress.best_value, progress.best_loss = value, metrics["loss"]
            progress.best_epoch = progress.epoch + 1
            self.run.save_weights(self.model)

    def _is_out_of_patience(self) -> bool:
        patience, monitor = self.config.training.patience, self.config.training.monitor
        if patience is None:
            return False
        if monitor in PERFECT and self.progress.best_value == PERFECT[monitor]:
            # Nothing will be better; one more epoch to widen the margin is enough.
            patience = 1
        return self.progress.evaluations_without_better >= patience

    def _save_checkpoint(self) -> None:
        self.progress_text.assign(json.dumps(dataclasses.asdict(self.progress)))
        self.checkpoints.save()

    def _stop_if_asked(self, stop: StopRequest) -> None:
        """Ends the process with 130 or 143 after a checkpoint was saved."""
        if stop.signal is not None:
            log.warning("stopped and saved; go on with: python train.py resume=%s", self.run.path)
            raise SystemExit(128 + stop.signal)

    def _finish(self) -> dict[str, Any]:
        """Scores the best model on dev and test, and writes results and predictions."""
        self.model.load_weights(self.run.best_weights)
        splits = {"dev": self.splits.dev, "test": self.splits.test}
        results: dict[str, Any] = {}
        scored: list[Scored] = []
        for name, examples in splits.items():
            if examples:
                results[name], scored = self._evaluate(examples)
                self.run.save_predictions(name, (s.row(self.config.data) for s in scored))
        progress = self.progress
        train_seconds = sum(
            len(self.splits.train) / row["examples_per_second"] for row in progress.rows
        )
        results |= {
            "parameters": count_parameters(self.model),
            "epochs": progress.epoch,
            "best_epoch": progress.best_epoch,
            "seconds": round(progress.seconds, 3),
            "examples_per_second": len(self.splits.train) * len(progress.rows) / train_seconds,
            "versions": _versions(),
        }
        self.run.save_results(results)
        if self.tensorboard is not None:
            self.tensorboard.write_results(results)
        report.show_results(self.console, self.config, results, scored)
        return results


def check_settings(config: TrainConfig) -> None:
    """Refuses what a dataclass cannot: settings that contradict each other.

    Raises:
        UserError: Names the setting and the way out.
    """
    check_decoding(config.decoding)
    monitor = config.training.monitor
    if monitor in (Monitor.bleu, Monitor.chrf) and not config.training.bleu:
        raise UserError(f"training.monitor={monitor} needs training.bleu=true")


def _check_finite(loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise UserError(
            f"the loss became {loss} in epoch {epoch}: lower "
            "optimizer.learning_rate or training.clip_norm"
        )


def with_max_length(config: TrainConfig, examples: Sequence[Example]) -> TrainConfig:
    """Fills `decoding.max_length: null`: twice the longest training target, and its end."""
    if config.decoding.max_length is not None:
        return config
    longest = int(lengths(examples)[1].max())
    decoding = dataclasses.replace(config.decoding, max_length=2 * longest + 1)
    return dataclasses.replace(config, decoding=decoding)


def _seed_generators(model: Seq2Seq) -> list[keras.random.SeedGenerator]:
    """Returns the random state of every dropout layer, in a fixed order."""
    return [
        layer.seed_generator
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.Dropout) and layer.rate > 0
    ]


def _versions() -> dict[str, str]:
    packages = ("tensorflow", "keras", "numpy", "hydra-core")
    ours = {"python": platform.python_version(), "seq2seq": __version__}
    return ours | {name: version(name) for name in packages}
