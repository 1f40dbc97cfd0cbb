"""A server and its clients on loopback: seconds per request, percentiles, and what went wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from benchmarks.workers.http_clients import Load, run_clients
from benchmarks.workers.protocol import channel, specification

READY = 600.0  # seconds


def start(run: str, settings: list[str]) -> tuple[subprocess.Popen[str], int]:
    """Starts a server of a run on a free port, and waits until it is ready."""
    command = [sys.executable, "-m", "seq2seq.serve", f"run={run}", "port=0", *settings]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    port = 0
    for line in process.stderr:
        if line.startswith("address"):
            port = int(line.rsplit(":", 1)[1])
            break
    end = time.monotonic() + READY
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz").close()
            return process, port
        except OSError:
            time.sleep(0.2)
    raise RuntimeError("the server is not ready")


def cpu_seconds(process: int) -> float:
    """Returns the processor time that a process has taken (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def percentile(seconds: list[float], share: float) -> float:
    """Returns the milliseconds that this share of the requests did not exceed."""
    ordered = sorted(seconds)
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main() -> None:
    """A repetition is `requests` requests of one source by each of `clients` clients."""
    spec, line = specification(), channel()
    sources = Path(spec["words"]).read_text(encoding="utf-8").splitlines()
    process, port = start(spec["run"], spec["settings"])
    alone = run_clients(port, 1, len(sources), sources).answers
    line.ready({})
    while (count := line.next()) is not None:
        load = Load()
        before = cpu_seconds(process.pid)
        began = time.perf_counter()
        for _ in range(count):
            again = run_clients(port, spec["clients"], spec["requests"], sources)
            load.seconds += again.seconds
            load.failures += again.failures
            for source, answers in again.answers.items():
                load.answers.setdefault(source, set()).update(answers)
        seconds = time.perf_counter() - began
        wrong = sum(load.answers[source] != alone[source] for source in load.answers)
        more = {
            "p50_ms": percentile(load.seconds, 0.5),
            "p99_ms": percentile(load.seconds, 0.99),
            "server_cpu_ms": 1000 * (cpu_seconds(process.pid) - before) / len(load.seconds),
            "failed": len(load.failures),
            "lost": count * spec["clients"] * spec["requests"] - len(load.seconds),
            "wrong": wrong,
        }
        line.answer(seconds, more)
    process.send_signal(signal.SIGTERM)
    process.wait()


if __name__ == "__main__":
    main()
