"""What every part of the benchmark is given: the peers, the data, how long to measure."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.live import Live

from benchmarks.interleave import Case, Contestant, measure
from benchmarks.report import case_table
from benchmarks.results import CaseResult


@dataclass(frozen=True)
class Trained:
    """Two models trained for the same number of epochs; yoyodyne's only if there are peers."""

    run: Path
    yoyodyne: Path | None


@dataclass
class Context:
    """The settings of one benchmark.

    Attributes:
        peers: The interpreter of the peers' environment; None leaves their columns out.
        rounds: Rounds of a case; cases with long turns take fewer.
        is_quick: Tiny sizes: whether everything works, and nothing else.
        train: Training examples, source and target separated by a tab.
        dev: The words to decode are its first column.
        work: A folder for what is trained and written on the way.
        trained: The models of the part `epoch`, for the part `words`.
    """

    peers: str | None
    rounds: int
    is_quick: bool
    train: Path
    dev: Path
    work: Path
    console: Console = field(default_factory=Console)
    trained: Trained | None = None

    @property
    def words(self) -> Path:
        """The file of the words to decode."""
        return self.work / "words.txt"

    def peer(self, name: str, worker: str, spec: dict, work: float = 1.0) -> list[Contestant]:
        """Returns a contestant of the peers' environment, or none."""
        return [Contestant(name, worker, spec, self.peers, work)] if self.peers else []

    def measure(
        self,
        name: str,
        contestants: list[Contestant],
        most_rounds: int | None = None,
        turn_seconds: float | None = 1.0,
    ) -> CaseResult:
        """Measures a case and shows its table while it goes; `turn_seconds`: see `Case`."""
        if self.is_quick and turn_seconds is not None:
            turn_seconds = 0.01
        case = Case(name, contestants, min(self.rounds, most_rounds or self.rounds), turn_seconds)
        with Live(console=self.console, refresh_per_second=1) as live:
            return measure(case, lambda result: live.update(case_table(result)))
