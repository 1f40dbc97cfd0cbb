"""Formats of the answers of `infer.py`: text, tab-separated columns, JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import NamedTuple

from seq2seq.config.choices import OutputFormat
from seq2seq.inference.answers import Prediction


class Line(NamedTuple):
    """One line of input; `problem` says why it cannot be answered."""

    source: str
    features: str
    problem: str | None = None


Write = Callable[[Line, Prediction], str]


def _as_text(line: Line, prediction: Prediction) -> str:
    return f"{prediction.text}\n"


def _as_tsv(line: Line, prediction: Prediction) -> str:
    if prediction.problem:
        return f"{line.source}\t0\t\t{prediction.problem}\n"
    rows: Iterable[str] = (
        f"{line.source}\t{rank}\t{_field(hypothesis.text)}\t{hypothesis.score:.6f}\n"
        for rank, hypothesis in enumerate(prediction.hypotheses, start=1)
    )
    return "".join(rows)


def _field(text: str) -> str:
    # Only a vocabulary file that was edited by hand has tokens with tabs.
    return text.replace("\t", " ")


def _as_jsonl(line: Line, prediction: Prediction) -> str:
    answer: dict[str, object] = {"source": line.source}
    if line.features:
        answer["features"] = line.features
    if prediction.problem:
        answer["error"] = prediction.problem
    if prediction.unknown:
        answer["unknown"] = prediction.unknown
    answer["predictions"] = [
        {"text": hypothesis.text, "score": round(hypothesis.score, 6)}
        for hypothesis in prediction.hypotheses
    ]
    return json.dumps(answer, ensure_ascii=False) + "\n"


WRITERS: dict[OutputFormat, Write] = {
    OutputFormat.text: _as_text,
    OutputFormat.tsv: _as_tsv,
    OutputFormat.jsonl: _as_jsonl,
}
