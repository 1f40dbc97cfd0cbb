"""Hallucinated training examples for small data sets: real ones with another stem.

They follow from the training examples and `data.seed`, so that a resumed run trains on the same.
"""

from __future__ import annotations

import difflib
import logging
import random
from collections.abc import Sequence

from seq2seq.config.schema import DataConfig
from seq2seq.config.size_rule import hallucinated_for
from seq2seq.data.examples import Example
from seq2seq.errors import UserError

log = logging.getLogger(__name__)

_MIN_STEM = 3  # equal tokens in a row


def with_hallucinated(train: Sequence[Example], config: DataConfig) -> Sequence[Example]:
    """Returns the training examples, followed by `data.hallucinated_examples` artificial ones.

    The stem is what source and target have in common. Half of its tokens become random ones, the
    same on both sides (Anastasopoulos & Neubig 2019, "Pushing the Limits of Low-Resource
    Morphological Inflection", section 3).

    Null is the number of a rule, and none where nothing can be made.

    Raises:
        UserError: The examples are read from a large file, or none has a stem.
    """
    count, is_by_rule = config.hallucinated_examples, config.hallucinated_examples is None
    if count is None:
        count = hallucinated_for(len(train))
    # The rule asks for none where an error would say that none can be made.
    if not count or (is_by_rule and not (isinstance(train, list) and any(map(_stem, train)))):
        return train
    setting = f"data.hallucinated_examples={count}"
    if not isinstance(train, list):
        raise UserError(f"{setting} is for small files: raise data.in_memory_mib, or leave it out")
    found = [(example, stem) for example in train if (stem := _stem(example))]
    if not found:
        raise UserError(
            f"{setting}: no training example has {_MIN_STEM} equal tokens in a row in source and "
            "target; leave it out"
        )
    symbols = sorted({t for e in train for t in e.source} & {t for e in train for t in e.target})
    rng = random.Random(config.seed)
    examples = [_hallucinated(*rng.choice(found), symbols, rng) for _ in range(count)]
    log.info("%d training examples and %d hallucinated ones", len(train), count)
    return [*train, *examples]


def _stem(example: Example) -> list[tuple[int, int]]:
    """Returns the positions of the stem's tokens in source and target."""
    matcher = difflib.SequenceMatcher(None, example.source, example.target, autojunk=False)
    blocks = (block for block in matcher.get_matching_blocks() if block.size >= _MIN_STEM)
    return [(block.a + i, block.b + i) for block in blocks for i in range(block.size)]


def _hallucinated(
    example: Example, stem: Sequence[tuple[int, int]], symbols: Sequence[str], rng: random.Random
) -> Example:
    source, target = [*example.source], [*example.target]
    for i, j in stem:
        if rng.random() < 0.5:
            source[i] = target[j] = rng.choice(symbols)
    return Example(tuple(source), tuple(target), example.features)
