"""Steps of an epoch with a scripted step: checkpoints, signals, the best weights."""

import math

import numpy as np
import pytest

from seq2seq.config.choices import Monitor
from seq2seq.errors import UserError
from seq2seq.training.epoch import keep_if_best, train_epoch, train_logs
from seq2seq.training.progress import Progress
from seq2seq.training.signals import StoppedBySignal, StopRequest
from seq2seq.training.state import TrainingState, initial_state


def by(count):
    return lambda progress: progress.add_steps(min(count, 10 - progress.step), (0.0,), 0.1)


def trained(step, every, stop=None, start=0):
    """Returns the step at the end of an epoch of ten, and the steps of its checkpoints."""
    saved = []
    state = TrainingState(Progress(step=start), ())
    stop = StopRequest() if stop is None else stop
    try:
        state = train_epoch(
            step, 10, state, stop, lambda one: saved.append(one.progress.step), every
        )
    except StoppedBySignal as end:
        return end.code, saved
    return state.progress.step, saved


@pytest.mark.parametrize(
    ("per_call", "every", "start", "expected"),
    [
        (1, 4, 0, [4, 8]),
        (3, 4, 0, [6, 9]),  # the first call that passes a multiple
        (5, 2, 0, [5]),  # the last one comes after the evaluation
        (3, None, 0, []),
        (3, 4, 7, []),
        (1, 4, 7, [8]),
        (1, 4, 10, []),
    ],
)
def test_checkpoints_inside_an_epoch(per_call, every, start, expected):
    assert trained(by(per_call), every, start=start) == (10, expected)


def test_a_signal_ends_the_epoch_after_a_checkpoint():
    stop = StopRequest()

    def step(progress):
        stop.signal = 15 if progress.step == 4 else None
        return by(2)(progress)

    assert trained(step, None, stop) == (143, [6])


def test_a_signal_during_the_last_step_waits_for_the_evaluation():
    stop = StopRequest()
    stop.signal = 2

    def step(progress):
        return by(10)(progress)

    assert trained(step, 1, stop) == (10, [])


def test_the_best_weights_are_taken_when_they_are_the_best():
    state, taken = initial_state(), []
    for number, accuracy in enumerate((0.5, 0.4, 0.6)):

        def save_best(number=number):
            taken.append(number)
            return (np.full(2, number),)

        metrics = {"sequence_accuracy": accuracy, "loss": 1.0}
        state = keep_if_best(state, metrics, Monitor.sequence_accuracy, save_best)
        state = state._replace(progress=state.progress.end_epoch())
    assert taken == [0, 2]
    assert state.progress.best_epoch == 3
    np.testing.assert_array_equal(state.best_weights[0], [2, 2])


@pytest.mark.parametrize("loss", [math.inf, math.nan])
def test_a_dev_loss_that_is_not_finite_is_an_error(loss):
    metrics = {"sequence_accuracy": 0.5, "loss": loss}
    with pytest.raises(UserError, match=r"dev became .* in epoch 1: lower optimizer"):
        keep_if_best(initial_state(), metrics, Monitor.sequence_accuracy, tuple)


def test_speed_counts_examples_and_not_filling_rows():
    progress = Progress(step=4, sums=(8.0, 8.0, 2.0, 4.0), epoch_seconds=2.0)
    logs = train_logs(progress, batch_size=32, examples=100, learning_rate=0.5)
    assert logs == {
        "loss": 2.0,
        "token_accuracy": 0.5,
        "perplexity": math.exp(2.0),
        "learning_rate": 0.5,
        "examples_per_second": 50.0,
    }
