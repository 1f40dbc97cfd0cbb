"""Session: the parts of a training in this process, built from the settings."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

from seq2seq.config.checks import check_replicas
from seq2seq.config.machine_rule import OF_MACHINE, is_short
from seq2seq.config.resolve import resolve
from seq2seq.config.schema import RunConfig
from seq2seq.data.batches import BatchPlan
from seq2seq.data.examples import Splits
from seq2seq.data.splits import examples_of_epoch
from seq2seq.data.vocabulary import Vocabularies
from seq2seq.evaluation.evaluate_model import Evaluation, ScoredExample
from seq2seq.inference.predictor import Predictor
from seq2seq.model.seq2seq import Seq2Seq, build_model
from seq2seq.runs.calibration_file import drop_calibration
from seq2seq.runs.checkpoints import Arrays, Checkpoints, step_of
from seq2seq.runs.run_dir import RunDir
from seq2seq.runs.weights import write_weights
from seq2seq.training.callback_state import set_monitor_direction
from seq2seq.training.facts import facts_of, refuse_too_much
from seq2seq.training.keras_objects import make_callbacks, make_optimizer
from seq2seq.training.progress_bar import ProgressBar
from seq2seq.training.screen import Screen, command
from seq2seq.training.state import (
    TrainingState,
    Weights,
    assign_weights,
    check_variables,
    copy_weights,
    restore_variables,
    state_from,
    to_arrays,
)
from seq2seq.training.step import TrainSteps, compile_training
from seq2seq.training.strategy import ONE_REPLICA, Replicas
from seq2seq.training.tensorboard import TensorBoard

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Session:
    """Parts of a training; none is replaced while it lasts.

    Attributes:
        config: The resolved settings.
        run: The run folder.
        splits: The examples.
        vocabularies: Of both sides.
        plan: The batches of an epoch.
        model: The trained model.
        optimizer: Built for the model's variables.
        train_steps: The compiled step, see `compile_training`.
        evaluate: Examples → metrics, and the decoded examples.
        screen: Where the user reads.
        bar: Shows the progress there.
        tensorboard: None: not wanted.
        callbacks: The bar and the user's callbacks.
        user_callbacks: The user's callbacks by name.
        checkpoints: The checkpoint files.
        replicas: What computes a step.
    """

    config: RunConfig
    run: RunDir
    splits: Splits
    vocabularies: Vocabularies
    plan: BatchPlan
    model: Seq2Seq
    optimizer: keras.optimizers.Optimizer
    train_steps: TrainSteps
    evaluate: Evaluation
    screen: Screen
    bar: ProgressBar
    tensorboard: TensorBoard | None
    callbacks: keras.callbacks.CallbackList
    user_callbacks: Mapping[str, keras.callbacks.Callback]
    checkpoints: Checkpoints
    replicas: Replicas

    def learning_rate(self) -> float:
        """Returns the learning rate of the next step."""
        return float(keras.ops.convert_to_numpy(self.optimizer.learning_rate))

    def save_checkpoint(self, state: TrainingState) -> None:
        """Writes all that is needed to resume from here.

        Raises:
            DiskError: The disk is full, or the folder cannot be written.
        """
        steps = state.progress.epoch * self.plan.steps + state.progress.step
        self.checkpoints.save(steps, to_arrays(state, self.model, self.optimizer))

    def evaluate_dev(self) -> tuple[Mapping[str, float], Sequence[ScoredExample]]:
        """Returns the dev metrics of the present weights, and the decoded examples.

        The chief of several workers decodes; the others have its metrics and no examples.
        """
        decoded: list[ScoredExample] = []

        def evaluate() -> dict[str, float]:
            metrics, examples = self.evaluate(self.splits.dev)
            decoded.extend(examples)
            return {name: float(value) for name, value in metrics.items()}

        return self.replicas.from_chief(evaluate), decoded

    def save_best(self) -> Weights:
        """Writes the model's present weights as the best ones, and returns a copy of them."""
        drop_calibration(self.run)
        write_weights(self.run.best_weights, self.model)
        return copy_weights(self.model)

    def restore(self) -> TrainingState:
        """Restores the newest undamaged checkpoint and the best weights it knows.

        Later checkpoints and TensorBoard events are removed: they will be written again.

        Raises:
            UserError: There is no checkpoint, or all are damaged or of another model or optimizer.
        """
        path, (arrays, state) = self.checkpoints.load_newest(self._parse)
        if state.best_weights:
            # best.weights.h5 may be of a later epoch, which was not finished when the process
            # stopped and will be trained again.
            assign_weights(self.model, state.best_weights)
            drop_calibration(self.run)
            write_weights(self.run.best_weights, self.model)
        restore_variables(arrays, self.model, self.optimizer)
        self.checkpoints.drop_after(step_of(path))
        if self.tensorboard is not None:
            self.tensorboard.reopen(state.progress.epoch)
        log.info("resuming from %s", path)
        return state

    def _parse(self, arrays: Arrays) -> tuple[Arrays, TrainingState]:
        """Returns the arrays of a checkpoint and the state in them, and assigns nothing yet.

        Raises:
            ValueError: They do not fit the model, the optimizer and the batches.
        """
        state = state_from(arrays, self.model)
        check_variables(arrays, state, self.model, self.optimizer)
        if state.progress.step > self.plan.steps:
            raise ValueError(f"step {state.progress.step} of {self.plan.steps}")
        return arrays, state

    def way_back(self) -> str:
        """Returns the part of an error message that says how to resume."""
        paths = self.checkpoints.paths()
        if not paths:
            return "there is no checkpoint yet"
        return (
            f"the last good checkpoint is {paths[0]}; "
            f"resume with: {command('train', 'resume', self.run.path)}"
        )


