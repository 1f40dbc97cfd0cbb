"""Registry of metrics, and the scores of decoded text against one or more references.

`METRICS` has one value per metric. The choice of the best epoch, tables, progress bar and
TensorBoard follow from it. The teacher-forced metrics are computed inside the training and
evaluation steps (`model/losses.py`); nothing here knows about probabilities or tensors.

To add a decoded metric, add its function and a line in `METRICS`; to let it choose the best epoch,
add its name to `Monitor` in `config/choices.py`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from seq2seq.errors import UserError
from seq2seq.evaluation.text_scores import (
    Join,
    Predictions,
    References,
    Tokens,
    bleu,
    bleu_interval,
    chrf,
    chrf_interval,
)

Measure = Callable[[Predictions, References, Join], float]
MeasureInterval = Callable[[Predictions, References, Join], tuple[float, float]]
OfExample = Callable[[Tokens, Sequence[Tokens]], tuple[int, int]]


@dataclass(frozen=True)
class Metric:
    """A measure of quality.

    Attributes:
        name: Key of `results.json`, column of `metrics.csv`, tag of TensorBoard.
        measure: Scores decoded text; None: teacher-forced, computed by the model.
        is_higher_better: The direction of improvement.
        perfect: The value that no other can exceed; None: none is known.
        is_rate: Whether tables show it in percent.
        is_optional: Whether it is measured on request only (`training.bleu`, `bleu`), because it
            needs sacrebleu.
        of_example: The two numbers of an example, if the metric is the sum of the first ones
            divided by that of the second ones; it then has an interval (`intervals.py`).
        interval: Returns the 95 % interval of another metric, if it can be computed.
    """

    name: str
    measure: Measure | None
    is_higher_better: bool
    perfect: float | None = None
    is_rate: bool = False
    is_optional: bool = False
    of_example: OfExample | None = None
    interval: MeasureInterval | None = None

    def rank(self, value: float) -> float:
        """Returns a number that is higher for better values."""
        return value if self.is_higher_better else -value

    @property
    def is_decoded(self) -> bool:
        """Whether it scores decoded text."""
        return self.measure is not None


def sequence_accuracy(predictions: Predictions, references: References) -> float:
    """Returns the share of predictions equal to any of their references, 0 to 1."""
    exact = sum(is_exact(*pair) for pair in zip(predictions, references, strict=True))
    return exact / len(predictions) if predictions else 0.0


def symbol_error_rate(predictions: Predictions, references: References) -> float:
    """Returns the edits per reference token; 0 is perfect, and it can exceed 1.

    The edit distance to the nearest reference, summed over the predictions, is divided by the
    summed length of these references. Of references equally near, the longest counts.
    """
    edits, length = 0, 0
    for pair in zip(predictions, references, strict=True):
        nearest_edits, nearest_length = nearest(*pair)
        edits, length = edits + nearest_edits, length + nearest_length
    return edits / length if length else 0.0


def nearest(prediction: Tokens, accepted: Sequence[Tokens]) -> tuple[int, int]:
    """Returns edit distance and length of the nearest reference; of equally near, the longest."""
    reference = nearest_reference(prediction, accepted)
    return edit_distance(prediction, reference), len(reference)


def nearest_reference(prediction: Tokens, accepted: Sequence[Tokens]) -> Tokens:
    """Returns the reference with the fewest edits; of equally near ones, the longest."""
    if len(accepted) == 1:
        return accepted[0]
    return min(accepted, key=lambda one: (edit_distance(prediction, one), -len(one)))


def is_exact(prediction: Tokens, accepted: Sequence[Tokens]) -> bool:
    """Tells whether the prediction equals one of the accepted references."""
    return any(tuple(prediction) == tuple(reference) for reference in accepted)


def edit_distance(prediction: Tokens, reference: Tokens) -> int:
    """Returns the Levenshtein distance in tokens."""
    return Levenshtein.distance(prediction, reference)


# In the order of tables and files.
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("loss", None, is_higher_better=False),
        Metric("token_accuracy", None, is_higher_better=True, is_rate=True),
        Metric("perplexity", None, is_higher_better=False),
        Metric(
            "sequence_accuracy",
            lambda predictions, references, _: sequence_accuracy(predictions, references),
            is_higher_better=True,
            perfect=1.0,
            is_rate=True,
            of_example=lambda prediction, accepted: (int(is_exact(prediction, accepted)), 1),
        ),
        Metric(
            "symbol_error_rate",
            lambda predictions, references, _: symbol_error_rate(predictions, references),
            is_higher_better=False,
            perfect=0.0,
            is_rate=True,
            of_example=nearest,
        ),
        # No perfect value: by rounding, a perfect corpus may score a little less than 100.
        Metric(
            "bleu",
            bleu,
            is_higher_better=True,
            is_optional=True,
            interval=bleu_interval,
        ),
        Metric(
            "chrf",
            chrf,
            is_higher_better=True,
            is_optional=True,
            interval=chrf_interval,
        ),
    )
}


def decoded_metrics(
    predictions: Predictions, references: References, join: Join, with_optional: bool
) -> dict[str, float | int]:
    """Returns the scores of decoded text by name, and the number of `examples`.

    Args:
        predictions: Decoded tokens.
        references: The accepted tokens of each prediction.
        join: Makes a line of text of tokens.
        with_optional: Whether the optional metrics are wanted.

    Raises:
        UserError: A library that a wanted metric needs is not installed.
    """

    def measured(is_optional: bool) -> dict[str, float | int]:
        return {
            name: metric.measure(predictions, references, join)
            for name, metric in METRICS.items()
            if metric.measure is not None and metric.is_optional is is_optional
        }

    optional = measured(is_optional=True) if with_optional else {}
    return measured(is_optional=False) | {"examples": len(predictions)} | optional


def check_monitor(monitor: str, with_optional: bool) -> None:
    """Refuses to choose the best epoch by a metric that is not measured.

    Raises:
        UserError: Names the setting and the way out.
    """
    if METRICS[monitor].is_optional and not with_optional:
        raise UserError(f"training.monitor={monitor} needs training.bleu=true")


_FURTHER_RATES = ("word_error_rate", "exposure_gap")  # made of metrics, in `summary.py`


def format_metric(name: str, value: float) -> str:
    """Returns a number for people: rates in percent, counts whole."""
    if name in _FURTHER_RATES or (name in METRICS and METRICS[name].is_rate):
        return f"{100 * value:.2f} %"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def format_mean(name: str, values: Sequence[float]) -> str:
    """Returns mean and, of several, sample standard deviation, such as `91.20 ± 0.40 %`."""
    mean = format_metric(name, statistics.mean(values))
    is_one_count = isinstance(values[0], int) and len(set(values)) == 1
    if len(values) == 1 or is_one_count:
        return mean
    return f"{mean.removesuffix(' %')} ± {format_metric(name, statistics.stdev(values))}"
