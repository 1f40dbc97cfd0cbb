"""Settings that every part of the benchmark receives: peers, data, number of rounds."""

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
    """Models of ours and of yoyodyne, trained for the same number of epochs.

    `yoyodyne` is None without an environment of peers.
    """

    run: Path
    yoyodyne: Path | None


@dataclass
class Context:
    """Settings of one benchmark run.

    Attributes:
        peers: Interpreter of the peers' environment; None leaves out their columns.
        rounds: Rounds per case; cases with long turns take fewer.
        is_quick: Tiny sizes, to check that everything runs; the numbers mean nothing.
        device: `cpu` or `gpu`.
        train: File of training examples, source and target separated by a tab.
        dev: File whose first column holds the words to decode.
        work: Folder for temporary files and trained models.
        trained: Models that the part `epoch` leaves for the part `words`.
    """

    peers: str | None
    rounds: int
    is_quick: bool
    device: str
    train: Path
    dev: Path
    work: Path
    console: Console = field(default_factory=Console)
    trained: Trained | None = None

    @property
    def words(self) -> Path:
        """Path of the file with the words to decode."""
        return self.work / "words.txt"

    @property
    def has_gpu(self) -> bool:
        """Whether the contestants compute on a GPU."""
        return self.device == "gpu"

    def here(self, name: str, worker: str, spec: dict, work: float = 1.0) -> Contestant:
        """Returns a contestant in this project's environment."""
        return Contestant(name, worker, spec, work=work, device=self.device)

    def peer(self, name: str, worker: str, spec: dict, work: float = 1.0) -> list[Contestant]:
        """Returns a contestant in the peers' environment, or an empty list without one."""
        if not self.peers:
            return []
        return [Contestant(name, worker, spec, self.peers, work, self.device)]

    def measure(
        self,
        name: str,
        contestants: list[Contestant],
        max_rounds: int | None = None,
        turn_seconds: float | None = 1.0,
    ) -> CaseResult:
        """Measures a case and shows its table meanwhile; `turn_seconds` as in `Case`."""
        if self.is_quick and turn_seconds is not None:
            turn_seconds = 0.01
        case = Case(name, contestants, min(self.rounds, max_rounds or self.rounds), turn_seconds)
        with Live(console=self.console, refresh_per_second=1) as live:
            return measure(case, lambda result: live.update(case_table(result)))
