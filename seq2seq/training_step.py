"""The compiled training step: teacher forcing, loss per real token, clipping, optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from seq2seq.config import TrainingConfig
from seq2seq.data.pipeline import Batch
from seq2seq.errors import UserError
from seq2seq.model.losses import TokenSums, token_sums
from seq2seq.model.seq2seq import Seq2Seq

TrainSteps = Callable[[Iterator[Batch], tf.Tensor], TokenSums]


def compile_training(
    model: Seq2Seq, optimizer: keras.optimizers.Optimizer, settings: TrainingConfig
) -> TrainSteps:
    """Returns a function that takes (iterator of batches, number of steps) and trains them.

    The step itself is compiled by XLA if `settings.jit_compile`: once per static batch shape.
    Several steps in one call save the way back to Python, which small models notice.
    """
    variables = model.trainable_variables

    @tf.function(jit_compile=settings.jit_compile)
    def train_step(batch: Batch) -> TokenSums:
        with tf.GradientTape() as tape:
            logits = model({"source": batch.source, "target_in": batch.target_in}, training=True)
            sums = token_sums(logits, batch.target_out, settings.label_smoothing)
            loss = sums.objective / tf.maximum(sums.tokens, 1.0)
        # An embedding's gradient comes as rows; repeated rows must be summed before the norm.
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, variables)]
        if settings.clip_norm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, settings.clip_norm)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return sums

    @tf.function
    def train_steps(batches: Iterator[Batch], count: tf.Tensor) -> TokenSums:
        totals = TokenSums(*(tf.constant(0.0) for _ in TokenSums._fields))
        for _ in tf.range(count):
            totals = tf.nest.map_structure(tf.add, totals, train_step(next(batches)))
        return totals

    return train_steps


def make_optimizer(settings: dict[str, Any], total_steps: int) -> keras.optimizers.Optimizer:
    """Creates the Keras optimizer that `settings` names by `_target_`.

    A schedule with `decay_steps: null` is given the steps of the whole run, less its warm-up.

    Raises:
        UserError: There is no such class, or it does not take these arguments.
    """
    schedule = settings.get("learning_rate")
    if isinstance(schedule, dict) and "decay_steps" in schedule and not schedule["decay_steps"]:
        steps = max(1, total_steps - (schedule.get("warmup_steps") or 0))
        settings = {**settings, "learning_rate": {**schedule, "decay_steps": steps}}
    try:
        optimizer = instantiate(settings)
    except (InstantiationException, TypeError, ValueError) as error:
        raise UserError(f"optimizer: {_last_line(error)}") from error
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise UserError("optimizer._target_ is not a Keras optimizer, e.g. keras.optimizers.Adam")
    return optimizer


def make_callbacks(settings: dict[str, Any]) -> list[keras.callbacks.Callback]:
    """Creates the Keras callbacks under `callbacks.extra`, in the order they stand there.

    Raises:
        UserError: One is no Keras callback or does not take its arguments.
    """
    callbacks = []
    for name, arguments in settings.items():
        try:
            callback = instantiate(arguments)
        except (InstantiationException, TypeError, ValueError) as error:
            raise UserError(f"callbacks.extra.{name}: {_last_line(error)}") from error
        if not isinstance(callback, keras.callbacks.Callback):
            raise UserError(f"callbacks.extra.{name}._target_ is not a Keras callback")
        callbacks.append(callback)
    return callbacks


def _last_line(error: Exception) -> str:
    cause = error.__cause__ or error
    return str(cause).strip().splitlines()[-1]
