"""Examples to learn from: read from files or generated. No TensorFlow here, except in `pipeline`.

Within this package, `files`, `tasks` and `scan` make examples and know nothing of each other;
`index` finds those of a file again that is too large to hold; `examples` is the entrance that
chooses between them. `encoding`, `buckets` and `pipeline` make ids and batches of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Example(NamedTuple):
    """One source, one right target, and the features (tags) that the target depends on besides."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class Splits:
    """The three parts of a data set; `test` may be empty.

    `train` is a list, or the `IndexedFile` of a large file.
    """

    train: Sequence[Example]
    dev: list[Example]
    test: list[Example]


Reference = tuple[tuple[str, ...], tuple[str, ...], list[tuple[str, ...]]]


def group_references(examples: Iterable[Example]) -> list[Reference]:
    """Returns (source, features, different targets) of each source, in the order first seen.

    Several examples with the same source and features are several right answers to it.
    """
    groups: dict[tuple[tuple[str, ...], tuple[str, ...]], list[tuple[str, ...]]] = {}
    for source, target, features in examples:
        targets = groups.setdefault((source, features), [])
        if target not in targets:
            targets.append(target)
    return [(source, features, targets) for (source, features), targets in groups.items()]
