"""Line protocol between the orchestrator and its workers; standard library only.

A worker prints `ready {…}` (its info as JSON) and answers every line `go N` with one line of JSON
that holds the seconds of N repetitions. It finishes at the end of standard input. Waiting for a
line costs no CPU time, so it does not disturb the other workers.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any, TextIO


@dataclass
class Task:
    """The work of a worker.

    Attributes:
        repeat: Does the work N times and returns the seconds.
        info: Facts for the report, such as the number of parameters.
        finish: Called once after the last repetition.
    """

    repeat: Callable[[int], float]
    info: dict[str, Any] = field(default_factory=dict)
    finish: Callable[[], None] = lambda: None


class Channel:
    """The worker's end of the protocol."""

    def __init__(self, answers: TextIO) -> None:
        self._answers = answers

    def ready(self, info: dict[str, Any]) -> None:
        """Reports that the work can start."""
        self._write(f"ready {json.dumps(info)}")

    def next(self) -> int | None:
        """Waits for `go N` and returns N, or None at the end of the input."""
        line = sys.stdin.readline().split()
        return int(line[1]) if line else None

    def answer(self, seconds: float, more: dict[str, Any] | None = None) -> None:
        """Reports the seconds of one turn, and further values if there are any."""
        self._write(json.dumps({"seconds": seconds, **(more or {})}))

    def _write(self, line: str) -> None:
        self._answers.write(line + "\n")
        self._answers.flush()


@functools.cache
def channel() -> Channel:
    """Returns the process's only channel.

    After the first call, all other output to standard output goes to standard error, including
    that of libraries.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return Channel(answers)


def specification() -> dict[str, Any]:
    """Returns the worker's specification, the JSON on the command line."""
    return json.loads(sys.argv[1])


def serve(prepare: Callable[[dict[str, Any]], Task]) -> None:
    """Prepares the task of the command line and serves turns until the input ends."""
    line = channel()
    task = prepare(specification())
    line.ready(task.info)
    while (count := line.next()) is not None:
        line.answer(task.repeat(count))
    task.finish()


def timed(work: Callable[[], Any]) -> Callable[[int], float]:
    """Returns a `repeat` function for a function that does the work once and waits for it."""

    def repeat(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            work()
        return time.perf_counter() - began

    return repeat


def timed_by_median(work: Callable[[], Any]) -> Callable[[int], float]:
    """Returns a `repeat` function that takes each repetition to last as long as the median one."""

    def repeat(count: int) -> float:
        return count * median(timed(work)(1) for _ in range(count))

    return repeat


def cores() -> int:
    """Returns the number of cores of this process, which is every contestant's thread count."""
    return len(os.sched_getaffinity(0))
