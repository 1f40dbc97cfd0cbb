"""The outermost ASGI layer: limits on bodies and clients, headers, metrics, and the last resort.

What it lets through has a whole body of limited size.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from seq2seq.config.commands import ServeConfig
from seq2seq.deploy.server.served import RefusedError
from seq2seq.deploy.server.service import RETRY_AFTER, Service

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# Many clients read no response before they have sent all. So much of a body that is too long is
# read and dropped.
_DROPPED = 8  # times the limit
_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]


LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class ClientGoneError(Exception):
    """The client has closed the connection."""


class Guard:
    """An application around another one."""

    def __init__(
        self, app: App, service: Service, config: ServeConfig, paths: frozenset[str]
    ) -> None:
        """Wraps `app`; metrics name the given `paths`, and call all others `other`."""
        self._app, self._service, self._limits, self._paths = app, service, config.limits, paths
        self._hosts = _own_hosts(config)
        self._clients: Counter[str] = Counter()  # requests in flight by address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        metrics, began = self._service.metrics, time.monotonic()
        path = scope["path"] if scope["path"] in self._paths else "other"
        client = (scope.get("client") or ("",))[0]
        response = _Response(send, self._service)
        self._clients[client] += 1
        metrics.in_flight.inc()
        try:
            await self._answer(scope, receive, response, client)
        except ClientGoneError:
            response.status = response.status or 499
        except asyncio.CancelledError:
            self._service.given_up += 1
            raise
        finally:
            metrics.in_flight.dec()
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]
            metrics.requests.labels(path, str(response.status)).inc()
            metrics.request_seconds.labels(path).observe(time.monotonic() - began)

    async def _answer(
        self, scope: Scope, receive: Receive, response: _Response, client: str
    ) -> None:
        try:
            self._check_host(dict(scope["headers"]))
            body = await self._read(scope, receive)
            if self._clients[client] > self._limits.client_requests:
                raise RefusedError(429, "too many requests of this client at a time", RETRY_AFTER)
            await self._app(scope, _replay(body, receive), response.send)
        except RefusedError as refused:
            await refuse(response.send, refused)
        except ClientGoneError:
            raise
        except Exception:
            log.exception("a request could not be answered")
            if not response.status:
                await refuse(response.send, RefusedError(500, "an error of the server"))

    def _check_host(self, headers: Mapping[bytes, bytes]) -> None:
        """Refuses requests to another name.

        A page from anywhere could let its own name lead to this machine (DNS rebinding), and read
        the answers of a server that only this machine should reach.
        """
        host = headers.get(b"host", b"").decode("latin-1").lower()
        # An IPv6 address stands in brackets, with or without a port behind them.
        name = host[1:].split("]")[0] if host.startswith("[") else host.rsplit(":", 1)[0]
        if self._hosts is not None and name not in self._hosts:
            raise RefusedError(421, "this server has another name; see its setting hosts")

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        """Returns the body.

        Raises:
            RefusedError: It is too long, too slow, or not JSON.
            ClientGoneError: It did not end.
        """
        limit, headers = self._limits.body_bytes, dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if int(length) > _DROPPED * limit if length.isdigit() else False:
            raise RefusedError(413, f"the body has more than {limit} bytes")
        size, parts = 0, []
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGoneError
                    part = message.get("body", b"")
                    size += len(part)
                    if size <= limit:
                        parts.append(part)
                    if not message.get("more_body", False) or size > _DROPPED * limit:
                        break
        except TimeoutError:
            raise RefusedError(
                408, f"the body did not arrive within {self._limits.body_seconds:g} s"
            ) from None
        if size > limit:
            raise RefusedError(413, f"the body has more than {limit} bytes")
        kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if size and kind != b"application/json":
            raise RefusedError(415, "the content-type must be application/json")
        return b"".join(parts)


def _own_hosts(config: ServeConfig) -> frozenset[str] | None:
    """Returns the names by which clients may call the server; None: by any."""
    if config.hosts is not None:
        return frozenset(str(name).lower() for name in config.hosts)
    return LOOPBACK | {config.host.lower()} if _is_loopback(config.host) else None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class _Response:
    """A response on its way, with the headers that all have.

    Attributes:
        status: 0 before it begins.
    """

    def __init__(self, send: Send, service: Service) -> None:
        self._send, self._service = send, service
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", []), *_HEADERS]
            # A body that was not read to its end would be taken for the next request.
            if self._service.is_stopping or self.status in (408, 413):
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        await self._send(message)


async def refuse(send: Send, refused: RefusedError) -> None:
    """Sends a refusal."""
    body = json.dumps({"error": str(refused)}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if refused.retry_after is not None:
        headers.append((b"retry-after", str(refused.retry_after).encode()))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _replay(body: bytes, receive: Receive) -> Receive:
    """Returns a `receive` that has the whole body first."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
