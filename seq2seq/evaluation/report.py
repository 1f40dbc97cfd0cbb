"""The report of a run: one page with curves, scores, and what the model gets wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from seq2seq.data.examples import Example
from seq2seq.data.vocabulary import Tokenizer
from seq2seq.errors import visible
from seq2seq.evaluation.breakdown import (
    Groups,
    by_length,
    by_rarest_symbol,
    by_tag,
    group_rows,
)
from seq2seq.evaluation.calibration import calibration_error, reliability
from seq2seq.evaluation.confusions import find_confusions
from seq2seq.evaluation.evaluate_model import ScoredExample, best_and_worst
from seq2seq.evaluation.page import Page
from seq2seq.evaluation.summary import SUMMARY_CAPTION, summary_rows
from seq2seq.evaluation.surprises import find_surprises
from seq2seq.inference.predictor import Predictor

_MAX_CELL = 200  # characters
_MAX_CONFUSIONS = _MAX_SURPRISES = 20
_MAX_TOLD = 12  # best and worst
_MAX_MAPS = 4
_MAX_COUNTED = 200_000  # training examples whose symbols are counted


class Material(NamedTuple):
    """Content of a report.

    Attributes:
        results: The summary of each data set, by its name.
        split: The name of the data set whose examples are shown.
        scored: Its decoded examples.
        train: The training examples; empty if they are not at hand.
        rows: The table of `metrics.csv`; empty if there is none.
        best_epoch: Its row of the best epoch.
    """

    results: Mapping[str, Mapping[str, Any]]
    split: str
    scored: Sequence[ScoredExample]
    train: Sequence[Example]
    rows: Sequence[Mapping[str, str]]
    best_epoch: int


def make_report(title: str, subtitle: str, material: Material, predictor: Predictor) -> str:
    """Returns the page as HTML."""
    page = Page(visible(title, _MAX_CELL), visible(subtitle, 5 * _MAX_CELL))
    split, scored = material.split, material.scored
    page.heading("Results", f"Scores of the best epoch; {SUMMARY_CAPTION}.")
    page.table(["", *material.results], summary_rows(material.results))
    if material.rows:
        _show_curves(page, material.rows, material.best_epoch)
    _show_confusions(page, split, scored, predictor)
    _show_groups(page, "Length", "source tokens", by_length(scored))
    if 0 < len(material.train) <= _MAX_COUNTED:
        groups = by_rarest_symbol(scored, material.train)
        _show_groups(page, "Rare symbols", "rarest source symbol or tag in training", groups)
    _show_groups(page, "Tags", "tag", by_tag(scored))
    _show_confidence(page, scored)
    _show_examples(page, split, scored, predictor)
    _show_attention(page, scored, predictor)
    if material.train:
        _show_surprises(page, material.train, predictor)
    return page.html()


def _table(page: Page, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Adds a table of text from anywhere."""
    page.table(columns, [[visible(cell, _MAX_CELL) for cell in row] for row in rows])


def _show_curves(page: Page, rows: Sequence[Mapping[str, str]], best_epoch: int) -> None:
    # Half a second to import.
    from seq2seq.evaluation.figures import both_versions, curves_figure

    losses = {"train loss": _curve(rows, "loss"), "dev loss": _curve(rows, "dev_loss")}
    names = ("token_accuracy", "sequence_accuracy", "symbol_error_rate")
    rates = {f"dev {name}": _curve(rows, f"dev_{name}") for name in names}
    page.heading("Learning curves", "Epoch by epoch; the dotted line is the epoch that was kept.")
    for caption, curves in (("Loss", losses), ("Rates of dev", rates)):
        page.figure(*both_versions(partial(curves_figure, curves, best_epoch)), caption)


def _curve(rows: Sequence[Mapping[str, str]], name: str) -> tuple[list[float], list[float]]:
    """Returns epochs and values of a column; not every epoch is evaluated."""
    points = [(_number(row["epoch"]), _number(row.get(name, ""))) for row in rows]
    points = [point for point in points if all(map(math.isfinite, point))]
    return [epoch for epoch, _ in points], [value for _, value in points]


