"""Progress of a bulk decoding, as a bar on a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from types import TracebackType

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from seq2seq.console import Console
from seq2seq.data.line_reader import is_compressed
from seq2seq.files import local_path

_BLOCK = 2**20


class BulkProgress:
    """Count of the lines that are decoded, shown while the context lasts.

    Attributes:
        lines: All of them.
        found: Those that were decoded before.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.lines = self.found = 0
        console = Console(stderr=True)
        self._bar = Progress(
            BarColumn(bar_width=30),
            TextColumn("{task.completed:,.0f} lines"),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        total = _count_lines(paths) if console.is_terminal else None
        self._task = self._bar.add_task("", total=total, speed="")

    def __enter__(self) -> BulkProgress:
        """Shows the bar; log messages appear above it."""
        before = sys.stderr
        self._bar.start()
        self._redirected = [
            handler
            for handler in logging.getLogger().handlers
            if isinstance(handler, logging.StreamHandler) and handler.stream is before
        ]
        for handler in self._redirected:
            handler.setStream(sys.stderr)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leaves the bar as it is."""
        self._bar.stop()
        for handler in self._redirected:
            handler.setStream(sys.stderr)

    def add(self, lines: int, is_found: bool) -> None:
        """Counts lines that are there now, or were there before."""
        self.lines += lines
        self.found += lines if is_found else 0
        decoded, seconds = self.lines - self.found, self._bar.tasks[0].elapsed
        speed = f"{decoded / seconds:,.0f} lines/s" if seconds and decoded else ""
        self._bar.update(self._task, completed=self.lines, speed=speed)


def _count_lines(paths: Sequence[str]) -> int | None:
    """Returns the number of lines of plain files; None if there are others."""
    if any(path == "-" or is_compressed(path) or not local_path(path).is_file() for path in paths):
        return None
    count = 0
    for path in paths:
        with local_path(path).open("rb") as file:
            while block := file.read(_BLOCK):
                count += block.count(b"\n")
    return count
