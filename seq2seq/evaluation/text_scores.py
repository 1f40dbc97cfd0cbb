"""BLEU and chrF of decoded text with their intervals, by sacrebleu, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any

from seq2seq.errors import UserError

Tokens = Sequence[str]
Predictions = Sequence[Tokens]
References = Sequence[Sequence[Tokens]]  # the accepted ones of each prediction
Join = Callable[[Tokens], str]  # tokens → line of text

_RESAMPLES = 1000
_LINES_AT_ONCE = 1000  # whose n-grams are in memory


def bleu(predictions: Predictions, references: References, join: Join) -> float:
    """Returns BLEU by sacrebleu (Papineni et al. 2002, Post 2018), 0 to 100."""
    return _score(_sacrebleu().BLEU(), predictions, references, join)


def chrf(predictions: Predictions, references: References, join: Join) -> float:
    """Returns chrF by sacrebleu (Popović 2015, Post 2018), 0 to 100."""
    return _score(_sacrebleu().CHRF(), predictions, references, join)


def bleu_interval(
    predictions: Predictions, references: References, join: Join
) -> tuple[float, float]:
    """Returns the 95 % interval of BLEU, see `_resampled`."""
    return _resampled(_sacrebleu().BLEU(), predictions, references, join)


def chrf_interval(
    predictions: Predictions, references: References, join: Join
) -> tuple[float, float]:
    """Returns the 95 % interval of chrF, see `_resampled`."""
    return _resampled(_sacrebleu().CHRF(), predictions, references, join)


def _score(metric: Any, predictions: Predictions, references: References, join: Join) -> float:
    """Returns the score of a metric of sacrebleu, that of its `corpus_score`."""
    counts = _counts(metric, predictions, references, join)
    return metric._aggregate_and_compute(counts).score


def _resampled(
    metric: Any, predictions: Predictions, references: References, join: Join
) -> tuple[float, float]:
    """Returns the 95 % interval of a metric of sacrebleu, by the resamples of its own bootstrap."""
    import numpy as np

    counts = np.array(_counts(metric, predictions, references, join), np.float32)  # [N, S]
    # One resample in memory. sacrebleu holds all at once: up to 72 kB per example. And its
    # `corpus_score(..., n_bootstrap=...)` fails where only some resamples score 0, because their
    # type is another one.
    rng = np.random.default_rng(_sacrebleu_seed())
    scores = []
    for _ in range(_RESAMPLES):
        drawn = rng.choice(len(counts), size=len(counts))  # [N]
        scores.append(float(metric._compute_score_from_stats(counts[drawn].sum(axis=0)).score))
    low, high = np.percentile(scores, (2.5, 97.5))
    return float(low), float(high)


def _sacrebleu_seed() -> int | None:
    """Returns the seed of sacrebleu's bootstrap, which an environment variable may change."""
    seed = os.environ.get("SACREBLEU_SEED", "12345")
    return None if seed.lower() == "none" else int(seed)


def _counts(
    metric: Any, predictions: Predictions, references: References, join: Join
) -> list[list[int]]:
    """Returns the numbers of each example that a metric of sacrebleu adds up.

    An example's n-grams take up to 45 kB, and are needed for its own numbers only.
    """
    counts = []
    for start in range(0, len(predictions), _LINES_AT_ONCE):
        some = slice(start, start + _LINES_AT_ONCE)
        lines, streams = _lines(predictions[some], references[some], join)
        counts += metric._extract_corpus_statistics(lines, streams)
        metric._force = True  # It has warned of text that seems tokenized, or need not.
    return counts


def _lines(
    predictions: Predictions, references: References, join: Join
) -> tuple[list[str], list[Any]]:
    """Returns lines of text, and one list of lines per reference position."""
    joined = ([join(reference) for reference in accepted] for accepted in references)
    # None marks a missing reference.
    return [join(prediction) for prediction in predictions], [*zip_longest(*joined)]


def _sacrebleu() -> Any:
    """Imports sacrebleu.

    Raises:
        UserError: It is not installed.
    """
    try:
        import sacrebleu
    except ImportError as error:
        raise UserError("BLEU and chrF need sacrebleu: pip install 'seq2seq[bleu]'") from error
    return sacrebleu
