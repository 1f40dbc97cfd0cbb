"""Measuring in turns: the contestants of a case work one after another, round after round.

Noise of the machine then hits all alike, and the ratio of two contestants in the same round means
more than the ratio of two medians.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.results import CaseResult, Measured
from benchmarks.workers.protocol import cores

ROOT = Path(__file__).resolve().parents[1]
MOST_REPETITIONS = 100_000


@dataclass(frozen=True)
class Contestant:
    """One worker.

    Attributes:
        name: What the report calls it.
        worker: The module below `benchmarks.workers`.
        spec: What it is asked to do.
        python: The interpreter of its environment.
        work: Units of work in one repetition; the seconds are divided by it.
    """

    name: str
    worker: str
    spec: dict[str, Any]
    python: str = sys.executable
    work: float = 1.0


@dataclass(frozen=True)
class Case:
    """One thing to measure; the first contestant is what the others are compared with.

    Attributes:
        turn_seconds: How long a turn is to last; None: one repetition.
    """

    name: str
    contestants: Sequence[Contestant]
    rounds: int
    turn_seconds: float | None = 1.0


class WorkerFailedError(Exception):
    """A worker ended or did not answer; the message holds the end of its standard error."""


@dataclass
class Worker:
    """A running worker process; it waits in a read whenever it is not its turn."""

    contestant: Contestant
    patience: float
    info: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        contestant = self.contestant
        # A file, because a pipe that nobody reads would fill up; `finish` closes it.
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [
                contestant.python,
                "-m",
                f"benchmarks.workers.{contestant.worker}",
                json.dumps(contestant.spec),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            env=environment(),
        )

    def wait_until_ready(self) -> None:
        """Reads `ready`, and what the worker tells of itself."""
        self.info = json.loads(self._read().removeprefix("ready "))

    def go(self, repetitions: int) -> dict[str, Any]:
        """Gives the worker its turn and returns its answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"go {repetitions}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerFailedError(self._last_words()) from None
        return json.loads(self._read())

    def finish(self) -> None:
        """Lets the worker end, or ends it."""
        assert self._process.stdin is not None
        with self._errors:
            try:
                self._process.stdin.close()
                self._process.wait(60)
            except (BrokenPipeError, subprocess.TimeoutExpired):
                self._process.kill()
                self._process.wait()

    def _read(self) -> str:
        assert self._process.stdout is not None
        # A worker that hangs is ended, and so is the read.
        timer = threading.Timer(self.patience, self._process.kill)
        timer.start()
        line = self._process.stdout.readline()
        is_late = not timer.is_alive()
        timer.cancel()
        if not line:
            reason = f"no answer within {self.patience:.0f} s\n" if is_late else ""
            raise WorkerFailedError(reason + self._last_words())
        return line

    def _last_words(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)  # it may still be on its way out
        self._process.kill()
        code = self._process.wait()
        self._errors.seek(0)
        return f"exit code {code}\n" + self._errors.read()[-3000:].strip()


def measure(
    case: Case, on_progress: Callable[[CaseResult], None], patience: float = 1800.0
) -> CaseResult:
    """Runs all rounds of a case; a contestant that fails is left out of the rounds that remain."""
    result = CaseResult(case.name, [Measured(c.name, c.work) for c in case.contestants])
    with ExitStack() as stack:
        running: dict[int, tuple[Worker, int]] = {}  # and the repetitions of its turns
        for i, contestant in enumerate(case.contestants):
            # One after another: two that load or compile at once would only delay each other.
            worker = Worker(contestant, patience)
            stack.callback(worker.finish)
            try:
                worker.wait_until_ready()
                measured = result.contestants[i]
                measured.info = worker.info
                measured.first_seconds = worker.go(1)["seconds"]
                running[i] = worker, _repetitions(worker, case.turn_seconds)
            except WorkerFailedError as failure:
                result.contestants[i].error = str(failure)
            on_progress(result)
        for number in range(case.rounds):
            _round(number, running, result)
            on_progress(result)
    return result


def _round(number: int, running: dict[int, tuple[Worker, int]], result: CaseResult) -> None:
    """Gives every contestant one turn; each round begins with another one."""
    order = sorted(running)
    start = number % len(order) if order else 0
    for i in order[start:] + order[:start]:
        worker, repetitions = running[i]
        measured = result.contestants[i]
        try:
            answer = worker.go(repetitions)
        except WorkerFailedError as failure:
            measured.error = str(failure)
            del running[i]
            continue
        measured.rounds[number] = answer.pop("seconds") / repetitions / measured.work
        measured.answers.append(answer)


def _repetitions(worker: Worker, turn_seconds: float | None) -> int:
    """Returns how many repetitions fill a turn, found out by one of them."""
    if turn_seconds is None:
        return 1
    return max(1, min(MOST_REPETITIONS, round(turn_seconds / worker.go(1)["seconds"])))


def environment() -> dict[str, str]:
    """Returns the environment of a worker: the same number of threads for all, no GPU."""
    threads = str(cores())
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
    settings = {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": str(ROOT)}
    return {**os.environ, **dict.fromkeys(names, threads), **settings}
