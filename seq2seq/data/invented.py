"""Invented sources: random sequences that look like the sources of the training examples."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice

from seq2seq.data.examples import Example

# Tokens that the next one depends on: drawn anew for each, because with three alone many sources
# would be those of the training examples, and with two few would look like them.
_CONTEXTS = (2, 3)
_TRIES_PER_SOURCE = 20

Tokens = tuple[str, ...]


def invent_sources(
    examples: Iterable[Example], count: int, seed: int
) -> Iterator[tuple[Tokens, Tokens]]:
    """Yields up to `count` different pairs of source and features that no example has.

    The tokens are drawn from a model of n-grams of the examples' sources, the features from those
    of the examples. Small sets may not allow for so many: then there are fewer.
    """
    followers: dict[Tokens, list[str]] = defaultdict(list)
    known, features = set(), []
    for source, _, tags in examples:
        known.add((source, tags))
        features.append(tags)
        padded = (*[""] * max(_CONTEXTS), *source, "")
        for size in _CONTEXTS:
            for end in range(max(_CONTEXTS), len(padded)):
                followers[padded[end - size : end]].append(padded[end])
    longest = max(len(source) for source, _ in known)
    draw = random.Random(seed)

    def new() -> Iterator[tuple[Tokens, Tokens]]:
        for _ in range(_TRIES_PER_SOURCE * count):
            tokens = [""] * max(_CONTEXTS)
            while len(tokens) <= max(_CONTEXTS) + longest:
                token = draw.choice(followers[tuple(tokens[-draw.choice(_CONTEXTS) :])])
                if not token:
                    break
                tokens.append(token)
            else:
                continue  # Longer than all examples.
            pair = (tuple(tokens[max(_CONTEXTS) :]), draw.choice(features))
            if pair not in known and pair[0]:
                known.add(pair)
                yield pair

    return islice(new(), count)
