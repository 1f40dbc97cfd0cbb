"""Answers to lines of text: hypotheses, and predictions that hold them."""

from __future__ import annotations

from typing import NamedTuple

NO_ANSWER = "the model has no answer: its scores are not finite"


class Hypothesis(NamedTuple):
    """One answer: its tokens, the tokens as a line of text, and its score (higher is better)."""

    tokens: tuple[str, ...]
    text: str
    score: float


class Prediction(NamedTuple):
    """Answers to one line.

    Attributes:
        hypotheses: The answers, best first.
        problem: The reason if there are none.
        unknown: The different source tokens and features that the vocabularies lack. The model
            reads one id for all of them, so its answers cannot depend on which they are.
        confidence: The probability that the best answer is right; None unless asked for.
    """

    hypotheses: list[Hypothesis]
    problem: str | None = None
    unknown: tuple[str, ...] = ()
    confidence: float | None = None

    @property
    def text(self) -> str:
        """The best answer, empty if there is none."""
        return self.hypotheses[0].text if self.hypotheses else ""

    @property
    def tokens(self) -> tuple[str, ...]:
        """The best answer's tokens, empty if there is none."""
        return self.hypotheses[0].tokens if self.hypotheses else ()

    @property
    def is_decoded(self) -> bool:
        """Whether the model read the line; False if the line was refused."""
        return self.problem is None or self.problem == NO_ANSWER
