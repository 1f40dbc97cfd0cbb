"""Clients of a server over HTTP/1.1, many in one process and cheap: asyncio and raw sockets."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Load:
    """What clients have seen.

    Attributes:
        seconds: Of every answered request.
        answers: The best answer by source; more than one if they differ.
        failures: Requests without an answer, by what came instead.
    """

    seconds: list[float] = field(default_factory=list)
    answers: dict[str, set[str]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


async def post(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, body: Any
) -> tuple[int, bytes]:
    """Sends a request on an open connection, and returns the status and the body."""
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    writer.write(head.encode() + content)
    lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
    length = next(line for line in lines if line.startswith(b"content-length:"))
    return int(lines[0].split()[1]), await reader.readexactly(int(length.split(b":")[1]))


async def _client(port: int, sources: Sequence[str], load: Load) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for source in sources:
        began = time.perf_counter()
        status, body = await post(reader, writer, "/v1/decode", {"sources": [source]})
        load.seconds.append(time.perf_counter() - began)
        if status == 200:
            [answer] = json.loads(body)["answers"]
            load.answers.setdefault(source, set()).add(answer["predictions"][0]["text"])
        else:
            load.failures.append(str(status))
    writer.close()


def run_clients(port: int, clients: int, requests: int, sources: Sequence[str]) -> Load:
    """Lets clients send requests of one source each, one after the other, at the same time."""
    load = Load()

    async def all_clients() -> None:
        await asyncio.gather(
            *(
                _client(
                    port,
                    [sources[(n * requests + i) % len(sources)] for i in range(requests)],
                    load,
                )
                for n in range(clients)
            )
        )

    asyncio.run(all_clients())
    return load
