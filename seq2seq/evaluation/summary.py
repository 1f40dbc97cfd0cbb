"""Final scores of a data set: metrics with their intervals, exposure gap, word error rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seq2seq.data.examples import Splits
from seq2seq.evaluation.evaluate_model import Evaluation, ScoredExample
from seq2seq.evaluation.intervals import bootstrap_interval, format_interval
from seq2seq.evaluation.metrics import METRICS, format_metric
from seq2seq.evaluation.text_scores import Join

SUMMARY_CAPTION = "in brackets: 95 % interval; gap: right tokens, teacher-forced → decoded"


def summarize_splits(
    evaluate: Evaluation, splits: Splits, with_word_error_rate: bool
) -> tuple[dict[str, Any], dict[str, list[ScoredExample]]]:
    """Returns summaries and decoded examples of dev and, if there are any, of test examples."""
    results, decoded = {}, {}
    for name, examples in (("dev", splits.dev), ("test", splits.test)):
        if examples:
            metrics, decoded[name] = evaluate(examples)
            join = evaluate.predictor.target.join
            results[name] = summarize(metrics, decoded[name], join, with_word_error_rate)
    return results, decoded


def summarize(
    metrics: Mapping[str, float],
    scored: Sequence[ScoredExample],
    join: Join,
    with_word_error_rate: bool,
) -> dict[str, Any]:
    """Returns the metrics with what a reader needs to judge them.

    `word_error_rate` is 1 - `sequence_accuracy`. `exposure_gap` is the share of right tokens under
    teacher forcing less that of free decoding, 1 - `symbol_error_rate`: the loss that comes from
    reading one's own mistakes. `intervals` has the 95 % intervals of the decoded metrics.

    Args:
        metrics: The metrics of `Evaluation`.
        scored: The decoded examples; no intervals without any.
        join: Makes a line of text of target tokens.
        with_word_error_rate: Whether readers know the sequence error by this name.
    """
    found: dict[str, Any] = {**metrics}
    intervals = _intervals(metrics, scored, join) if scored else {}
    if with_word_error_rate:
        found["word_error_rate"] = 1 - metrics["sequence_accuracy"]
        if "sequence_accuracy" in intervals:
            low, high = intervals["sequence_accuracy"]
            intervals["word_error_rate"] = [1 - high, 1 - low]
    found["exposure_gap"] = metrics["token_accuracy"] - (1 - metrics["symbol_error_rate"])
    return found | {"intervals": intervals}


def _intervals(
    metrics: Mapping[str, float], scored: Sequence[ScoredExample], join: Join
) -> dict[str, list[float]]:
    answers = [one.answer for one in scored]
    found = {}
    for name, metric in METRICS.items():
        if name not in metrics:
            continue
        if metric.of_example is not None:
            found[name] = [*bootstrap_interval(metric.of_example(*answer) for answer in answers)]
        elif (interval := metric.interval) is not None:
            predictions, references = [one for one, _ in answers], [some for _, some in answers]
            found[name] = [*interval(predictions, references, join)]
    return found


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
    if low == high:
        return value
    return f"{value} {format_interval(low, high, 100 if value.endswith('%') else 1)}"
