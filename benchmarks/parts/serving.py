"""The server on loopback, with and without gathering, by clients that wait for their answers."""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks import report
from benchmarks.context import Context
from benchmarks.data import first_column
from benchmarks.interleave import Contestant
from benchmarks.parts import epoch
from benchmarks.results import Measured, PartResult, Table

NOTES = [
    "Each client sends requests of one word over one connection, the next one after the answer. "
    "`alone` is the same server with max_batch_rows=1.",
    "The clients run on the same cores as the server. `CPU` is the processor time that the server "
    "takes per request, which other work on the machine changes less than the rate.",
    "`wrong` counts words whose best answer ever differed from that to a client that was alone.",
]
COLUMNS = ["clients", "server", "requests/s", "p50", "p99", "CPU", "failed", "lost", "wrong"]


def run(context: Context) -> PartResult:
    """Measures 1, 8 and 64 clients with greedy and with beam search."""
    if context.trained is None:
        context.console.print("serving: training the model first")
        epoch.run(context)
    assert context.trained is not None
    first_column(context.dev, context.words)
    result = PartResult("Serving")
    rows = []
    for search in ("greedy", "beam"):
        for clients in (1, 3) if context.is_quick else (1, 8, 64):
            requests = 2 if context.is_quick else max(10, 320 // clients)
            spec = {
                "run": str(context.trained.run),
                "words": str(context.words),
                "clients": clients,
                "requests": requests,
            }
            contestants = [
                Contestant(
                    name,
                    "serving",
                    spec | {"settings": [f"decoding={search}", f"max_batch_rows={size}"]},
                    work=clients * requests,
                )
                for name, size in (("gathered", 8 if context.is_quick else 64), ("alone", 1))
            ]
            case = context.measure(f"{search}, {clients} clients", contestants, 5)
            result.cases.append(case)
            rows += [_row(f"{search}, {clients}", one) for one in case.contestants]
    result.tables.append(report.comparison("Milliseconds per request, all clients", result.cases))
    result.tables.append(Table("Requests on loopback", COLUMNS, rows, NOTES))
    return result


def _row(clients: str, one: Measured) -> list[str]:
    if one.seconds is None:
        return [clients, one.name, "failed", *["–"] * (len(COLUMNS) - 3)]

    def middle(name: str) -> str:
        return f"{report.number(median(answer[name] for answer in one.answers))} ms"

    def total(name: str) -> str:
        values: list[Any] = [answer[name] for answer in one.answers]
        return str(sum(values))

    return [
        clients,
        one.name,
        report.number(1 / one.seconds.median),
        *map(middle, ("p50_ms", "p99_ms", "server_cpu_ms")),
        *map(total, ("failed", "lost", "wrong")),
    ]
