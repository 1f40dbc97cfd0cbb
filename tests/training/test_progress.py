"""Training progress: the best epoch, patience, and the round trip through JSON."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from project import TINY, compose_config

from seq2seq.config.choices import Monitor
from seq2seq.model.losses import TokenSums
from seq2seq.training.progress import Progress

SETTINGS = compose_config(*TINY, "training.epochs=100", "training.patience=3").training
NUMBERS = st.floats(allow_nan=False)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=20), st.sampled_from([*Monitor]))
def test_the_best_is_the_best_and_of_equals_the_one_with_the_least_loss(metrics, monitor):
    progress, kept = Progress(), None
    sign = -1 if monitor in (Monitor.loss, Monitor.symbol_error_rate) else 1
    for value, loss in metrics:
        found = {monitor: value, "loss": value if monitor is Monitor.loss else loss}
        rank = (sign * found[monitor], -found["loss"])
        progress, is_best = progress.judge(found, monitor)
        assert is_best == (kept is None or rank > kept)
        kept = rank if kept is None else max(kept, rank)
        progress = progress.end_epoch()
    if kept is not None:
        assert (progress.best_value, -progress.best_loss) == kept


def test_patience_counts_evaluations_of_the_monitored_metric_only():
    progress = Progress()
    for accuracy, loss in ((0.5, 3.0), (0.5, 2.0), (0.4, 1.0)):
        assert not progress.is_finished(SETTINGS)
        metrics = {"sequence_accuracy": accuracy, "loss": loss}
        progress, _ = progress.judge(metrics, Monitor.sequence_accuracy)
        progress = progress.end_epoch()
    assert (progress.best_epoch, progress.evaluations_without_better) == (2, 2)
    metrics = {"sequence_accuracy": 0.5, "loss": 5.0}
    progress, _ = progress.judge(metrics, Monitor.sequence_accuracy)
    assert progress.is_finished(SETTINGS)
    assert not progress.is_finished(dataclasses.replace(SETTINGS, patience=None))


def test_a_perfect_dev_set_needs_one_more_epoch():
    progress = Progress()
    perfect = {"sequence_accuracy": 1.0, "loss": 1.0}
    progress, _ = progress.judge(perfect, Monitor.sequence_accuracy)
    assert not progress.is_finished(SETTINGS)
    progress, _ = progress.judge(perfect, Monitor.sequence_accuracy)
    assert progress.is_finished(SETTINGS)


@given(st.lists(st.tuples(st.integers(1, 9), st.floats(-1e300, 1e300)), max_size=5), st.booleans())
def test_it_survives_to_the_last_bit(steps, is_over):
    progress = Progress(best_loss=math.inf, callbacks={"a": {"wait": 3, "best": 0.1}})
    for count, value in steps:
        progress = progress.add_steps(count, (value,) * len(TokenSums._fields), 0.1)
    if is_over:
        progress = progress.add_row({"epoch": 1, "examples_per_second": 9.5}, 0.2).end_epoch()
        assert (progress.step, progress.sums) == (0, ())
    assert Progress.from_json(progress.to_json()) == progress


@pytest.mark.parametrize("text", ["", "[]", "{", '{"nosuch": 1}', "3"])
def test_something_else_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011
        Progress.from_json(text)
