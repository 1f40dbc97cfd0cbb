"""The compiled training step: teacher forcing, loss per real token, clipping, optimizer."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from seq2seq.config import Precision, TrainingConfig
from seq2seq.data.pipeline import Batch, BatchPlan
from seq2seq.errors import UserError
from seq2seq.hardware import cores, has_gpu
from seq2seq.model.losses import TokenSums
from seq2seq.model.seq2seq import Seq2Seq

# (iterator over a tf.data.Dataset of batches, number of steps) -> sums over all of them
TrainSteps = Callable[[Any, tf.Tensor], TokenSums]

_MULTIPLICATIONS_PER_CALL = 10**9

_KERAS = re.compile(r"keras\.(optimizers|optimizers\.schedules|callbacks)\.[A-Z][A-Za-z]*")

# A smaller product does not keep a core busy.
_FEWEST_ROWS = 16


def complete(settings: TrainingConfig) -> TrainingConfig:
    """Fills in what is null because it depends on the machine.

    `micro_batches`: one per core, but none of less than 16 rows; `jit_compile`: what is faster.

    Raises:
        UserError: The batch cannot be cut into as many equal parts as asked.
    """
    size, parts = settings.batch_size, settings.micro_batches
    if parts is None:
        most = 1 if has_gpu() else max(1, min(cores(), size // _FEWEST_ROWS))
        parts = next(n for n in range(most, 0, -1) if size % n == 0)
    elif size % parts:
        raise UserError(
            f"training.micro_batches={parts} does not divide training.batch_size={size}"
        )
    jit_compile = settings.jit_compile
    if jit_compile is None:
        # XLA cannot call cuDNN, and on a CPU it multiplies bfloat16 matrices more slowly than
        # float32 ones; oneDNN, outside XLA, multiplies them up to twice as fast.
        jit_compile = settings.precision is Precision.float32 and not has_gpu()
    return dataclasses.replace(settings, micro_batches=parts, jit_compile=jit_compile)


def compile_training(
    model: Seq2Seq, optimizer: keras.optimizers.Optimizer, settings: TrainingConfig
) -> TrainSteps:
    """Returns a function that takes (iterator of batches, number of steps) and trains them.

    A batch is cut into `settings.micro_batches` equal parts that are computed side by side, a core
    each: XLA keeps all but large products on one core. The sum of their gradients is the gradient
    of the whole batch.

    With `settings.jit_compile` XLA compiles once per static batch shape. Several steps in one call
    save the way back to Python, which small models notice. The settings are `complete`.
    """
    assert settings.micro_batches is not None
    assert settings.jit_compile is not None
    variables, parts = model.trainable_variables, settings.micro_batches
    dropout_states = model.non_trainable_variables

    @tf.function(autograph=False, jit_compile=settings.jit_compile)
    def differentiate(
        values: list[tf.Tensor], dropout: list[tf.Tensor], batch: Batch
    ) -> tuple[list[tf.Tensor], list[tf.Tensor], TokenSums]:
        """Returns the gradients of the summed objective, the new dropout states, and the sums."""
        # Variables as values: two parts that wrote to the same dropout states would have to wait
        # for each other.
        given = zip([*variables, *dropout_states], [*values, *dropout], strict=True)
        with tf.GradientTape() as tape:
            tape.watch(values)
            with keras.StatelessScope(given) as scope:
                sums = model.token_sums(*batch, settings.label_smoothing, training=True)
        dropout = [scope.get_current_value(state) for state in dropout_states]
        # An embedding's gradient comes as rows; repeated rows must be summed before the norm.
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(sums.objective, values)]
        return gradients, dropout, sums

    @tf.function(autograph=False, jit_compile=settings.jit_compile)
    def update(
        gradients: list[list[tf.Tensor]], dropout: list[tf.Tensor], sums: list[TokenSums]
    ) -> TokenSums:
        totals = TokenSums(*(tf.add_n(parts) for parts in zip(*sums, strict=True)))
        tokens = tf.maximum(totals.tokens, 1.0)
        means = [tf.add_n(parts) / tokens for parts in zip(*gradients, strict=True)]
        if settings.clip_norm is not None:
            means, _ = tf.clip_by_global_norm(means, settings.clip_norm)
        optimizer.apply_gradients(zip(means, variables, strict=True))
        for state, value in zip(dropout_states, dropout, strict=True):
            state.assign(value)
        return totals

    def train_step(batch: Batch) -> TokenSums:
        values = [variable.value for variable in variables]
        dropout = [state.value for state in dropout_states]  # [seed, counter] each
        cut = (tf.split(ids, parts) for ids in batch)
        results = [
            # A seed of its own, so that no two parts drop the same units.
            differentiate(values, [tf.add(state, [i, 0]) for state in dropout], Batch(*ids))
            for i, ids in enumerate(zip(*cut, strict=True))
        ]
        gradients, states, sums = map(list, zip(*results, strict=True))
        return update(gradients, states[0], sums)

    # A batch that is not cut is one compiled call instead of two.
    step = train_step
    if parts == 1:
        step = tf.function(train_step, autograph=False, jit_compile=settings.jit_compile)

    @tf.function(autograph=False)
    def train_steps(batches: Any, count: tf.Tensor) -> TokenSums:
        def add_step(i: tf.Tensor, totals: TokenSums) -> tuple[tf.Tensor, TokenSums]:
            return i + 1, tf.nest.map_structure(tf.add, totals, step(batches.get_next()))

        zeros = TokenSums(*(tf.constant(0.0) for _ in TokenSums._fields))
        loop = tf.while_loop(lambda i, _: i < count, add_step, (0, zeros), parallel_iterations=1)
        return loop[1]

    return train_steps


def steps_per_call(plan: BatchPlan, parameters: int) -> int:
    """Returns how many steps take about a twentieth of a second, 1 to 32, on a present-day laptop.

    Small models notice the way back to Python after each step; large ones would only be late to
    see a signal.
    """
    rows, source, target = plan.shapes[-1]
    multiplications = parameters * rows * (source + target) // 2
    return max(1, min(32, _MULTIPLICATIONS_PER_CALL // multiplications))


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


def refuse_foreign_code(settings: Any, where: Path) -> None:
    """Refuses settings, at any depth, whose `_target_` is no Keras optimizer, schedule or callback.

    Whoever wrote a run folder may have named any function there is, and its arguments.

    Raises:
        UserError: Names it, and the file in which it stands.
    """
    if isinstance(settings, dict):
        target = settings.get("_target_")
        if "_target_" in settings and not (isinstance(target, str) and _KERAS.fullmatch(target)):
            raise UserError(
                f"{where}: names code that is not Keras's: {target}; "
                "if you know that it is meant, add trust=true"
            )
        settings = list(settings.values())
    if isinstance(settings, list):
        for value in settings:
            refuse_foreign_code(value, where)


def _last_line(error: Exception) -> str:
    cause = error.__cause__ or error
    return str(cause).strip().splitlines()[-1]
