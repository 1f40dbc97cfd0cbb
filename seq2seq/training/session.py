"""What a training works with: all parts of it, made from the settings; its checkpoints."""

from __future__ import annotations

import logging

import keras
import tensorflow as tf
from rich.console import Console

from seq2seq.config.resolve import Facts, resolve, settings_to_keep
from seq2seq.config.schema import RunConfig
from seq2seq.data.batches import BatchPlan
from seq2seq.data.examples import Splits
from seq2seq.data.vocabulary import Vocabularies
from seq2seq.errors import UserError
from seq2seq.evaluation.evaluate_model import Evaluation
from seq2seq.hardware import cores, has_gpu
from seq2seq.inference.predictor import Predictor
from seq2seq.model.seq2seq import Seq2Seq, build_model, count_parameters
from seq2seq.runs.checkpoints import Checkpoints, step_of
from seq2seq.runs.run_dir import RunDir
from seq2seq.runs.weights import write_weights
from seq2seq.training.keras_objects import make_callbacks, make_optimizer
from seq2seq.training.state import TrainingState
from seq2seq.training.step import compile_training
from seq2seq.training.tensorboard import TensorBoard
from seq2seq.training.terminal import ProgressBar

log = logging.getLogger(__name__)


def facts_of(model: Seq2Seq, plan: BatchPlan) -> Facts:
    """Returns the numbers that decide the settings left `null`."""
    return Facts(
        parameters=count_parameters(model),
        longest_target=max(steps for _, _, steps in plan.shapes) - 1,  # less EOS
        steps_per_epoch=plan.steps,
        largest_batch=plan.shapes[-1],
        cores=cores(),
        has_gpu=has_gpu(),
    )


class Training:
    """What a training in this process works with, and how it is put down and taken up again.

    Attributes:
        plan: The batches of an epoch.
        train_steps: The compiled step, see `compile_training`.
        evaluate: Examples → metrics, and the decoded examples.
        callbacks: Ours and the user's.
        state: All that changes.
    """

    def __init__(
        self, config: RunConfig, run: RunDir, splits: Splits, vocabularies: Vocabularies
    ) -> None:
        """Builds everything; writes nothing yet.

        Raises:
            UserError: The settings contradict each other.
        """
        settings = config.training
        keras.utils.set_random_seed(settings.seed)
        if settings.deterministic:
            tf.config.experimental.enable_op_determinism()
        self.run, self.splits, self.vocabularies = run, splits, vocabularies
        self.plan = BatchPlan(splits.train, vocabularies, settings.batch_size, config.data.buckets)
        self.model = build_model(
            config.model, vocabularies.source_size, len(vocabularies.target), settings.precision
        )
        requested, config = config, resolve(config, facts_of(self.model, self.plan))
        self.kept_config = settings_to_keep(config, requested)
        self.config, settings = config, config.training
        self.optimizer = make_optimizer(config.optimizer)
        self.optimizer.build(self.model.trainable_variables)
        self.model.compile(optimizer=self.optimizer)
        self.train_steps = compile_training(self.model, self.optimizer, settings)
        predictor = Predictor(self.model, vocabularies, config.data, config.decoding)
        self.evaluate = Evaluation(predictor, settings.batch_size, settings.bleu)
        self.console = Console()
        self.tensorboard = (
            TensorBoard(config, run, predictor, splits.dev[:256])
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

    def save_checkpoint(self) -> None:
        """Writes all that is needed to go on from here.

        Raises:
            DiskError: The disk is full, or the folder cannot be written.
        """
        progress = self.state.progress
        steps = progress.epoch * self.plan.steps + progress.step
        self.checkpoints.save(steps, self.state.to_arrays())

    def restore(self, before: RunConfig) -> None:
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
                write_weights(self.run.best_weights, self.model)
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

    def way_back(self) -> str:
        """Tells the user what is left and how to go on."""
        paths = self.checkpoints.paths()
        if not paths:
            return "there is no checkpoint yet"
        return (
            f"the last good checkpoint is {paths[0]}; "
            f"go on with: python train.py resume={self.run.path}"
        )
