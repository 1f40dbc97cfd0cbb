"""Type of the settings that name one run or several."""

from __future__ import annotations

from dataclasses import dataclass
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
