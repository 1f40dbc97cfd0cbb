"""Announcement of each shape that XLA is about to compile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import tensorflow as tf

from seq2seq.model.losses import TokenSums
from seq2seq.training.step import StepResult, TrainSteps


def announce_shapes(
    train_steps: TrainSteps,
    shapes: Iterator[int],
    count: int,
    announce: Callable[[str], None],
    stops_at_divergence: bool,
) -> TrainSteps:
    """Returns the same training steps, which announce every shape before its first batch.

    A call that contains a new shape is made step by step. Its result is the same to the last bit,
    because the sums are added in the same order and precision.

    Args:
        train_steps: The compiled steps.
        shapes: Numbers of the shapes of the coming batches.
        count: Number of different shapes.
        announce: Shows a text to the user.
        stops_at_divergence: Whether `train_steps` takes no step after one that diverged.
    """
    seen: set[int] = set()

    def announced_steps(batches: Any, steps: tf.Tensor) -> StepResult:
        if len(seen) == count:
            return train_steps(batches, steps)
        coming = [*islice(shapes, int(steps))]
        if seen.issuperset(coming):
            return train_steps(batches, steps)
        done: StepResult | None = None
        for shape in coming:
            if shape not in seen:
                seen.add(shape)
                announce(f"compiling shape {len(seen)} of {count}")
            step = train_steps(batches, tf.constant(1))
            done = step if done is None else _add(done, step)
            if stops_at_divergence and step.diverged > 0:
                break
        assert done is not None
        return done

    return announced_steps


def _add(a: StepResult, b: StepResult) -> StepResult:
    sums = TokenSums(*map(tf.add, a.sums, b.sums))
    return StepResult(sums, a.count + b.count, a.diverged + b.diverged)
