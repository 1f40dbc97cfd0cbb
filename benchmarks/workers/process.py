"""Whole processes, timed from start to exit; standard library only."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

from benchmarks.workers.protocol import channel, specification


def main() -> None:
    """Runs the command once per repetition and passes on its report file, if there is one."""
    spec, line = specification(), channel()
    report = Path(spec["report"])
    line.ready({})
    while (count := line.next()) is not None:
        report.unlink(missing_ok=True)
        began = time.perf_counter()
        for _ in range(count):
            subprocess.run(spec["command"], check=True, stdin=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
        line.answer(seconds, json.loads(report.read_text()) if report.exists() else {})


if __name__ == "__main__":
    main()
