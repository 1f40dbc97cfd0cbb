"""The line protocol between the orchestrator and its workers; standard library only.

The worker prints `ready {…}` (JSON: what there is to know of it), then answers every line `go N`
with one line of JSON: the seconds that N repetitions took. Standard input's end tells it to finish.
Waiting for a line costs no CPU time, so that the others measure undisturbed.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TextIO


@dataclass
class Task:
    """What a worker does.

    Attributes:
        repeat: Does the work N times and returns the seconds it took.
        info: What the report shows besides the seconds.
        finish: Called once after the last repetition.
    """

    repeat: Callable[[int], float]
    info: dict[str, Any] = field(default_factory=dict)
    finish: Callable[[], None] = lambda: None


class Channel:
    """The worker's end of the line."""

    def __init__(self, answers: TextIO) -> None:
        self._answers = answers

    def ready(self, info: dict[str, Any]) -> None:
        """Tells that the work can begin."""
        self._write(f"ready {json.dumps(info)}")

    def next(self) -> int | None:
        """Waits for `go N` and returns N; None: there is nothing more to do."""
        line = sys.stdin.readline().split()
        return int(line[1]) if line else None

    def answer(self, seconds: float, **more: Any) -> None:
        """Reports the seconds of one turn, and the process's peak memory so far."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
        self._write(json.dumps({"seconds": seconds, "peak_bytes": peak, **more}))

    def _write(self, line: str) -> None:
        self._answers.write(line + "\n")
        self._answers.flush()


@functools.cache
def channel() -> Channel:
    """Opens the process's only channel.

    From then on whatever prints to standard output, libraries included, prints to standard error.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return Channel(answers)


def specification() -> dict[str, Any]:
    """Returns what the orchestrator asks for, the JSON on the command line."""
    return json.loads(sys.argv[1])


def serve(prepare: Callable[[dict[str, Any]], Task]) -> None:
    """Prepares the task that the command line asks for and works until there is no more to do."""
    line = channel()
    task = prepare(specification())
    line.ready(task.info)
    while (count := line.next()) is not None:
        line.answer(task.repeat(count))
    task.finish()


def timed(work: Callable[[], Any]) -> Callable[[int], float]:
    """Makes `repeat` of a function that does the work once and waits for its end."""

    def repeat(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            work()
        return time.perf_counter() - began

    return repeat


def cores() -> int:
    """Returns how many cores this process may use: what every contestant is given as threads."""
    return len(os.sched_getaffinity(0))
