"""Workers on this machine: `workers=N` starts them, watches them, and starts them again.

TensorFlow trains in several processes, but starts none. Several machines are the business of
Kubernetes, Slurm or Ray (`docs/scale.md`); this file does for one machine what they do.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

from seq2seq.config.device import may_have_gpu
from seq2seq.config.schema import RunConfig
from seq2seq.config.workers import (
    LOST_WORKER,
    TF_CONFIG,
    is_worker,
    tf_config,
)
from seq2seq.errors import UserError
from seq2seq.hardware import shares_of_cores
from seq2seq.runs.checkpoints import Checkpoints
from seq2seq.runs.run_dir import RunDir
from seq2seq.training.lifeline import LIFELINE
from seq2seq.training.signals import StoppedBySignal, StopRequest

log = logging.getLogger(__name__)

_MAX_IN_VAIN = 3  # starts in a row without a new checkpoint
_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_TO_END = 20.0  # A worker that waits for a lost one does not answer a signal.
_MISTAKE = 2  # the exit code after a mistake of the user, which a new start would repeat
_MAX_PRINTED = 40  # lines of a worker that crashed


class Worker(NamedTuple):
    """A process, and the file with the output of all but the chief's."""

    number: int
    process: subprocess.Popen[bytes]
    output: IO[bytes]


def train_by_workers(config: RunConfig, words: Sequence[str], folder: Path) -> bool:
    """Trains on several processes of this machine if the settings, or the run to resume, say so.

    Args:
        config: All settings.
        words: Of the command line.
        folder: The folder of a new run.

    Returns:
        Whether it did. A process that is a worker trains itself.

    Raises:
        UserError: See `train_on_workers`; or the workers would share a GPU, or the folder of the
            new run holds one.
        StoppedBySignal: See `train_on_workers`.
    """
    if is_worker():
        return False
    run, count = RunDir(folder), config.workers
    if config.resume:
        run = RunDir.latest_started() if config.resume == "latest" else RunDir(config.resume)
        is_given = any(word.startswith("workers=") for word in words)
        if not is_given and run.config_file.is_file():
            count = run.load_config().workers
    if not count:
        return False
    if config.ensemble:
        raise UserError("ensemble: its members are trained side by side already; leave out workers")
    if may_have_gpu(config.device):
        raise UserError(
            f"workers={count}: all would share this machine's GPU; choose "
            "training.strategy=mirrored for several GPUs, or device=cpu"
        )
    begin = [word for word in words if not word.startswith(("resume=", "run_dir="))]
    begin += [f"workers={count}", "training.strategy=multi_worker"]
    # The user has given the settings just now.
    go_on = [f"resume={run.path}", f"device={config.device}", "trust=true"]
    if config.resume:
        go_on = begin = [*begin, f"resume={run.path}"]
    else:
        run.check_new()
        begin = [*begin, f"run_dir={run.path}"]
    train_on_workers(begin, go_on, run, count)
    return True


def train_on_workers(begin: Sequence[str], go_on: Sequence[str], run: RunDir, count: int) -> None:
    """Trains a run by several processes; if one ends too early, all start again.

    Args:
        begin: The arguments of `train` for a run that has not begun.
        go_on: Those for one that has.
        run: The run folder.
        count: Number of processes.

    Raises:
        UserError: A worker cannot train, or workers have ended too often.
        StoppedBySignal: A signal asked to stop; a checkpoint was saved.
    """
    checkpoints = Checkpoints(run.checkpoints, keep=1)
    in_vain = 0
    with StopRequest() as stop:
        while in_vain < _MAX_IN_VAIN:
            before = checkpoints.paths()
            problem = _train_once(go_on if run.config_file.exists() else begin, count, stop)
            if problem is None:
                return
            in_vain = in_vain + 1 if checkpoints.paths() == before else 0
            log.warning("%s; all start again from the last checkpoint", problem)
    raise UserError(f"{problem}, {in_vain} times without a new checkpoint before")


def _train_once(arguments: Sequence[str], count: int, stop: StopRequest) -> str | None:
    """Starts all workers, and returns why they did not finish, or None.

    Raises:
        UserError: One met a mistake of the user.
        StoppedBySignal: A signal asked to stop.
    """
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(count)]
    workers: list[Worker] = []
    with contextlib.ExitStack() as stack:
        # Their own folders: a worker that is killed cannot remove its.
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="seq2seq-workers-"))
        stack.callback(lambda: _end(workers))
        for number in range(count):
            output = stack.enter_context(tempfile.TemporaryFile())
            workers.append(_start(arguments, addresses, number, output, folder))
        passed_on = False
        while any(worker.process.poll() is None for worker in workers):
            failed = [worker for worker in workers if worker.process.poll()]
            if stop.signal and not passed_on:
                passed_on = True
                for worker in workers:
                    worker.process.send_signal(stop.signal)
            elif failed and not passed_on:
                return _problem(failed[0], workers[0])
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        if stop.signal:
            raise StoppedBySignal(stop.signal)
        failed = [worker for worker in workers if worker.process.returncode]
        return _problem(failed[0], workers[0]) if failed else None


def _start(
    arguments: Sequence[str],
    addresses: Sequence[str],
    number: int,
    output: IO[bytes],
    folder: str,
) -> Worker:
    """Starts a worker with its share of the cores; the chief writes to this process's output."""
    is_script = Path(sys.argv[0]).name == "train.py"
    program = [sys.argv[0]] if is_script else ["-m", "seq2seq", "train"]
    process = subprocess.Popen(
        [sys.executable, *program, *arguments],
        env={
            **os.environ,
            TF_CONFIG: tf_config(addresses, number),
            "TMPDIR": folder,
            LIFELINE: "1",
        },
        stdin=subprocess.PIPE,  # It ends when this process is killed.
        stdout=None if number == 0 else output,
        stderr=None if number == 0 else output,
        # Ctrl-C at a terminal reaches this process alone, which passes it on once.
        start_new_session=True,
    )
    if share := shares_of_cores(len(addresses))[number]:
        os.sched_setaffinity(process.pid, share)
    return Worker(number, process, output)


def _problem(worker: Worker, chief: Worker) -> str:
    """Returns how a worker ended.

    Raises:
        UserError: By a mistake of the user.
    """
    code = worker.process.returncode
    if code == _MISTAKE:
        with contextlib.suppress(subprocess.TimeoutExpired):
            if chief.process.wait(_SECONDS_TO_END) == _MISTAKE:  # It has said why.
                raise SystemExit(_MISTAKE)
        raise UserError(f"worker {worker.number}: {_told(worker)[-1].removeprefix('error: ')}")
    if worker is not chief and code not in (-signal.SIGKILL, LOST_WORKER):
        sys.stderr.write("".join(f"{line}\n" for line in _told(worker)[-_MAX_PRINTED:]))
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"worker {worker.number} has ended ({how})"


def _told(worker: Worker) -> list[str]:
    """Returns the lines that a worker other than the chief has written."""
    worker.output.seek(0)
    return worker.output.read().decode(errors="replace").strip().splitlines()


def _end(workers: Sequence[Worker]) -> None:
    """Ends workers that still run; those that can save a checkpoint."""
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.terminate()
    until = time.monotonic() + _SECONDS_TO_END
    for worker in workers:
        try:
            worker.process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