def _number(text: str) -> float:
    """Returns the number of a cell; `nan` if it is empty or, in a file from anywhere, none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _show_confusions(
    page: Page, split: str, scored: Sequence[ScoredExample], predictor: Predictor
) -> None:
    found = find_confusions(scored)
    kinds = {"replace": "replaced", "insert": "inserted", "delete": "left out"}
    totals = ", ".join(
        f"{sum(one.occurrences for one in found if one.kind == kind):,} {word}"
        for kind, word in kinds.items()
    )
    page.heading(
        "Symbol confusions",
        f"Predictions of {split} are aligned with their nearest references: {totals}. Each row "
        "has the first example.",
    )
    if not found:
        return
    rows = [
        (
            one.expected or "(nothing)",
            one.written or "(nothing)",
            f"{one.occurrences:,}",
            *_texts(one.example, predictor),
        )
        for one in found[:_MAX_CONFUSIONS]
    ]
    columns = ["expected", "written", "count", "source", "prediction", "reference"]
    _table(page, columns, rows)


def _texts(one: ScoredExample, predictor: Predictor) -> tuple[str, str, str]:
    """Returns source with features, prediction, and references."""
    source, features, prediction, *references = one.row(predictor.data)
    return f"{source} {features}".strip(), prediction, " / ".join(references)


def _show_groups(page: Page, title: str, kind: str, groups: Groups) -> None:
    if len(groups) > 1:
        page.heading(title, f"Scores by {kind}; in brackets the 95 % interval.")
        _table(page, [kind, "examples", "exact", "edits per token"], [*group_rows(groups)])


def _show_confidence(page: Page, scored: Sequence[ScoredExample]) -> None:
    known = [(one.prediction.confidence, one.is_exact) for one in scored]
    pairs = [(confidence, exact) for confidence, exact in known if confidence is not None]
    if not pairs:
        return
    from seq2seq.evaluation.figures import both_versions, reliability_figure

    confidences, exact = zip(*pairs, strict=True)
    bins = [one for one in reliability(confidences, exact) if one.count]
    page.heading(
        "Confidence",
        "How often answers of a confidence are right, and their number. On the diagonal, the "
        f"confidence is the share of right answers. Expected calibration error: "
        f"{100 * calibration_error(bins):.1f} %.",
    )
    page.figure(*both_versions(partial(reliability_figure, bins)), "Right answers by confidence")


def _show_examples(
    page: Page, split: str, scored: Sequence[ScoredExample], predictor: Predictor
) -> None:
    page.heading(
        "Best and worst examples",
        f"Of {len(scored):,} sources of {split}: the longest right answers, and wrong ones with "
        "the most edits, the most confident first.",
    )
    rows = [
        (*_texts(one, predictor), f"{one.errors:,}", f"{one.score:.2f}")
        for one in best_and_worst(scored, _MAX_TOLD)
    ]
    _table(page, ["source", "prediction", "reference", "edits", "score"], rows)


def _show_attention(page: Page, scored: Sequence[ScoredExample], predictor: Predictor) -> None:
    maps = [*_attention_maps(scored, predictor)]
    if not maps:
        return
    from seq2seq.evaluation.figures import attention_figure, both_versions

    page.heading("Attention", "Where the decoder looked while it wrote each token.")
    for source, written, weights in maps:
        draw = partial(attention_figure, weights, source, written)
        caption = f"{' '.join(source)} → {' '.join(written[:-1])}"
        page.figure(*both_versions(draw), visible(caption, _MAX_CELL))


def _attention_maps(
    scored: Sequence[ScoredExample], predictor: Predictor
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], Any]]:
    """Yields source, written tokens and weights; nothing without attention or for an ensemble."""
    from seq2seq.evaluation.figures import fits_a_map

    if len(predictor.members.all) > 1:
        return
    for one in best_and_worst(scored, _MAX_MAPS):
        source, written = (*one.features, *one.source), one.prediction.tokens
        if one.prediction.hypotheses and fits_a_map(source, written):
            weights = predictor.attention((one.source, one.features), written)
            if weights is None:
                return
            shown = (visible(token, _MAX_CELL) for token in source)
            yield (*shown,), (*(visible(t, _MAX_CELL) for t in written), "<eos>"), weights


def _show_surprises(page: Page, train: Sequence[Example], predictor: Predictor) -> None:
    found, tried = find_surprises(predictor, train, seed=1)
    page.heading(
        "Surprising training pairs",
        f"Of {tried:,} training pairs, drawn from {len(train):,}: those that the model finds least "
        "probable although it was trained on them: exceptions, and likely errors of annotation.",
    )
    join_source = Tokenizer(predictor.data.source.tokens).join
    separator = predictor.data.features.separator
    rows = []
    for pair, log_prob, least in found[:_MAX_SURPRISES]:
        source = f"{join_source(pair.source)} {separator.join(pair.features)}".strip()
        target = predictor.target.join(pair.target)
        rows.append([source, target, least, f"{log_prob:.2f}"])
    columns = ["source", "target", "least probable token", "log-probability per token"]
    _table(page, columns, rows)
