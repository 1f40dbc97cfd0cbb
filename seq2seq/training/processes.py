"""Processes that train runs side by side, each on its own share of the cores.

A small model does not keep several cores busy: runs side by side take less time than one after
another. A process that crashes takes no other with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple

from seq2seq.hardware import cores, shares_of_cores
from seq2seq.training.job import Job
from seq2seq.training.signals import StopRequest

_SECONDS_BETWEEN_LOOKS = 0.5
_MAX_OUTPUT = 2**16  # bytes of a process's output that are read again, at its end


class Ended(NamedTuple):
    """A process that has ended.

    Attributes:
        job: What it trained.
        code: Its exit code, or less than 0: minus the signal that ended it.
        output: The last lines that it wrote.
    """

    job: Job
    code: int
    output: list[str]

    @property
    def problem(self) -> str:
        """Why it failed, in one line; empty if it did not."""
        if self.code < 0:
            name = signal.Signals(-self.code).name
            out_of_memory = ", as when memory runs out" if self.code == -signal.SIGKILL else ""
            return f"its process was ended by {name}{out_of_memory}"
        if self.code > 128 and self.code - 128 in [*signal.Signals]:
            return f"it was stopped by {signal.Signals(self.code - 128).name}, and saved"
        if self.code:
            last = self.output[-1].removeprefix("error: ") if self.output else ""
            return last or f"its process ended with exit code {self.code}"
        return ""


class _Child(NamedTuple):
    job: Job
    process: subprocess.Popen[bytes]
    output: IO[bytes]


class Processes:
    """A context in which jobs are trained side by side; its end stops those that still run.

    A job that is stopped saves a checkpoint. So it does when this process is killed, because its
    standard input then ends.
    """

    def __init__(self, places: int, stop: StopRequest) -> None:
        """Divides the cores among `places` processes; `stop` has the signal to pass on."""
        self._shares = shares_of_cores(places)
        self._stop = stop
        self._children: dict[int, _Child] = {}

    @property
    def has_place(self) -> bool:
        """Whether another job can be started."""
        return len(self._children) < len(self._shares)

    @property
    def running(self) -> list[Job]:
        """The jobs whose processes run."""
        return [child.job for child in self._children.values()]

    def start(self, job: Job) -> None:
        """Starts the process of a job at a free place."""
        place = min(set(range(len(self._shares))) - self._children.keys())
        self._children[place] = _start(job, self._shares[place], len(self._shares))

    def stop(self, job: Job) -> None:
        """Asks the process of a job to save and stop."""
        for child in self._children.values():
            if child.job is job and child.process.poll() is None:
                child.process.send_signal(signal.SIGTERM)

    def wait(self) -> list[Ended]:
        """Waits a moment, and returns the processes that have ended since the last call."""
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        places = [p for p, child in self._children.items() if child.process.poll() is not None]
        return [_ended(self._children.pop(place)) for place in places]

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        children = self._children.values()
        for child in children:
            if child.process.poll() is None:
                child.process.send_signal(self._stop.signal or signal.SIGTERM)
        for child in children:
            child.process.wait()
            _ended(child)


def _start(job: Job, share: set[int], places: int) -> _Child:
    package = str(Path(__file__).parents[2])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    if not share:
        for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
            environment.setdefault(name, str(max(1, cores() // places)))
    output = tempfile.TemporaryFile()  # noqa: SIM115  Closed by `_ended`.
    process = subprocess.Popen(
        [sys.executable, "-m", "seq2seq.training.job_process"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        # Ctrl-C at a terminal reaches this process alone, which passes it on once.
        start_new_session=True,
    )
    if share:
        os.sched_setaffinity(process.pid, share)
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # It has ended: `wait` will tell.
        process.stdin.write(job.to_line())
        process.stdin.flush()  # It stays open: its end means that this process has ended.
    return _Child(job, process, output)


def _ended(child: _Child) -> Ended:
    assert child.process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        child.process.stdin.close()
    with child.output as output:
        output.seek(max(0, output.seek(0, os.SEEK_END) - _MAX_OUTPUT))
        lines = output.read().decode(errors="replace").strip().splitlines()
    return Ended(child.job, child.process.returncode, lines)
