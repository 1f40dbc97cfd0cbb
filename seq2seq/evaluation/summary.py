"""Final scores of a data set: metrics with their intervals, exposure gap, word error rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seq2seq.evaluation.evaluate_model import ScoredExample
from seq2seq.evaluation.intervals import Interval, bootstrap_interval
from seq2seq.evaluation.metrics import METRICS, format_metric

SUMMARY_CAPTION = "in brackets: 95 % interval; gap: right tokens, teacher-forced → decoded"


def summarize(
    metrics: Mapping[str, float], scored: Sequence[ScoredExample], with_word_error_rate: bool
) -> dict[str, Any]:
    """Returns the metrics with what a reader needs to judge them.

    `word_error_rate` is 1 - `sequence_accuracy`. `exposure_gap` is the share of right tokens under
    teacher forcing less that of free decoding, 1 - `symbol_error_rate`: the loss that comes from
    reading one's own mistakes. `intervals` has the 95 % interval of every metric that is a mean
    over examples.

    Args:
        metrics: The metrics of `Evaluation`.
        scored: The decoded examples; no intervals without any.
        with_word_error_rate: Whether readers know the sequence error by this name.
    """
    found: dict[str, Any] = {**metrics}
    intervals = _intervals(scored) if scored else {}
    if with_word_error_rate:
        found["word_error_rate"] = 1 - metrics["sequence_accuracy"]
        if "sequence_accuracy" in intervals:
            low, high = intervals["sequence_accuracy"]
            intervals["word_error_rate"] = [1 - high, 1 - low]
    found["exposure_gap"] = metrics["token_accuracy"] - (1 - metrics["symbol_error_rate"])
    return found | {"intervals": intervals}


def _intervals(scored: Sequence[ScoredExample]) -> dict[str, list[float]]:
    return {
        name: [*bootstrap_interval(metric.of_example(*one.answer) for one in scored)]
        for name, metric in METRICS.items()
        if metric.of_example is not None
    }


def summary_rows(results: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Returns a row for each score: its name, and its value and interval in each data set.

    Args:
        results: The summary of each data set, by its name. Those of earlier versions have neither
            intervals nor the exposure gap.
    """
    names = dict.fromkeys(name for scores in results.values() for name in scores)
    return [
        [name.replace("exposure_gap", "exposure gap"), *(_cell(name, s) for s in results.values())]
        for name in names
        if name != "intervals"
    ]


def _cell(name: str, scores: Mapping[str, Any]) -> str:
    if name not in scores:
        return ""
    value = format_metric(name, scores[name])
    if name == "exposure_gap":
        forced, free = scores["token_accuracy"], 1 - scores["symbol_error_rate"]
        return f"{value} ({100 * forced:.2f} → {100 * free:.2f})"
    low, high = scores.get("intervals", {}).get(name, (0, 0))
    # Resamples of examples that are all alike, such as 500 right ones, know of no others.
    return value if low == high else f"{value} {format_interval((low, high))}"


def format_interval(interval: Interval) -> str:
    """Returns the interval of a rate in percent, such as `[93.1, 97.6]`."""
    low, high = interval
    return f"[{100 * low:.1f}, {100 * high:.1f}]"
