"""Compiled training step: teacher forcing, loss per real token, gradient clipping, optimizer.

A step is two compiled functions: one computes the gradients of a part of the batch (a micro-batch),
the other adds up those of all parts and updates the variables. A loop around them takes several
steps per call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from seq2seq.config.choices import Divergence
from seq2seq.config.schema import TrainingConfig
from seq2seq.data.batches import Batch
from seq2seq.model.losses import TokenSums
from seq2seq.model.rnn.compiled import compiled
from seq2seq.model.seq2seq import Seq2Seq
from seq2seq.training.strategy import ONE_REPLICA, Replicas

Tensors = list[tf.Tensor]


class StepResult(NamedTuple):
    """Result of some training steps, scalars.

    Attributes:
        sums: Over all of them, without those that diverged.
        count: Number of steps taken; fewer than requested if one diverged and training is to stop.
        diverged: Number of steps with a loss or a gradient that is not finite.
    """

    sums: TokenSums
    count: tf.Tensor
    diverged: tf.Tensor


class Gradients(NamedTuple):
    """Result of a micro-batch.

    Attributes:
        gradients: Of the summed objective, in the order of the trainable variables.
        dropout: The next values of dropout's random states.
        sums: Loss, correct tokens, tokens.
    """

    gradients: Tensors
    dropout: Tensors
    sums: TokenSums


# (iterator over a `tf.data.Dataset` of batches, number of steps) → their result
TrainSteps = Callable[[Any, tf.Tensor], StepResult]
# (variables' values, dropout's states, micro-batch) → its gradients
Differentiate = Callable[[Tensors, Tensors, Batch], Gradients]
# (gradients by micro-batch, dropout's states, sums by micro-batch, previous steps) → with this one
Update = Callable[[list[Tensors], Tensors, list[TokenSums], StepResult], StepResult]


def compile_training(
    model: Seq2Seq,
    optimizer: keras.optimizers.Optimizer,
    settings: TrainingConfig,
    replicas: Replicas = ONE_REPLICA,
) -> TrainSteps:
    """Returns a function that takes (iterator of batches, number of steps) and trains them.

    A batch is cut into `settings.micro_batches` equal parts that are computed side by side, by one
    replica or several, because XLA keeps all but large products on one core. The sum of their
    gradients is the gradient of the whole batch.

    With `settings.jit_compile` XLA compiles once per static batch shape. Several steps per call
    save the way back to Python, which small models notice.

    Args:
        model: Its trainable variables are updated.
        optimizer: Built for these variables.
        settings: Resolved, see `resolve_training`.
        replicas: Have copies of these variables.
    """
    step = _compile_step(
        model,
        _compile_gradients(model, settings),
        _compile_update(model, optimizer, settings, replicas),
        settings,
        replicas,
    )
    # A skipped step leaves the variables finite; any other divergence ends the loop at once.
    stops_at_divergence = settings.on_divergence is not Divergence.skip

    @tf.function(autograph=False)
    def train_steps(batches: Any, count: tf.Tensor) -> StepResult:
        def is_unfinished(done: StepResult) -> tf.Tensor:
            is_left = done.count < count
            return is_left & (done.diverged == 0) if stops_at_divergence else is_left

        def add_step(done: StepResult) -> tuple[StepResult]:
            return (replicas.run(step, batches.get_next(), done),)

        zeros = TokenSums(*(tf.constant(0.0) for _ in TokenSums._fields))
        start = StepResult(zeros, tf.constant(0), tf.constant(0))
        # One after the other: each step reads the variables that the one before has written.
        [done] = tf.while_loop(is_unfinished, add_step, (start,), parallel_iterations=1)
        return done

    return train_steps


def _compile_step(
    model: Seq2Seq,
    differentiate: Differentiate,
    update: Update,
    settings: TrainingConfig,
    replicas: Replicas,
) -> Callable[[Batch, StepResult], StepResult]:
    """Returns (batch, result so far) → result with this step."""
    assert settings.micro_batches is not None
    assert settings.jit_compile is not None
    variables, dropout_states = model.trainable_variables, model.non_trainable_variables
    parts = settings.micro_batches // replicas.count

    def train_step(batch: Batch, done: StepResult) -> StepResult:
        # Read once, so that all parts see the same values and none waits for another.
        values = [replicas.read(variable) for variable in variables]
        dropout = [replicas.read(state) for state in dropout_states]  # [seed, counter] each
        own = map(replicas.own_rows, batch)
        cut = (tf.split(ids, parts) for ids in own)  # `parts` tensors [B / parts, …] each
        first = replicas.first_part(parts)
        results = [
            # Another seed for each part, so that no two parts drop the same units.
            differentiate(values, [tf.add(state, [first + i, 0]) for state in dropout], Batch(*ids))
            for i, ids in enumerate(zip(*cut, strict=True))
        ]
        gradients, states, sums = map(list, zip(*results, strict=True))
        # All parts advance the counters equally; the first one of all has the unchanged seed.
        advanced = states[0]
        if replicas.count > 1:
            advanced = [tf.subtract(state, [first, 0]) for state in advanced]
        return update(gradients, advanced, sums, done)

    if replicas.count == parts == 1:
        # A batch that is not cut is one compiled call instead of two.
        return compiled(train_step, bool(settings.jit_compile))
    return train_step


def _compile_gradients(model: Seq2Seq, settings: TrainingConfig) -> Differentiate:
    """Returns (variables' values, dropout's states, micro-batch) → `Gradients`.

    Variables come as values, and dropout's states go back as values: parts that wrote to the same
    states would have to wait for each other.
    """
    variables, dropout_states = model.trainable_variables, model.non_trainable_variables

    def differentiate(values: Tensors, dropout: Tensors, batch: Batch) -> Gradients:
        given = zip([*variables, *dropout_states], [*values, *dropout], strict=True)
        with tf.GradientTape() as tape:
            tape.watch(values)
            with keras.StatelessScope(given) as scope:
                sums = model.token_sums(*batch, settings.label_smoothing, training=True)
        dropout = [scope.get_current_value(state) for state in dropout_states]
        # Of the sum, not the mean: the number of tokens is known only when all parts are added up.
        # Zero where there is no path: nothing depends on an encoder whose state no bridge hands
        # over and no attention reads.
        zero = tf.UnconnectedGradients.ZERO
        found = tape.gradient(sums.objective, values, unconnected_gradients=zero)
        # An embedding's gradient comes as rows [N, E] and their ids; a row that occurs twice must
        # be summed before the norm, which is that of [V, E].
        return Gradients([tf.convert_to_tensor(gradient) for gradient in found], dropout, sums)

    return compiled(differentiate, bool(settings.jit_compile))


def _compile_update(
    model: Seq2Seq,
    optimizer: keras.optimizers.Optimizer,
    settings: TrainingConfig,
    replicas: Replicas,
) -> Update:
    """Returns the function that adds up the parts of a batch and updates the variables."""
    variables, dropout_states = model.trainable_variables, model.non_trainable_variables

    def update(
        gradients: list[Tensors], dropout: Tensors, sums: list[TokenSums], done: StepResult
    ) -> StepResult:
        parts = [*zip(*sums, strict=True), *zip(*gradients, strict=True)]
        added = replicas.add_up([tf.add_n(part) for part in parts])
        totals, whole = TokenSums(*added[: len(sums[0])]), added[len(sums[0]) :]
        # The mean is over the real tokens of the whole batch, whatever the padding and the cut. A
        # batch of padding alone has none: its gradient is 0 / 1.
        tokens = tf.maximum(totals.tokens, 1.0)
        means = [gradient / tokens for gradient in whole]
        # Of all gradients together, so that clipping keeps their direction (Pascanu et al. 2013).
        norm = tf.linalg.global_norm(means)
        # One infinite or missing number in any gradient shows in the norm.
        is_finite = tf.math.is_finite(norm) & tf.math.is_finite(totals.objective)
        if settings.clip_norm is not None:
            means, _ = tf.clip_by_global_norm(means, settings.clip_norm, norm)

        def apply() -> tf.Tensor:
            optimizer.apply_gradients(zip(means, variables, strict=True))
            return is_finite

        if settings.on_divergence is Divergence.skip:
            # A condition copies every variable: only who asks for it pays.
            is_finite = tf.cond(is_finite, apply, lambda: is_finite)
        else:
            apply()
        for state, value in zip(dropout_states, dropout, strict=True):
            replicas.assign(state, value)
        # Counted here, because every operation outside XLA takes some microseconds. `where` and
        # not a product: 0 times nan is nan.
        finite = (tf.where(is_finite, total, 0.0) for total in totals)
        return StepResult(
            TokenSums(*map(tf.add, done.sums, finite)),
            done.count + 1,
            done.diverged + tf.cast(~is_finite, tf.int32),
        )

    if replicas.count > 1:
        return update  # Replicas meet in it, which they cannot in a function of its own.
    return tf.function(update, autograph=False, jit_compile=settings.jit_compile)
