"""Examples to learn from: read from files or generated. No TensorFlow here, except in `pipeline`.

Within this package, `files`, `tasks` and `scan` make examples and know nothing of each other;
`index` finds those of a file again that is too large to hold; `examples` is the entrance that
chooses between them. `encoding`, `buckets` and `pipeline` make ids and batches of them.
"""

from __future__ import annotations

from collections.abc import Sequence
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
