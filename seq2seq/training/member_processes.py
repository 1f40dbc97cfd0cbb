"""Members of an ensemble, each trained by a process of its own on its own share of the cores.

A small model does not keep several cores busy: members side by side take less time than one after
another.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from seq2seq.errors import UserError
from seq2seq.hardware import cores, has_gpu
from seq2seq.runs.run_dir import RunDir
from seq2seq.training.screen import Screen
from seq2seq.training.signals import StoppedBySignal, StopRequest

_SECONDS_BETWEEN_LOOKS = 0.5


class Child(NamedTuple):
    """A process that trains a run, its place on the screen, and the file with its output."""

    run: RunDir
    task: TaskID
    process: subprocess.Popen[bytes]
    output: IO[bytes]


def train_side_by_side(programs: dict[RunDir, list[str]], screen: Screen) -> None:
    """Trains runs, as many at a time as there are cores, and shows how far they are.

    Args:
        programs: The Python module, and its arguments, that trains or resumes each run.
        screen: Where the user reads.

    Raises:
        UserError: A run cannot be trained; the others that had begun have saved checkpoints.
        StoppedBySignal: A signal asked to stop; all have saved checkpoints.
    """
    shares = _shares_of_cores(len(programs))
    progress = Progress(
        TextColumn("member {task.description}"),
        BarColumn(bar_width=30),
        TextColumn("epoch {task.completed:.0f} of {task.fields[epochs]}"),
        TimeElapsedColumn(),
        console=screen.console,
    )
    queue, running = list(programs.items()), dict[int, Child]()
    with contextlib.ExitStack() as stack:
        stack.enter_context(progress)
        stop = stack.enter_context(StopRequest())
        stack.callback(lambda: _end(running.values(), stop.signal or signal.SIGTERM))
        while queue or running:
            for place, share in enumerate(shares):
                if place not in running and queue:
                    run, program = queue.pop(0)
                    task = progress.add_task(run.path.name, total=None, epochs="?")
                    running[place] = _start(run, task, program, share)
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            for place, child in [*running.items()]:
                _show(child, progress)
                if child.process.poll() is not None:
                    _check(running.pop(place))
            if stop.signal:
                raise StoppedBySignal(stop.signal)


def _shares_of_cores(members: int) -> list[set[int]]:
    """Returns the cores of each member that is trained at the same time."""
    # A GPU, and a system that cannot bind a process to cores, trains one after another.
    if not hasattr(os, "sched_setaffinity") or has_gpu():
        return [set()]
    own = sorted(os.sched_getaffinity(0))
    count = max(1, min(members, cores()))
    return [set(own[place::count]) for place in range(count)]


def _start(run: RunDir, task: TaskID, program: Sequence[str], share: set[int]) -> Child:
    package = str(Path(__file__).parents[2])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    output = tempfile.TemporaryFile()  # noqa: SIM115  Closed by `_check`, or with the process.
    process = subprocess.Popen(
        [sys.executable, "-m", *program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        # Ctrl-C at a terminal reaches this process alone, which passes it on once.
        start_new_session=True,
    )
    if share:
        os.sched_setaffinity(process.pid, share)
    return Child(run, task, process, output)


def _show(child: Child, progress: Progress) -> None:
    """Shows how many epochs a member has, as soon as its files say so."""
    with contextlib.suppress(UserError):
        epochs = child.run.load_config().training.epochs
        done = len(child.run.load_metrics())
        progress.update(child.task, total=epochs, completed=done, epochs=epochs)


def _check(child: Child) -> None:
    """Refuses the failure of a member with the last line that it wrote."""
    with child.output as output:
        output.seek(0)
        lines = output.read().decode(errors="replace").strip().splitlines()
    if child.process.returncode:
        problem = lines[-1].removeprefix("error: ") if lines else "its process was ended"
        raise UserError(f"member {child.run.path.name}: {problem}")


def _end(children: Iterable[Child], number: int) -> None:
    """Stops members that still run by a signal; they save a checkpoint."""
    for child in children:
        if child.process.poll() is None:
            child.process.send_signal(number)
    for child in children:
        child.process.wait()
