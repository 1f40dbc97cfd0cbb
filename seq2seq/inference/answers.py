"""Answers to lines of text: hypotheses, and predictions that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

NO_ANSWER = "the model has no answer: its scores are not finite"


def refusal(source: Sequence[str], features: Sequence[str], limit: int) -> str | None:
    """Returns why a run whose `data.max_source_length` is `limit` cannot answer, or None."""
    if not source:
        return "the source is empty"
    for kind, tokens in (("tokens", source), ("features", features)):
        if len(tokens) > limit:
            return (
                f"the source has {len(tokens)} {kind}, more than data.max_source_length={limit} of "
                "the run"
            )
    return None


class Hypothesis(NamedTuple):
    """One answer.

    Attributes:
        tokens: Its tokens.
        text: The tokens as a line of text.
        score: Of the search; higher is better.
        probabilities: Of each token, and of the end unless the answer was cut before it. Empty
            unless asked for, as `alignment`.
        alignment: The position in `Prediction.read` with the largest attention weight, for each of
            `probabilities`; empty without attention.
    """

    tokens: tuple[str, ...]
    text: str
    score: float
    probabilities: tuple[float, ...] = ()
    alignment: tuple[int, ...] = ()


class Prediction(NamedTuple):
    """Answers to one line.

    Attributes:
        hypotheses: The answers, best first.
        problem: The reason if there are none.
        unknown: The different source tokens and features that the vocabularies lack. The model
            reads one id for all of them, so its answers cannot depend on which they are.
        read: The features and source tokens as the first member reads them; empty unless asked for.
        confidence: The probability that the best answer is right; None unless asked for.
        is_calibrated: Whether the confidence is fitted to the dev set of the run.
        is_rejected: Whether the confidence is below `decoding.reject_below`.
        is_known: Whether the answers are those of `decoding.lexicon`, not of the model.
    """

    hypotheses: list[Hypothesis]
    problem: str | None = None
    unknown: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    confidence: float | None = None
    is_calibrated: bool = False
    is_rejected: bool = False
    is_known: bool = False

    @property
    def text(self) -> str:
        """The best answer, empty if there is none or if it is rejected."""
        return self.hypotheses[0].text if self.hypotheses and not self.is_rejected else ""

    @property
    def tokens(self) -> tuple[str, ...]:
        """The best answer's tokens, empty if there is none or if it is rejected."""
        return self.hypotheses[0].tokens if self.hypotheses and not self.is_rejected else ()

    def judged(self, limit: float | None) -> Prediction:
        """Returns the prediction, rejected if its confidence is below a limit."""
        is_unsure = limit is not None and self.confidence is not None and self.confidence < limit
        return self._replace(is_rejected=is_unsure)

    @property
    def is_decoded(self) -> bool:
        """Whether the model read the line; False if the line was refused, or is known."""
        return not self.is_known and (self.problem is None or self.problem == NO_ANSWER)
