"""Types of the settings that name one thing or several: runs, or words of an enum."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


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
