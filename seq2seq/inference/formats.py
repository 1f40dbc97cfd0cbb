"""Formats of the answers of `infer.py`: text, tab-separated columns, JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from seq2seq.config.choices import OutputFormat
from seq2seq.inference.answers import Hypothesis, Prediction
from seq2seq.special_ids import EOS, SPECIAL_TOKENS


class Line(NamedTuple):
    """One line of input.

    Attributes:
        source: The source.
        features: The features.
        problem: Why it cannot be answered.
        number: Its number in the input, counted from 1.
    """

    source: str
    features: str
    problem: str | None = None
    number: int = 0


Write = Callable[[Line, Prediction], str]


def _as_text(line: Line, prediction: Prediction) -> str:
    # Empty if the answer is rejected, so that each line keeps its number.
    return f"{prediction.text}\n"


def _as_tsv(line: Line, prediction: Prediction) -> str:
    if problem := prediction.problem or "rejected" * prediction.is_rejected:
        return f"{line.source}\t0\t\t{problem}\n"
    rows: Iterable[str] = (
        f"{line.source}\t{rank}\t{_field(hypothesis.text)}\t{hypothesis.score:.6f}\n"
        for rank, hypothesis in enumerate(prediction.hypotheses, start=1)
    )
    return "".join(rows)


def _field(text: str) -> str:
    # Only a vocabulary file that was edited by hand has tokens with tabs.
    return text.replace("\t", " ")


def _as_jsonl(line: Line, prediction: Prediction) -> str:
    return json.dumps(describe(line, prediction), ensure_ascii=False) + "\n"


def describe(line: Line, prediction: Prediction) -> dict[str, Any]:
    """Returns an answer as plain data with the names of `format=jsonl`."""
    answer: dict[str, Any] = {"source": line.source}
    if line.features:
        answer["features"] = line.features
    if prediction.problem:
        answer["error"] = prediction.problem
    if prediction.unknown:
        answer["unknown"] = prediction.unknown
    if prediction.read:
        answer["read"] = prediction.read
    if prediction.confidence is not None:
        answer["confidence"] = _significant(prediction.confidence)
        answer["calibrated"] = prediction.is_calibrated
    for name, is_true in (("rejected", prediction.is_rejected), ("known", prediction.is_known)):
        if is_true:
            answer[name] = True
    answer["predictions"] = [_described(hypothesis) for hypothesis in prediction.hypotheses]
    return answer


def _described(hypothesis: Hypothesis) -> dict[str, object]:
    found: dict[str, object] = {"text": hypothesis.text, "score": round(hypothesis.score, 6)}
    if hypothesis.probabilities:
        tokens: list[dict[str, object]] = [
            {"token": token, "probability": _significant(probability)}
            for token, probability in zip(
                (*hypothesis.tokens, SPECIAL_TOKENS[EOS]), hypothesis.probabilities, strict=False
            )
        ]
        for token, position in zip(tokens, hypothesis.alignment, strict=False):
            token["position"] = position
        found["tokens"] = tokens
    return found


def _significant(probability: float) -> float:
    # Six digits, however small it is: the product of all is that of the whole answer.
    return float(f"{probability:.6g}")


WRITERS: dict[OutputFormat, Write] = {
    OutputFormat.text: _as_text,
    OutputFormat.tsv: _as_tsv,
    OutputFormat.jsonl: _as_jsonl,
}


def write_all(lines: Sequence[Line], predictions: Sequence[Prediction], form: OutputFormat) -> str:
    """Returns the answers to lines as text."""
    return "".join(map(WRITERS[form], lines, predictions))
