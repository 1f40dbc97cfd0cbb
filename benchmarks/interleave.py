"""Interleaved measurement: the contestants of a case take turns, round after round.

Noise on the machine then affects all of them alike, and the ratio of two contestants in the same
round is more reliable than the ratio of two medians.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.results import CaseResult, Measured
from benchmarks.utilisation import Utilisation
from benchmarks.workers.protocol import cores

ROOT = Path(__file__).resolve().parents[1]
MAX_REPETITIONS = 100_000


@dataclass(frozen=True)
class Contestant:
    """One worker process and its work.

    Attributes:
        name: Name in the report.
        worker: Module below `benchmarks.workers`.
        spec: Description of the work, passed as JSON.
        python: Interpreter of its environment.
        work: Units of work in one repetition, by which the seconds are divided.
        device: `cpu`, which hides a GPU, or `gpu`.
    """

    name: str
    worker: str
    spec: dict[str, Any]
    python: str = sys.executable
    work: float = 1.0
    device: str = "cpu"


@dataclass(frozen=True)
class Case:
    """One measurement; the first contestant is the reference for the others.

    Attributes:
        turn_seconds: Intended duration of a turn; None means one repetition.
    """

    name: str
    contestants: Sequence[Contestant]
    rounds: int
    turn_seconds: float | None = 1.0


class WorkerFailedError(Exception):
    """A worker exited or did not answer; the message holds the end of its standard error."""


@dataclass
class Worker:
    """A running worker process, which blocks in a read between its turns."""

    contestant: Contestant
    timeout: float
    info: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        contestant = self.contestant
        # A file, because a pipe without a reader would fill up and block the worker; `finish`
        # closes it.
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
            env=environment(contestant.device),
        )

    def wait_until_ready(self) -> None:
        """Waits for `ready` and keeps the worker's info."""
        self.info = json.loads(self._read().removeprefix("ready "))

    def go(self, repetitions: int) -> dict[str, Any]:
        """Gives the worker its turn and returns its answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"go {repetitions}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerFailedError(self._error_report()) from None
        return json.loads(self._read())

    def finish(self) -> None:
        """Closes the worker's input, and kills it if it does not exit."""
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
        # Killing a worker that hangs also ends the read.
        timer = threading.Timer(self.timeout, self._process.kill)
        timer.start()
        line = self._process.stdout.readline()
        is_late = not timer.is_alive()
        timer.cancel()
        if not line:
            reason = f"no answer within {self.timeout:.0f} s\n" if is_late else ""
            raise WorkerFailedError(reason + self._error_report())
        return line

    def _error_report(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)  # it may still be exiting
        self._process.kill()
        code = self._process.wait()
        self._errors.seek(0)
        return f"exit code {code}\n" + self._errors.read()[-3000:].strip()


def measure(
    case: Case, on_progress: Callable[[CaseResult], None], timeout: float = 1800.0
) -> CaseResult:
    """Runs all rounds of a case; a contestant that fails takes no part in the remaining rounds."""
    result = CaseResult(case.name, [Measured(c.name, c.work) for c in case.contestants])
    # On a CPU one after another: workers that load or compile at the same time delay each other. A
    # GPU has more cores beside it than there are contestants, and its compilations are long.
    devices = [contestant.device for contestant in case.contestants]
    at_once = len(devices) if "gpu" in devices else 1
    with ExitStack() as stack, ThreadPoolExecutor(at_once) as pool:

        def start(contestant: Contestant, measured: Measured) -> Worker | None:
            worker = Worker(contestant, timeout)
            stack.callback(worker.finish)
            try:
                worker.wait_until_ready()
                measured.info = worker.info
                measured.first_seconds = worker.go(1)["seconds"]
            except WorkerFailedError as failure:
                measured.error = str(failure)
                return None
            finally:
                on_progress(result)
            return worker

        running: dict[int, tuple[Worker, int]] = {}  # worker, repetitions per turn
        started = pool.map(start, case.contestants, result.contestants)
        for i, worker in enumerate([*started]):
            if worker is not None:
                running[i] = worker, _repetitions(worker, case.turn_seconds)
        use = stack.enter_context(Utilisation()) if "gpu" in devices else None
        for number in range(case.rounds):
            _round(number, running, result, use)
            on_progress(result)
    return result


def _round(
    number: int,
    running: dict[int, tuple[Worker, int]],
    result: CaseResult,
    use: Utilisation | None,
) -> None:
    """Gives every contestant one turn; each round starts with the next contestant."""
    order = sorted(running)
    start = number % len(order) if order else 0
    for i in order[start:] + order[:start]:
        worker, repetitions = running[i]
        measured = result.contestants[i]
        began = time.monotonic()
        try:
            answer = worker.go(repetitions)
        except WorkerFailedError as failure:
            measured.error = str(failure)
            del running[i]
            continue
        if use is not None:
            answer["gpu_percent"] = use.percent(began, time.monotonic())
        measured.rounds[number] = answer.pop("seconds") / repetitions / measured.work
        measured.answers.append(answer)


def _repetitions(worker: Worker, turn_seconds: float | None) -> int:
    """Returns the number of repetitions that fill a turn, estimated from one repetition."""
    if turn_seconds is None:
        return 1
    return max(1, min(MAX_REPETITIONS, round(turn_seconds / worker.go(1)["seconds"])))


def environment(device: str = "cpu") -> dict[str, str]:
    """Returns the environment variables of a worker: equal thread counts, and its device."""
    threads = str(cores())
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
    settings = {"TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": str(ROOT)}
    if device == "cpu":
        settings["CUDA_VISIBLE_DEVICES"] = "-1"
    else:
        # TensorFlow would take the whole memory, and the contestants share it.
        settings["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    return {**os.environ, **dict.fromkeys(names, threads), **settings}
