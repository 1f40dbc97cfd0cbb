"""Where the time of our own work goes: what XLA runs on the cores, by TensorFlow's profiler."""

from __future__ import annotations

import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from benchmarks.workers.ours import TASKS
from benchmarks.workers.protocol import channel, cores, specification
from seq2seq.hardware import keep_freed_memory

PRODUCTS, BOOKKEEPING, OTHER = "matrix products", "XLA's bookkeeping", "everything else"
# Of XLA's own machinery, around the operations of a program.
_PROGRAM = "ThunkExecutor::Execute"
_AROUND = ("ThunkExecutor::", "SlinkyThreadPool::")
# A large product is cut up. Its parts are pieces of work like any other, between these two, but
# have no name; the product itself is named where it begins, and where it ends with this before it.
_STARTS, _STOPS, _ENDS = (
    "ThreadpoolListener::StartRegion",
    "ThreadpoolListener::StopRegion",
    "end: ",
)

Span = tuple[int, int]


class Event(NamedTuple):
    """What a thread did, in picoseconds."""

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
        line.answer(seconds, kinds=by_kind(events))


def read_events(folder: Path) -> list[Event]:
    """Returns what XLA's threads did, and what others did of a program of XLA's, by start."""
    [path] = folder.rglob("*.xplane.pb")
    space = xplane_pb2.XSpace()
    space.ParseFromString(path.read_bytes())
    found = []
    for plane in space.planes:
        for line in plane.lines:
            events = []
            for event in line.events:
                start = line.timestamp_ns * 1000 + event.offset_ps
                name = plane.event_metadata[event.metadata_id].name
                events.append(Event(start, start + event.duration_ps, name, line.id))
            found += events if "Eigen" in line.name else _of_programs(events)
    return sorted(found, key=lambda event: (event.start, -event.end))


def _of_programs(events: Iterable[Event]) -> list[Event]:
    """Leaves out what a thread did outside of XLA's programs."""
    found, end = [], 0
    for event in sorted(events, key=lambda event: (event.start, -event.end)):
        if event.name == _PROGRAM:
            end = max(end, event.end)
        if event.end <= end:
            found.append(event)
    return found


def by_kind(events: Sequence[Event]) -> dict[str, float]:
    """Returns the seconds of all threads by kind; an operation's do not count those within it."""
    picoseconds: defaultdict[str, int] = defaultdict(int)
    named: defaultdict[int, list[Event]] = defaultdict(list)
    work: defaultdict[int, list[Span]] = defaultdict(list)
    for event in events:
        if not event.name.startswith((_ENDS, "ThreadpoolListener::")):
            named[event.thread].append(event)
    for thread, span in _pieces_of_work(events):
        work[thread].append(span)
    for of_thread in named.values():
        stack: list[Event] = []
        for event in of_thread:
            while stack and stack[-1].end <= event.start:
                stack.pop()
            if stack:
                picoseconds[_kind(stack[-1].name)] -= event.end - event.start
            picoseconds[_kind(event.name)] += event.end - event.start
            stack.append(event)
    products = _union(_products_under_way(events))
    for thread, spans in work.items():
        seen = _union((event.start, event.end) for event in named[thread])
        at_work = _union([*spans, *seen])
        unnamed = _length(at_work) - _length(seen)
        parts = _length(_common(at_work, products)) - _length(_common(seen, products))
        picoseconds[PRODUCTS] += parts
        picoseconds[BOOKKEEPING] += unnamed - parts
    return {kind: count / 1e12 for kind, count in picoseconds.items()}


def _pieces_of_work(events: Iterable[Event]) -> Iterator[tuple[int, Span]]:
    """Yields (thread, from when to when) for what XLA's thread pool was given."""
    begun: defaultdict[int, list[int]] = defaultdict(list)
    for event in events:
        if event.name == _STARTS:
            begun[event.thread].append(event.start)
        elif event.name == _STOPS and begun[event.thread]:
            yield event.thread, (begun[event.thread].pop(), event.start)


def _products_under_way(events: Iterable[Event]) -> Iterator[Span]:
    """Yields from when to when there were parts of a product to work on."""
    begun: defaultdict[str, list[int]] = defaultdict(list)
    for event in events:
        if _kind(event.name) == PRODUCTS:
            begun[event.name].append(event.start)
        elif event.name.startswith(_ENDS) and begun[event.name.removeprefix(_ENDS)]:
            yield begun[event.name.removeprefix(_ENDS)].pop(0), event.end


def _union(spans: Iterable[Span]) -> list[Span]:
    """Returns the same moments as spans that do not touch, in order."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _common(some: Sequence[Span], others: Sequence[Span]) -> list[Span]:
    """Returns the moments that are in both unions."""
    found, i, j = [], 0, 0
    while i < len(some) and j < len(others):
        start, end = max(some[i][0], others[j][0]), min(some[i][1], others[j][1])
        if start < end:
            found.append((start, end))
        if some[i][1] < others[j][1]:
            i += 1
        else:
            j += 1
    return found


def _length(spans: Iterable[Span]) -> int:
    return sum(end - start for start, end in spans)


def _kind(name: str) -> str:
    if re.match(r"(MatMul|dot)", name):
        return PRODUCTS
    return BOOKKEEPING if name.startswith(_AROUND) else OTHER


if __name__ == "__main__":
    main()
