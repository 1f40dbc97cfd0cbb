"""Types of settings that OmegaConf has none for: ranges, runs, words of an enum, separators."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


@dataclass(frozen=True)
class Range:
    """Inclusive range of numbers; `nan` lies in no range."""

    minimum: float = -math.inf
    maximum: float = math.inf

    def __contains__(self, value: float) -> bool:
        return self.minimum <= value <= self.maximum

    def __str__(self) -> str:
        if math.isinf(self.maximum):
            return f"at least {self.minimum}"
        return f"from {self.minimum} to {self.maximum}"


@dataclass(frozen=True)
class RunNames:
    """A run, or the runs of an ensemble. OmegaConf has no type for it."""

    def __contains__(self, value: Any) -> bool:
        names = value if isinstance(value, list) else [value]
        return bool(names) and all(isinstance(name, str | int | float) for name in names)

    def __str__(self) -> str:
        return "a run folder, or a list of run folders such as [A,B]"


Runs = RunNames()


@dataclass(frozen=True)
class Words:
    """A word of an enum, or a list of different ones. OmegaConf has no type for it."""

    kind: type[StrEnum]

    def __contains__(self, value: Any) -> bool:
        words = value if isinstance(value, list) else [value]
        known = [word for word in words if word in [*self.kind]]
        return bool(words) and len({*known}) == len(words)

    def __str__(self) -> str:
        words = ", ".join(self.kind)
        return f"one of {words}, or a list of them such as [{', '.join([*self.kind][:2])}]"


@dataclass(frozen=True)
class ColumnRange:
    """Ways to name a column. OmegaConf has no type for it that refuses null."""

    allows_null: bool

    def __contains__(self, value: Any) -> bool:
        if value is None:
            return self.allows_null
        if isinstance(value, str):
            return bool(value.strip())
        return isinstance(value, int) and not isinstance(value, bool) and value >= 1

    def __str__(self) -> str:
        return "a number that counts from 1, or a name"


Column = ColumnRange(allows_null=False)


@dataclass(frozen=True)
class SeparatorRange:
    """Valid ways to split a line into tokens: `char`, `word`, or a separator."""

    def __contains__(self, value: str) -> bool:
        return bool(value) and not set(value) & set("\t\n")

    def __str__(self) -> str:
        return "char, word, or a separator such as ';' without tabs and line feeds"


Separator = SeparatorRange()
