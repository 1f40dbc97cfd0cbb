"""Where the time of our own work goes: what XLA runs on the cores, by TensorFlow's profiler."""

from __future__ import annotations

import re
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from benchmarks.workers.ours import TASKS
from benchmarks.workers.protocol import channel, cores, specification
from seq2seq.allocator import keep_freed_memory

PRODUCTS, BOOKKEEPING, OTHER = "matrix products", "XLA's bookkeeping", "everything else"
# Of XLA's own machinery, around the operations of a program.
_AROUND = ("ThunkExecutor::", "SlinkyThreadPool::", "end: ")


class Event(NamedTuple):
    """An operation on one of XLA's threads, in picoseconds."""

    start: int
    end: int
    name: str
    thread: int


def main() -> None:
    """Does the work once as it is, which compiles it, then under the profiler in every turn."""
    keep_freed_memory()  # as the commands do
    tf.config.threading.set_intra_op_parallelism_threads(cores())
    line, spec = channel(), specification()
    task = TASKS[spec["task"]](spec)
    task.repeat(1)
    line.ready(task.info)
    while (count := line.next()) is not None:
        with tempfile.TemporaryDirectory() as folder:
            options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=3)
            with tf.profiler.experimental.Profile(folder, options):
                began = time.perf_counter()
                task.repeat(count)
                seconds = time.perf_counter() - began
            events = read_events(Path(folder))
        line.answer(seconds, kinds=by_kind(events), busy=by_busy_threads(events))


def read_events(folder: Path) -> list[Event]:
    """Returns what ran on XLA's threads, by start."""
    [path] = folder.rglob("*.xplane.pb")
    space = xplane_pb2.XSpace()
    space.ParseFromString(path.read_bytes())
    events = []
    for plane in space.planes:
        for line in plane.lines:
            if "Eigen" not in line.name:
                continue
            for event in line.events:
                start = line.timestamp_ns * 1000 + event.offset_ps
                name = plane.event_metadata[event.metadata_id].name
                events.append(Event(start, start + event.duration_ps, name, line.id))
    return sorted(events, key=lambda event: (event.start, -event.end))


def by_kind(events: Iterable[Event]) -> dict[str, float]:
    """Returns the seconds of all threads by kind; an operation's do not count those within it."""
    seconds: defaultdict[str, float] = defaultdict(float)
    within: dict[int, list[Event]] = {}
    for event in events:
        stack = within.setdefault(event.thread, [])
        while stack and stack[-1].end <= event.start:
            stack.pop()
        if stack:
            seconds[_kind(stack[-1].name)] -= (event.end - event.start) / 1e12
        seconds[_kind(event.name)] += (event.end - event.start) / 1e12
        stack.append(event)
    return dict(seconds)


def by_busy_threads(events: Iterable[Event]) -> dict[int, float]:
    """Returns the seconds during which so many threads ran an operation of a program."""
    changes = []
    for event in events:
        if not event.name.startswith(_AROUND):
            changes += [(event.start, 1, event.thread), (event.end, -1, event.thread)]
    seconds: defaultdict[int, float] = defaultdict(float)
    depths: Counter[int] = Counter()
    last = None
    for moment, change, thread in sorted(changes):
        if last is not None:
            seconds[sum(depth > 0 for depth in depths.values())] += (moment - last) / 1e12
        depths[thread] += change
        last = moment
    return dict(seconds)


def _kind(name: str) -> str:
    if re.match(r"(MatMul|dot)", name):
        return PRODUCTS
    return BOOKKEEPING if name.startswith(_AROUND) else OTHER


if __name__ == "__main__":
    main()
