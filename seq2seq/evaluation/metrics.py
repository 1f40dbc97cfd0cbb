"""Scores of decoded text: what a free-running search wrote, against one or more references.

The teacher-forced measures (loss, token accuracy, perplexity) are computed inside the training
and evaluation steps; nothing here knows about probabilities or tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from rapidfuzz.distance import Levenshtein

from seq2seq.errors import UserError

Tokens = Sequence[str]


@dataclass(frozen=True)
class DecodedScores:
    """Scores over distinct sources.

    Attributes:
        examples: How many distinct sources were scored.
        sequence_accuracy: Share of predictions equal to any of their references, 0 to 1.
        symbol_error_rate: Edit distance to the nearest reference, summed, divided by the summed
            length of these references. 0 is perfect; it can exceed 1.
    """

    examples: int
    sequence_accuracy: float
    symbol_error_rate: float


def score(predictions: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> DecodedScores:
    """Compares each prediction with its accepted references, token by token."""
    edits, length = 0, 0
    for prediction, accepted in zip(predictions, references, strict=True):
        nearest_edits, nearest_length = min(
            ((edit_distance(prediction, reference), len(reference)) for reference in accepted),
            # Of references equally near, the longest: the error is a rate.
            key=lambda pair: (pair[0], -pair[1]),
        )
        edits, length = edits + nearest_edits, length + nearest_length
    exact = sum(is_exact(*pair) for pair in zip(predictions, references, strict=True))
    n = len(predictions)
    return DecodedScores(n, exact / n if n else 0.0, edits / length if length else 0.0)


def is_exact(prediction: Tokens, accepted: Sequence[Tokens]) -> bool:
    """Tells whether the prediction equals one of the accepted references."""
    return any(tuple(prediction) == tuple(reference) for reference in accepted)


def edit_distance(prediction: Tokens, reference: Tokens) -> int:
    """Returns the Levenshtein distance in tokens."""
    return Levenshtein.distance(prediction, reference)


def corpus_scores(
    predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> dict[str, float]:
    """Returns `bleu` and `chrf` of lines of text by sacrebleu (Post 2018), 0 to 100.

    Raises:
        UserError: sacrebleu is not installed.
    """
    try:
        import sacrebleu
    except ImportError as error:
        raise UserError("BLEU and chrF need sacrebleu: pip install 'seq2seq[bleu]'") from error
    # sacrebleu wants one list per reference position; None marks a missing reference.
    streams: Any = [*zip_longest(*references)]
    return {
        "bleu": sacrebleu.corpus_bleu(predictions, streams).score,
        "chrf": sacrebleu.corpus_chrf(predictions, streams).score,
    }
