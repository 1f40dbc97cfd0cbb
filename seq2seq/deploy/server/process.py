"""The process of a server: its socket, its connections, and its end after a signal."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from seq2seq.config.commands import LimitsConfig, ServeConfig
from seq2seq.deploy.server.guard import Guard
from seq2seq.deploy.server.service import Service
from seq2seq.errors import UserError

log = logging.getLogger(__name__)

_DRAIN = 0.3  # seconds in which clients learn that their connections close
_KEEP_ALIVE = 15  # seconds
_MAX_HEAD = 2**16  # bytes of a request outside its body


def bind(host: str, port: int) -> socket.socket:
    """Returns a socket at the address, which accepts no connections yet.

    Raises:
        UserError: The address cannot be used.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        # Another server that is still loading may have bound it, too.
        found.listen(2048)
    except OSError as error:
        raise UserError(
            f"host={host} port={port} cannot be used: {error.strerror or error}"
        ) from error
    except (UnicodeError, OverflowError) as error:
        raise UserError(f"host={host} is not an address") from error
    return found


def address(found: socket.socket) -> str:
    """Returns the address of a socket as a link."""
    host, port = found.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(app: Guard, service: Service, config: ServeConfig, found: socket.socket) -> int | None:
    """Serves until a signal asks to stop, and returns its number.

    Raises:
        ExceptionGroup: A model cannot be prepared.
    """
    server = Server(app, service, config)
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(server.serve_and_answer(found))
    return server.signal


class Server(uvicorn.Server):
    """Uvicorn with limits for slow clients, and an end that loses no request.

    Attributes:
        signal: The first signal that asked to stop; None before.
    """

    def __init__(self, app: Guard, service: Service, config: ServeConfig) -> None:
        """Prepares a server of an application; nothing is accepted yet."""
        limits = config.limits

        def protocol(**arguments: Any) -> asyncio.Protocol:
            return Connection(limits, **arguments)

        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,  # type: ignore[arg-type]
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=config.trusted_proxies is not None,
                forwarded_allow_ips=config.trusted_proxies,
                timeout_keep_alive=_KEEP_ALIVE,
                timeout_graceful_shutdown=max(1, round(limits.stop_seconds)),
            )
        )
        self._service = service
        self.signal: int | None = None

    async def serve_and_answer(self, found: socket.socket) -> None:
        """Serves at a socket, while the service answers."""
        self._socket = found
        answering = asyncio.create_task(self._service.run())
        answering.add_done_callback(self._end_with)
        try:
            await self.serve(sockets=[found])
        finally:
            answering.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await answering

    def _end_with(self, answering: asyncio.Task[None]) -> None:
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Records the first signal; the second one ends the process."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # Under nohup.
            numbers.remove(signal.SIGHUP)

        def stop(number: int, frame: FrameType | None) -> None:
            if self.signal is None:  # Two may arrive at once.
                self.signal = number
            self._service.is_stopping = True
            for one in numbers:
                signal.signal(one, signal.SIG_DFL)

        before = {number: signal.signal(number, stop) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def on_tick(self, counter: int) -> bool:
        """Tells, ten times a second, whether to stop."""
        if self.signal is not None and not self.should_exit:
            # Responses now close their connections. A client that is about to send its next request
            # finds this one closed, rather than a request that is lost.
            await asyncio.sleep(_DRAIN)
            # Connections that wait to be accepted are reset when the socket closes. So no new ones
            # are let in, and those that wait are accepted first.
            self._socket.listen(0)
            await asyncio.sleep(_DRAIN)
            self.should_exit = True
        return await super().on_tick(counter)


class Connection(HttpToolsProtocol):
    """A connection that is closed if its client is too slow, or if there are too many.

    It is also closed if a head, or a line between the parts of a body, is too long. The parser has
    no limit, and appends what comes to what it has: a time quadratic in the length.
    """

    def __init__(self, limits: LimitsConfig, **arguments: Any) -> None:
        """Takes the limits, and what uvicorn gives."""
        super().__init__(**arguments)
        self._limits = limits
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._unparsed = 0  # bytes since a head, a part of a body or a request was whole

    def connection_made(self, transport: Any) -> None:
        """Begins to wait for a request."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            transport.abort()
        else:
            self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Ends the wait once the head of a request is whole."""
        self._unparsed += len(data)
        super().data_received(data)  # makes it 0 if something becomes whole
        if self._unparsed > _MAX_HEAD:
            self.transport.abort()
        elif self.cycle is not None and not self.cycle.response_complete:
            self._stop_reading()
        else:
            self._expect_head()

    def on_headers_complete(self) -> None:
        """Starts the request."""
        self._unparsed = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Takes a part of a body."""
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Ends the request."""
        self._unparsed = 0
        super().on_message_complete()

    def _expect_head(self) -> None:
        if self._reading is None:
            seconds = self._limits.header_seconds
            self._reading = self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        self._reading = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()

    def pause_writing(self) -> None:
        """Begins to wait for the client to take what is written."""
        super().pause_writing()
        self._writing = self.loop.call_later(self._limits.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Ends the wait."""
        super().resume_writing()
        self._stop_writing()

    def shutdown(self) -> None:
        """Closes the connection after its response; an idle one a little later.

        Its next request may be on its way.
        """
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(_DRAIN, super().shutdown)
        else:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clocks."""
        self._stop_reading()
        self._stop_writing()
        super().connection_lost(exc)

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _stop_writing(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
