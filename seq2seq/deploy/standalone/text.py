"""Text in, text out."""

from __future__ import annotations

import itertools
import re
import unicodedata
from typing import Any, NamedTuple

# Text that could hold many marks on one letter: there are none below U+0300.
MAYBE_MARKS = re.compile("[^\x00-\u02ff]{200}")


class Hypothesis(NamedTuple):
    """One answer: its tokens, the tokens as text, and the score of the search."""

    tokens: tuple[str, ...]
    text: str
    score: float


NO_ANSWER = "the model has no answer: its scores are not finite"


class Prediction(NamedTuple):
    """The answers to a line, the best first; `problem` says why there are none.

    `confidence` is the probability of the best answer, at the temperature that was fitted to the
    dev set of the training, if there is one. It is None unless asked for. `unknown` are the symbols
    of the line that the vocabularies lack: the answer cannot depend on which they are.
    """

    hypotheses: list[Hypothesis]
    problem: str | None = None
    confidence: float | None = None
    unknown: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The best answer; empty if there is none."""
        return self.hypotheses[0].text if self.hypotheses else ""


def normalize(text: str, form: Any) -> str:
    """Returns text in a Unicode normal form, or unchanged for `none`.

    `unicodedata` takes a time quadratic in the number of unsorted marks on one letter: minutes for
    a hostile line. Marks that are sorted before cost it nothing.
    """
    if form == "none":
        return text
    if MAYBE_MARKS.search(text):
        split: Any = "NFKD" if "K" in form else "NFD"
        parts = "".join(unicodedata.normalize(split, character) for character in text)
        groups = itertools.groupby(parts, key=lambda c: unicodedata.combining(c) > 0)
        text = "".join(
            "".join(sorted(group, key=unicodedata.combining) if are_marks else group)
            for are_marks, group in groups
        )
    return unicodedata.normalize(form, text)