def build_session(
    config: RunConfig,
    run: RunDir,
    splits: Splits,
    vocabularies: Vocabularies,
    replicas: Replicas = ONE_REPLICA,
) -> Session:
    """Builds all parts of a training; writes nothing yet.

    Raises:
        UserError: The settings contradict each other or ask for too much memory.
    """
    # First of all: the seed decides the initial weights and the seeds of dropout.
    keras.utils.set_random_seed(config.training.seed)
    if config.training.deterministic:
        tf.config.experimental.enable_op_determinism()
    if config.training.tf32 is not None:
        tf.config.experimental.enable_tensor_float_32_execution(config.training.tf32)
    batch_size = config.training.batch_size
    assert batch_size is not None  # by `size_rule.py`
    check_replicas(config.training, replicas.count)
    workers = replicas.cluster
    examples, buckets = examples_of_epoch(splits), config.data.buckets
    plan = BatchPlan(examples, vocabularies, batch_size, buckets, workers.number, workers.size)
    refuse_too_much(config, plan, vocabularies)
    sizes = vocabularies.source_size, len(vocabularies.target)
    with replicas.scope():
        model = build_model(
            config.model,
            *sizes,
            config.training.precision,
            vocabularies.copies,
            vocabularies.feature_size,
        )
    facts = facts_of(model, plan, replicas)
    config = resolve(config, facts)
    # Machines may differ; the arithmetic must not.
    own = {name: getattr(config.training, name) for name in OF_MACHINE}
    settings = dataclasses.replace(config.training, **replicas.from_chief(lambda: own))
    config = dataclasses.replace(config, training=settings)
    assert settings.epochs is not None  # by `size_rule.py`
    if facts.has_gpu and is_short(settings.epochs, facts):
        log.info("this training is short: a CPU may be as fast as the GPU (device=cpu)")
    with replicas.scope():
        optimizer = make_optimizer(config.optimizer)
        optimizer.build(model.trainable_variables)
    replicas.share_gradients(optimizer)
    model.compile(optimizer=optimizer)  # Callbacks look for the optimizer at the model.
    predictor = Predictor(model, vocabularies, config.data, config.decoding)
    screen = Screen()
    bar = ProgressBar(screen, settings, plan.steps)
    tensorboard = (
        TensorBoard(config, run, predictor, splits.dev) if config.callbacks.tensorboard else None
    )
    user_callbacks = make_callbacks(config.callbacks.extra)
    callbacks = keras.callbacks.CallbackList(
        [bar, *user_callbacks.values()],
        model=model,
        # `fit` hands these three to every callback.
        epochs=settings.epochs,
        steps=plan.steps,
        verbose=0,
    )
    for name, callback in user_callbacks.items():
        set_monitor_direction(name, callback)
    return Session(
        config=config,
        run=run,
        splits=splits,
        vocabularies=vocabularies,
        plan=plan,
        model=model,
        optimizer=optimizer,
        train_steps=compile_training(model, optimizer, settings, replicas),
        evaluate=Evaluation(predictor, batch_size, settings.bleu),
        screen=screen,
        bar=bar,
        tensorboard=tensorboard,
        callbacks=callbacks,
        user_callbacks=user_callbacks,
        checkpoints=Checkpoints(run.checkpoints, settings.checkpoints_kept),
        replicas=replicas,
    )
