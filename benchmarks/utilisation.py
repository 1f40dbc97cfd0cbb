"""How busy a GPU is while a contestant has its turn, as `nvidia-smi` says it."""

from __future__ import annotations

import subprocess
import threading
import time
from statistics import fmean
from types import TracebackType

PERIOD_MS = 50
COMMAND = (
    "nvidia-smi",
    "--query-gpu=utilization.gpu",
    "--format=csv,noheader,nounits",
    f"--loop-ms={PERIOD_MS}",
)


class Utilisation:
    """Samples of the share of time in which some kernel ran on the first GPU; a context manager."""

    def __init__(self, command: tuple[str, ...] = COMMAND) -> None:
        self._command = command
        self._samples: list[tuple[float, float]] = []

    def __enter__(self) -> Utilisation:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def percent(self, began: float, ended: float) -> float | None:
        """Returns the mean of the samples between two readings of `time.monotonic`, if any."""
        found = [value for at, value in [*self._samples] if began <= at <= ended]
        return fmean(found) if found else None

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip().isdecimal():  # not `[N/A]`
                self._samples.append((time.monotonic(), float(line)))
