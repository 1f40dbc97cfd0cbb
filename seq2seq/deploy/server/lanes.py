"""Lanes: lines of concurrent requests are gathered into one call of a model.

A lane has one thread, which makes one call at a time. What waits meanwhile is taken together by the
next call. The lines of a long request are taken a few at a time, in turn with those of others. It
knows neither models nor HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

Call = Callable[[Sequence[Any]], Sequence[Any]]
"""(lines) → a result for each; runs in the thread of the lane."""

Observe = Callable[[int, float], None]
"""(number of lines, seconds) of every call."""

_MIN_FILLED = 0.75  # of a call; fewer lines make a smaller call, and the rest waits for the next


@dataclass(eq=False)
class _Job:
    """The lines of one request that are answered by one kind of call.

    Attributes:
        call: Answers them.
        key: Jobs with equal keys share calls; None: all lines are in a call of their own.
        lines: The lines.
        answered: Receives the results.
        first: The number of lines that calls have taken.
        results: By the numbers of lines.
    """

    call: Call
    key: Hashable | None
    lines: Sequence[Any]
    answered: asyncio.Future[list[Any]]
    first: int = 0
    results: dict[int, Any] = field(default_factory=dict)

    @property
    def left(self) -> int:
        return len(self.lines) - self.first


class Lane:
    """A queue of lines and the thread that answers them."""

    def __init__(self, row_counts: Sequence[int], max_delay: float, observe: Observe) -> None:
        """Starts nothing; `run` answers.

        Args:
            row_counts: The numbers of lines, rising, that calls are made for: a call of fewer lines
                takes as long as one of the next number.
            max_delay: Seconds that a line waits for others, if the last call had lines of several
                requests. A client that is alone never waits.
            observe: Is told of every call.
        """
        self._row_counts, self._max_delay, self._observe = row_counts, max_delay, observe
        self._jobs: deque[_Job] = deque()
        self._arrived = asyncio.Event()
        self._last_rows = 1  # of the last call, if it had several requests
        self._thread = ThreadPoolExecutor(1, "lane")

    @property
    def waiting(self) -> int:
        """The number of lines that no call has taken."""
        return sum(job.left for job in self._jobs)

    def answer(
        self, call: Call, key: Hashable | None, lines: Sequence[Any]
    ) -> asyncio.Future[list[Any]]:
        """Returns the results of lines, in order; they count as waiting at once.

        When cancelled, it drops those not yet taken. It fails with what `call` raises for these
        lines alone.
        """
        job = _Job(call, key, lines, asyncio.get_running_loop().create_future())
        job.answered.add_done_callback(lambda _: self._drop(job))
        self._jobs.append(job)
        self._arrived.set()
        return job.answered

    def _drop(self, job: _Job) -> None:
        # `remove` of what is not there would write all lines and results into its error.
        if job in self._jobs:
            self._jobs.remove(job)

    async def run(self) -> None:
        """Answers until it is cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._gather()
                taken = self._take()
                if not taken:
                    continue
                began = time.monotonic()
                results = await loop.run_in_executor(self._thread, _answer, taken)
                self._observe(len(taken), time.monotonic() - began)
                _deliver(taken, results)
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _gather(self) -> None:
        """Waits for a line, and for as many as the last call had, but not for long."""
        while not self._jobs:
            self._arrived.clear()
            await self._arrived.wait()
        enough = min(self._row_counts[-1], self._last_rows)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._max_delay):
                while self.waiting < enough:
                    self._arrived.clear()
                    await self._arrived.wait()

    def _take(self) -> list[tuple[_Job, int]]:
        """Removes the lines of the next call from the queue: one of each job, then another one."""
        if not self._jobs:  # Cancelled meanwhile.
            return []
        oldest = self._jobs[0]
        if oldest.key is None:
            sharing, max_rows = [oldest], len(oldest.lines)
        else:
            sharing = [job for job in self._jobs if job.key == oldest.key]
            max_rows = self._rows_for(sum(job.left for job in sharing))
        taken: list[tuple[_Job, int]] = []
        self._last_rows = 1
        turns = deque(sharing)
        while turns and len(taken) < max_rows:
            job = turns.popleft()
            taken.append((job, job.first))
            job.first += 1
            if job.left:
                turns.append(job)
        involved = {id(job) for job, _ in taken}
        if len(involved) > 1:
            self._last_rows = len(taken)
        # What is left of them waits behind those whose lines need another call.
        others = [job for job in self._jobs if id(job) not in involved]
        self._jobs = deque([*others, *(job for job in sharing if id(job) in involved and job.left)])
        return taken

    def _rows_for(self, count: int) -> int:
        """Returns how many of `count` lines the next call takes."""
        larger = next((n for n in self._row_counts if n >= count), self._row_counts[-1])
        smaller = max((n for n in self._row_counts if n <= count), default=larger)
        return larger if count >= _MIN_FILLED * larger else smaller


def _answer(taken: Sequence[tuple[_Job, int]]) -> list[Any]:
    """Makes the call; the result of a line may be an exception."""
    lines = [job.lines[number] for job, number in taken]
    try:
        return list(taken[0][0].call(lines))
    except Exception as error:
        jobs = {id(job): job for job, _ in taken}
        if len(jobs) == 1:
            return [error] * len(lines)
    # One request may be at fault, and the others have a right to their answers.
    return [_answer([one])[0] for one in taken]


def _deliver(taken: Sequence[tuple[_Job, int]], results: Sequence[Any]) -> None:
    for (job, number), result in zip(taken, results, strict=True):
        if job.answered.done():  # Cancelled, or failed.
            continue
        if isinstance(result, Exception):
            job.answered.set_exception(result)
            continue
        job.results[number] = result
        if len(job.results) == len(job.lines):
            job.answered.set_result([job.results[i] for i in range(len(job.lines))])
