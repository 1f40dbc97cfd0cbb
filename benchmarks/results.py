"""Measured times and their statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple


class Spread(NamedTuple):
    """Median, minimum and maximum."""

    median: float
    minimum: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Returns the spread of one or more values."""
        return cls(median(values), min(values), max(values))


@dataclass
class Measured:
    """Measured times of one contestant.

    Attributes:
        work: Units of work in one repetition.
        rounds: Seconds per unit of work, by round.
        first_seconds: Seconds of the first repetition, which compiles and is not in any round.
        info: Facts that the worker reports once, such as its number of parameters.
        answers: Further values that the worker reports after each round.
        error: Reason why it failed, or None.
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
        """Seconds per unit of work, or None if no round was completed."""
        return Spread.of([*self.rounds.values()]) if self.rounds else None


@dataclass
class CaseResult:
    """All contestants of a case; the first is the reference for the others."""

    name: str
    contestants: list[Measured]

    def ratio(self, other: Measured) -> Spread | None:
        """Returns the ratio of another contestant's time to the first one's in the same rounds."""
        ours = self.contestants[0].rounds
        common = [seconds / ours[i] for i, seconds in other.rounds.items() if i in ours]
        return Spread.of(common) if common else None


@dataclass
class Table:
    """Formatted cells; the notes are shown below the table."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)


@dataclass
class PartResult:
    """Results of one part of the benchmark, as numbers and as tables.

    Attributes:
        about: Date, machine and settings of the measurement.
    """

    name: str
    cases: list[CaseResult] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    about: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, part: dict[str, Any]) -> PartResult:
        """Returns a part that an earlier run has stored."""
        cases = [
            CaseResult(case["name"], [Measured(**measured) for measured in case["contestants"]])
            for case in part["cases"]
        ]
        return cls(part["name"], cases, [Table(**t) for t in part["tables"]], part["about"])
