"""What was measured, and the statistics of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple


class Spread(NamedTuple):
    """A median with the least and the greatest value."""

    median: float
    minimum: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarises at least one value."""
        return cls(median(values), min(values), max(values))


@dataclass
class Measured:
    """One contestant's seconds.

    Attributes:
        work: Units of work in one repetition.
        rounds: Seconds per unit of work, by round.
        first_seconds: Of the first repetition as a whole, which compiles; it is in no round.
        info: What the worker told of itself.
        answers: What else the worker told after each round.
        error: Why it fell out, or None.
    """

    name: str
    work: float = 1.0
    rounds: dict[int, float] = field(default_factory=dict)
    first_seconds: float = math.nan
    info: dict[str, Any] = field(default_factory=dict)
    answers: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None

    @property
    def seconds(self) -> Spread | None:
        """The seconds per unit of work, if there are any."""
        return Spread.of([*self.rounds.values()]) if self.rounds else None


@dataclass
class CaseResult:
    """All contestants of a case; the first is what the others are compared with."""

    name: str
    contestants: list[Measured]

    def ratio(self, other: Measured) -> Spread | None:
        """Returns another's time in units of the first contestant's in the same round."""
        ours = self.contestants[0].rounds
        common = [seconds / ours[i] for i, seconds in other.rounds.items() if i in ours]
        return Spread.of(common) if common else None


@dataclass
class Table:
    """Rows of cells, ready to be shown; `notes` stand below it."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)


@dataclass
class PartResult:
    """One part of the benchmark: what was measured, and how it is shown.

    Attributes:
        about: When, where and how it was measured.
    """

    name: str
    cases: list[CaseResult] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    about: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, part: dict[str, Any]) -> PartResult:
        """Takes up a part of an earlier run."""
        cases = [
            CaseResult(case["name"], [Measured(**measured) for measured in case["contestants"]])
            for case in part["cases"]
        ]
        return cls(part["name"], cases, [Table(**t) for t in part["tables"]], part["about"])
