"""The compiled training step: teacher forcing, loss per real token, clipping, optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from seq2seq.config.choices import Divergence
from seq2seq.config.schema import TrainingConfig
from seq2seq.data.batches import Batch
from seq2seq.model.losses import TokenSums
from seq2seq.model.seq2seq import Seq2Seq

# (iterator over a tf.data.Dataset of batches, number of steps) -> what became of them
TrainSteps = Callable[[Any, tf.Tensor], "Steps"]


class Steps(NamedTuple):
    """What became of some training steps.

    Attributes:
        sums: Over all of them, without those that diverged.
        count: How many were made; less than asked if one diverged and training is to stop.
        diverged: How many had a loss or a gradient that is not finite.
    """

    sums: TokenSums
    count: tf.Tensor
    diverged: tf.Tensor


def compile_training(
    model: Seq2Seq, optimizer: keras.optimizers.Optimizer, settings: TrainingConfig
) -> TrainSteps:
    """Returns a function that takes (iterator of batches, number of steps) and trains them.

    A batch is cut into `settings.micro_batches` equal parts that are computed side by side,
    because XLA keeps all but large products on one core. The sum of their gradients is the gradient
    of the whole batch.

    With `settings.jit_compile` XLA compiles once per static batch shape. Several steps in one call
    save the way back to Python, which small models notice. The settings are resolved.
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
        # Nothing depends on an encoder whose state no bridge hands over and no attention reads.
        zero = tf.UnconnectedGradients.ZERO
        found = tape.gradient(sums.objective, values, unconnected_gradients=zero)
        # An embedding's gradient comes as rows; repeated rows must be summed before the norm.
        return [tf.convert_to_tensor(gradient) for gradient in found], dropout, sums

    @tf.function(autograph=False, jit_compile=settings.jit_compile)
    def update(
        gradients: list[list[tf.Tensor]],
        dropout: list[tf.Tensor],
        sums: list[TokenSums],
        done: Steps,
    ) -> Steps:
        """Changes the variables, and adds a step to those that are done."""
        totals = TokenSums(*(tf.add_n(parts) for parts in zip(*sums, strict=True)))
        tokens = tf.maximum(totals.tokens, 1.0)
        means = [tf.add_n(parts) / tokens for parts in zip(*gradients, strict=True)]
        norm = tf.linalg.global_norm(means)
        is_finite = tf.math.is_finite(norm) & tf.math.is_finite(totals.objective)
        if settings.clip_norm is not None:
            means, _ = tf.clip_by_global_norm(means, settings.clip_norm, norm)

        def apply() -> tf.Tensor:
            optimizer.apply_gradients(zip(means, variables, strict=True))
            return is_finite

        if settings.on_divergence is Divergence.skip:
            # A condition copies every variable, so that only who asks for it pays.
            is_finite = tf.cond(is_finite, apply, lambda: is_finite)
        else:
            apply()
        for state, value in zip(dropout_states, dropout, strict=True):
            state.assign(value)
        # Counted here, because every operation outside XLA takes some microseconds.
        added = (tf.where(is_finite, total, 0.0) for total in totals)
        return Steps(
            TokenSums(*map(tf.add, done.sums, added)),
            done.count + 1,
            done.diverged + tf.cast(~is_finite, tf.int32),
        )

    def train_step(batch: Batch, done: Steps) -> Steps:
        values = [variable.value for variable in variables]
        dropout = [state.value for state in dropout_states]  # [seed, counter] each
        cut = (tf.split(ids, parts) for ids in batch)
        results = [
            # A seed of its own, so that no two parts drop the same units.
            differentiate(values, [tf.add(state, [i, 0]) for state in dropout], Batch(*ids))
            for i, ids in enumerate(zip(*cut, strict=True))
        ]
        gradients, states, sums = map(list, zip(*results, strict=True))
        return update(gradients, states[0], sums, done)

    # A batch that is not cut is one compiled call instead of two.
    step = train_step
    if parts == 1:
        step = tf.function(train_step, autograph=False, jit_compile=settings.jit_compile)

    may_diverge = settings.on_divergence is Divergence.skip

    @tf.function(autograph=False)
    def train_steps(batches: Any, count: tf.Tensor) -> Steps:
        def goes_on(done: Steps) -> tf.Tensor:
            is_left = done.count < count
            return is_left if may_diverge else is_left & (done.diverged == 0)

        def add_step(done: Steps) -> tuple[Steps]:
            return (step(batches.get_next(), done),)

        zeros = TokenSums(*(tf.constant(0.0) for _ in TokenSums._fields))
        start = Steps(zeros, tf.constant(0), tf.constant(0))
        [done] = tf.while_loop(goes_on, add_step, (start,), parallel_iterations=1)
        return done

    return train_steps
