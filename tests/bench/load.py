"""A load generator: many keep-alive TLS connections that repeat one request.

A connection is a short protocol class, so that the load generator needs little time of the machine that it
shares with the server.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from array import array
from dataclasses import dataclass, field
from typing import cast

_OPENED_AT_ONCE = 64
_PATIENCE_SECONDS = 30
_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length: "


@dataclass(frozen=True, slots=True)
class Target:
    """The server and the request. ``request`` is a complete HTTP/1.1 GET."""

    port: int
    context: ssl.SSLContext
    request: bytes


@dataclass(slots=True)
class Tally:
    """The result of one run. ``waits`` are the seconds until each answer."""

    connections: int
    opening_seconds: float = 0.0
    seconds: float = 0.0
    errors: int = 0
    waits: array[float] = field(default_factory=lambda: array("d"))
    going: bool = False

    @property
    def rate(self) -> float:
        """Answers with status 200 per second."""
        return len(self.waits) / self.seconds

    def wait_of(self, share: float) -> float:
        """The seconds within which this share of the answers arrived."""
        return sorted(self.waits)[int(share * (len(self.waits) - 1))]


class _Connection(asyncio.Protocol):
    """One connection, with at most one request under way."""

    def __init__(self, request: bytes, tally: Tally) -> None:
        self._request = request
        self._tally = tally
        self._buffer = b""
        self._asked = 0.0
        self._transport: asyncio.Transport
        self.idle = asyncio.Event()
        self.idle.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(
            "asyncio.Transport", transport
        )  # the interface is the same; the class of uvloop is no subclass

    def ask(self) -> None:
        self.idle.clear()
        self._asked = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(_END_OF_HEAD)
        if not found or len(body) < _length(head):
            return
        self._buffer = b""
        if head.startswith(b"HTTP/1.1 200 "):
            self._tally.waits.append(time.perf_counter() - self._asked)
        else:
            self._tally.errors += 1
        if self._tally.going:
            self.ask()
        else:
            self.idle.set()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it by position
        if not self.idle.is_set() or self._tally.going:
            self._tally.errors += 1
        self.idle.set()

    def close(self) -> None:
        self._transport.abort()


def _length(head: bytes) -> int:
    _, _, rest = head.lower().partition(_LENGTH)
    return int(rest.partition(b"\r\n")[0])


async def run(target: Target, connections: int, seconds: float) -> Tally:
    """Open ``connections``, send requests without pause for ``seconds``, and wait for the last answers.

    Errors are answers other than 200, and connections that could not be opened, were lost, or got no answer.
    """
    tally = Tally(connections)
    began = time.perf_counter()
    opened = await _opened(target, tally)
    tally.opening_seconds = time.perf_counter() - began
    began = time.perf_counter()
    tally.going = True
    for connection in opened:
        connection.ask()
    await asyncio.sleep(seconds)
    tally.going = False
    waiting = [asyncio.ensure_future(connection.idle.wait()) for connection in opened]
    _, unanswered = await asyncio.wait(waiting, timeout=_PATIENCE_SECONDS)
    tally.seconds = time.perf_counter() - began
    tally.errors += len(unanswered)
    for task in unanswered:
        task.cancel()
    for connection in opened:
        connection.idle.set()
        connection.close()
    return tally


async def _opened(target: Target, tally: Tally) -> list[_Connection]:
    loop = asyncio.get_running_loop()
    gate = asyncio.Semaphore(_OPENED_AT_ONCE)

    async def one() -> _Connection | None:
        async with gate:
            connection = _Connection(target.request, tally)
            try:
                await loop.create_connection(lambda: connection, "127.0.0.1", target.port, ssl=target.context)
            except OSError:
                tally.errors += 1
                return None
            return connection

    made = await asyncio.gather(*(one() for _ in range(tally.connections)))
    return [connection for connection in made if connection is not None]
