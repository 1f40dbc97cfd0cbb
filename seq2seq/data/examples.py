"""Examples, splits of a data set, and references. No files, no ids, no TensorFlow.

In this room, `tsv` and `tasks/` make examples, independently of each other. `large_file` finds the
examples of files that are too large for memory. `splits` chooses between them and is the entrance
for training. `vocabulary`, `buckets` and `batches` turn examples into batches of ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Example(NamedTuple):
    """One source, one correct target, and features (tags) on which the target also depends."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class Splits:
    """Training, dev and test examples of a data set; `test` may be empty.

    Attributes:
        train: A list, or `IndexedFiles` of large files.
        dev: Decides on the best epoch.
        test: Scored at the end.
        again: The numbers of the training examples that an epoch reads once more.
    """

    train: Sequence[Example]
    dev: list[Example]
    test: list[Example]
    again: Sequence[int] = field(default=(), repr=False)


Reference = tuple[tuple[str, ...], tuple[str, ...], list[tuple[str, ...]]]


def group_references(examples: Iterable[Example]) -> list[Reference]:
    """Returns (source, features, distinct targets) for each source, in the order first seen.

    Several examples with the same source and features are several correct answers to it.
    """
    groups: dict[tuple[tuple[str, ...], tuple[str, ...]], list[tuple[str, ...]]] = {}
    for source, target, features in examples:
        targets = groups.setdefault((source, features), [])
        if target not in targets:
            targets.append(target)
    return [(source, features, targets) for (source, features), targets in groups.items()]
