"""Processes that decode chunks of lines, each on its own share of the cores."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.queues import Queue
from pathlib import Path
from typing import NamedTuple

from seq2seq.errors import UserError
from seq2seq.hardware import shares_of_cores
from seq2seq.inference.formats import Line
from seq2seq.inference.parts import Remark, read_remarks

log = logging.getLogger(__name__)

_MAX_RESTARTS = 3  # without a part in between
_AHEAD = 3  # chunks per process that are handed out at once


class Task(NamedTuple):
    """A chunk to decode.

    Attributes:
        lines: Its lines.
        batches_before: The number of its first batch, see `Predictor.predict`.
        part: The file for its answers.
        source: The number of the input.
    """

    lines: list[Line]
    batches_before: int
    part: Path
    source: int


class Done(NamedTuple):
    """A task whose part is there, with the remarks in it; `is_found`: it was at the start."""

    task: Task
    remarks: list[Remark]
    is_found: bool


class Given(NamedTuple):
    """A task that was handed out; `future` is None if its part was there."""

    task: Task
    future: Future[None] | None


class Workers:
    """Several processes, which are started again if one of them is killed."""

    def __init__(self, decode: Callable[[Task], None], count: int) -> None:
        """Starts nothing yet.

        Args:
            decode: Writes the part of a task. It is called in the processes, so it is pickled.
            count: The number of processes.
        """
        self._decode, self._count = decode, count
        self._pool: ProcessPoolExecutor | None = None
        self._restarts = 0
        self._begun: set[Path] = set()  # the parts that were not there

    def decode(self, tasks: Iterable[Task]) -> Iterator[Done]:
        """Yields the tasks in their order, each when its part is there.

        Raises:
            UserError: A chunk cannot be decoded, or processes were killed again and again.
        """
        waiting: deque[Given] = deque()
        try:
            for task in tasks:
                waiting.append(self._give(task, waiting))
                if len(waiting) >= _AHEAD * self._count:
                    yield self._next(waiting)
            while waiting:
                yield self._next(waiting)
        finally:
            if self._pool is not None:
                self._pool.shutdown(cancel_futures=True)

    def _give(self, task: Task, waiting: Iterable[Given]) -> Given:
        if read_remarks(task.part) is not None:
            return Given(task, None)
        # Equal chunks have one part, which only one process may write.
        equal = [given.future for given in waiting if given.task.part == task.part]
        return Given(task, equal[0] if equal else self._submit(task))

    def _submit(self, task: Task) -> Future[None]:
        if self._pool is None:
            spawn = multiprocessing.get_context("spawn")
            shares = spawn.Queue()
            for share in shares_of_cores(self._count):
                shares.put(share)
            self._pool = ProcessPoolExecutor(self._count, spawn, _begin, (shares,))
        self._begun.add(task.part)
        try:
            return self._pool.submit(self._decode, task)
        except BrokenProcessPool as error:
            broken: Future[None] = Future()
            broken.set_exception(error)  # `_next` starts new processes when it comes to it.
            return broken

    def _next(self, waiting: deque[Given]) -> Done:
        while (given := waiting[0]).future is not None:
            try:
                given.future.result()
                self._restarts = 0
                break
            except BrokenProcessPool:
                self._restart(waiting)
        waiting.popleft()
        remarks = read_remarks(given.task.part)
        if remarks is None:
            raise UserError(f"{given.task.part}: is gone; start the same command again")
        return Done(given.task, remarks, given.task.part not in self._begun)

    def _restart(self, waiting: deque[Given]) -> None:
        """Starts new processes in place of those that have ended, and hands out the rest."""
        self._restarts += 1
        if self._restarts > _MAX_RESTARTS:
            raise UserError(
                "the processes that decode were killed again and again (is there too little "
                "memory?); finished lines are kept: start the same command again, with fewer jobs"
            )
        log.warning("a process that decodes was killed; its lines are decoded again")
        assert self._pool is not None
        self._pool.shutdown(cancel_futures=True)
        self._pool = None
        given = [*waiting]
        waiting.clear()
        for one in given:
            waiting.append(self._give(one.task, waiting))


def _begin(shares: Queue[set[int]]) -> None:
    """Prepares a process that decodes."""
    # At Ctrl-C the parent lets the chunks in work be finished.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The pool's processes would outlive a parent that is killed.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if share := shares.get():
        os.sched_setaffinity(0, share)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
