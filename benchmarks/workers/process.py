"""A whole process from its start to its end, again and again; standard library only."""

from __future__ import annotations

import json
import resource
import subprocess
import time
from pathlib import Path

from benchmarks.workers.protocol import channel, specification


def main() -> None:
    """Runs the command once per repetition; passes on what it left in its report file, if any."""
    spec, line = specification(), channel()
    report = Path(spec["report"])
    line.ready({})
    while (count := line.next()) is not None:
        report.unlink(missing_ok=True)
        began = time.perf_counter()
        for _ in range(count):
            subprocess.run(spec["command"], check=True, stdin=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
        # Of the greatest of all commands so far, and not of this worker.
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        told = json.loads(report.read_text()) if report.exists() else {}
        line.answer(seconds, **{"peak_bytes": peak, **told})


if __name__ == "__main__":
    main()
