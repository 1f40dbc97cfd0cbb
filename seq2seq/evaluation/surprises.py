"""Training pairs that the trained model finds improbable: likely errors of annotation."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import NamedTuple

from seq2seq.data.examples import Example
from seq2seq.inference.predictor import Predictor
from seq2seq.inference.scoring import Scorer

_MAX_PAIRS, _AT_ONCE = 5000, 1000
_MAX_SECONDS = 10


class Surprise(NamedTuple):
    """A pair, its mean log-probability per token, and its least probable token."""

    pair: Example
    log_prob: float
    least: str


def find_surprises(
    predictor: Predictor, train: Sequence[Example], seed: int
) -> tuple[list[Surprise], int]:
    """Scores drawn training pairs, and returns them, the least probable first, and their number.

    Pairs with target symbols that the vocabulary lacks are left out: no model can write them. It
    ends early after a few seconds. The order is random, so that the scored pairs are a fair draw.
    """
    # Compiling a score for every bucket would take longer than the scores.
    score = Scorer(predictor, is_compiled=False)
    numbers = random.Random(seed).sample(range(len(train)), min(len(train), _MAX_PAIRS))
    found: list[Surprise] = []
    tried, end = 0, time.monotonic() + _MAX_SECONDS
    while tried < len(numbers) and (not tried or time.monotonic() < end):
        pairs = [train[number] for number in numbers[tried : tried + _AT_ONCE]]
        tried += len(pairs)
        for pair, one in zip(pairs, score(pairs), strict=True):
            if not one.unknown:
                worst = min(range(len(one.log_probs)), key=one.log_probs.__getitem__)
                least = (*pair.target, "<eos>")[worst]
                found.append(Surprise(pair, one.total / len(one.log_probs), least))
    return sorted(found, key=lambda one: one.log_prob), tried
