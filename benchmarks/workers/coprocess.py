"""`infer.py` as a co-process: a line is written to it, and its answer read, before the next one."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.workers.protocol import Task, serve, timed_by_median


def prepare(spec: dict[str, Any]) -> Task:
    """Starts the process; a repetition is one line of `words`."""
    words = itertools.cycle(Path(spec["words"]).read_bytes().splitlines(keepends=True))
    process = subprocess.Popen(
        [sys.executable, "infer.py", f"run={spec['run']}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    questions, answers = process.stdin, process.stdout

    def ask() -> None:
        questions.write(next(words))
        if not answers.readline().endswith(b"\n"):
            raise SystemExit("infer.py has ended")

    def finish() -> None:
        questions.close()
        process.wait()

    return Task(timed_by_median(ask), finish=finish)


if __name__ == "__main__":
    serve(prepare)
