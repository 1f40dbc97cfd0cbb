"""Parts of an epoch, as functions of values: its steps, its logs, the choice of the best."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

import tensorflow as tf

from seq2seq.config.choices import Monitor
from seq2seq.data.batches import BatchStream
from seq2seq.model.losses import TokenSums, teacher_forced_metrics
from seq2seq.training.divergence import diverged_evaluation
from seq2seq.training.progress import Progress
from seq2seq.training.signals import AgreedStop, StoppedBySignal, StopRequest
from seq2seq.training.state import TrainingState, Weights
from seq2seq.training.step import StepResult, TrainSteps

# One call of the compiled steps: progress before → progress after.
Step = Callable[[Progress], Progress]


def train_epoch(
    step: Step,
    steps: int,
    state: TrainingState,
    stop: StopRequest | AgreedStop,
    save: Callable[[TrainingState], None],
    every: int | None,
) -> TrainingState:
    """Trains the remaining steps of an epoch.

    Args:
        step: Trains one or several steps.
        steps: Steps of the whole epoch.
        state: Where the epoch begins or resumes.
        stop: Tells whether a signal arrived.
        save: Writes a checkpoint.
        every: Steps between checkpoints; None: no checkpoint inside an epoch.

    Raises:
        StoppedBySignal: A signal asked to stop; a checkpoint was saved.
    """
    while state.progress.step < steps:
        first = state.progress.step
        state = state._replace(progress=step(state.progress))
        last = state.progress.step
        if last == steps:
            break  # The checkpoint comes after the evaluation.
        # Read once: a signal that arrives during the next lines is answered after the next step,
        # and never without a checkpoint.
        signal = stop.signal
        # A call takes several steps, so that it may pass a multiple of `every`.
        if signal or (every and last // every > first // every):
            save(state)
        if signal:
            raise StoppedBySignal(signal)
    return state


def take_steps(
    train_steps: TrainSteps, stream: BatchStream, count: int, progress: Progress
) -> tuple[Progress, StepResult]:
    """Trains `count` steps, or fewer if one diverges and training is to stop."""
    began = time.perf_counter()
    with stream.own_error():
        result = train_steps(stream.iterator, tf.constant(count))
    sums = [float(total) for total in result.sums]  # Waits for the step's end.
    seconds = time.perf_counter() - began
    return progress.add_steps(int(result.count), sums, seconds), result


def train_logs(
    progress: Progress, batch_size: int, examples: int, learning_rate: float
) -> dict[str, float]:
    """Returns the metrics of the present epoch so far, the learning rate and the speed.

    Args:
        progress: Counters and sums of the epoch.
        batch_size: Rows per step.
        examples: Examples per epoch; the last batches of the buckets are filled up.
        learning_rate: That of the last step.
    """
    trained = min(progress.step * batch_size, examples)
    return {
        **teacher_forced_metrics(TokenSums(*progress.sums)),
        "learning_rate": learning_rate,
        "examples_per_second": trained / max(progress.epoch_seconds, 1e-9),
    }


def keep_if_best(
    state: TrainingState,
    metrics: Mapping[str, float],
    monitor: Monitor,
    save_best: Callable[[], Weights],
) -> TrainingState:
    """Judges the dev metrics of an epoch; the best one's weights become `best_weights`.

    Args:
        state: The state before the judgement.
        metrics: Scores of the dev set.
        monitor: The metric that decides.
        save_best: Writes the present weights as the best, and returns a copy of them.

    Raises:
        DivergedError: The dev loss is not finite.
    """
    if not math.isfinite(metrics["loss"]):
        raise diverged_evaluation(metrics["loss"], state.progress.epoch + 1)
    progress, is_best = state.progress.judge(metrics, monitor)
    best_weights = save_best() if is_best else state.best_weights
    return state._replace(progress=progress, best_weights=best_weights)
