"""Examples to learn from: read from files or generated. No TensorFlow here, except in `pipeline`.

Within this package, `files`, `tasks` and `scan` make examples and know nothing of each other;
`examples` is the entrance that chooses between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Example(NamedTuple):
    """One source, one right target, and the features (tags) that the target depends on besides."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class Splits:
    """The three parts of a data set; `test` may be empty."""

    train: list[Example]
    dev: list[Example]
    test: list[Example]
