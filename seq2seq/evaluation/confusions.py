"""Confusions of symbols, from the alignment of predictions with their references."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from rapidfuzz.distance import Levenshtein

from seq2seq.evaluation.evaluate_model import ScoredExample
from seq2seq.evaluation.metrics import nearest_reference


class Confusion(NamedTuple):
    """A kind of edit that turns references into predictions.

    Attributes:
        kind: `replace`, `delete` or `insert`.
        expected: The symbol of the reference, empty for `insert`.
        written: The symbol of the prediction, empty for `delete`.
        occurrences: How often it occurs.
        example: The first example with it.
    """

    kind: str
    expected: str
    written: str
    occurrences: int
    example: ScoredExample


def find_confusions(scored: Sequence[ScoredExample]) -> list[Confusion]:
    """Returns the edits between predictions and nearest references, the most frequent first."""
    counts = Counter[tuple[str, str, str]]()
    examples: dict[tuple[str, str, str], ScoredExample] = {}
    for one in scored:
        written = one.prediction.tokens
        expected = nearest_reference(written, one.references)
        for edit in Levenshtein.editops(expected, written):
            kind, before, after = str(edit.tag), edit.src_pos, edit.dest_pos
            key = (
                kind,
                "" if kind == "insert" else expected[before],
                "" if kind == "delete" else written[after],
            )
            counts[key] += 1
            examples.setdefault(key, one)
    return [Confusion(*key, count, examples[key]) for key, count in counts.most_common()]
