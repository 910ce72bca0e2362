"""HTTPS connections with one deadline for all reads of an answer, which tell whether a request was sent.

The timeout of a socket limits a single read. So a gateway that sends one byte a second could block a call
without end. Here each read gets the time that is left until the deadline as its timeout.

After an error, a request that was not sent surely had no effect. The type of the error does not show that: a
TLS error, for example, may come from the handshake or from the answer.

Firewalls and load balancers forget idle connections, often without a word. So a connection that was idle for
some seconds is not used again, and the kernel ends one whose other end does not confirm what was sent.
"""

from __future__ import annotations

import contextlib
import contextvars
import http.client
import io
import math
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import requests
import requests.adapters
import urllib3


@dataclass(slots=True)
class Exchange:
    """One request and its answer.

    Attributes:
        deadline: a value of ``time.monotonic()``, at which every read ends.
        patience: seconds to wait for the first byte of the answer on an old connection; infinite for a
            request that cannot be repeated, which therefore gets no old connection.
        new_connection: whether a new connection must be made.
        old_connection: whether the connection in use was idle before.
        connected: whether this request made a TCP connection, so that only the TLS handshake was missing.
        sent: whether any part of the request may have been sent.
    """

    deadline: float
    patience: float
    new_connection: bool
    old_connection: bool = False
    connected: bool = False
    sent: bool = False

    def first_byte_deadline(self) -> float:
        """When the wait for the answer to begin ends, a value of ``time.monotonic()``."""
        soon = time.monotonic() + self.patience
        return min(self.deadline, soon) if self.old_connection else self.deadline


SHORTEST_SECONDS = 0.001
"""The shortest timeout of a socket. Zero would mean not to wait at all."""

IDLE_SECONDS = 3.0
"""A connection that was idle for longer is not used again."""

# A connection that was idle for longer may be forgotten by a firewall or load balancer.
_FRESH_SECONDS = 1.0
_VANISHED_SECONDS = 15
_SOCKET_OPTIONS = [
    *urllib3.connection.HTTPConnection.default_socket_options,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _VANISHED_SECONDS * 1000),
]

_exchange: contextvars.ContextVar[Exchange] = contextvars.ContextVar("exchange")


@contextlib.contextmanager
def exchange(
    deadline: float, *, patience: float = math.inf, new_connection: bool = False
) -> Iterator[Exchange]:
    """The block sends one request. The arguments are attributes of ``Exchange``."""
    token = _exchange.set(Exchange(deadline, patience, new_connection))
    try:
        yield _exchange.get()
    finally:
        _exchange.reset(token)


class DeadlineAdapter(requests.adapters.HTTPAdapter):
    """An adapter for the library requests that makes such connections. It is used without a Session.

    The library lets an adapter replace each step that depends on the request. What is the same for each
    request is done once for each endpoint here. Nothing comes from the environment: only a Session reads a
    proxy, a ``.netrc`` and ``REQUESTS_CA_BUNDLE``. Cookies are neither kept nor sent.

    Args:
        trust: the certificates that are trusted; None to verify nothing.
        options: as for ``requests.adapters.HTTPAdapter``.
    """

    def __init__(self, *, trust: ssl.SSLContext | None, **options: Any) -> None:
        self._trust = trust
        self._pools: dict[str, urllib3.HTTPConnectionPool] = {}
        super().__init__(**options)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """The library requests calls this to create its pools."""
        if self._trust is not None:
            options["ssl_context"] = self._trust
        options["cert_reqs"] = "CERT_NONE" if self._trust is None else "CERT_REQUIRED"
        options["socket_options"] = _SOCKET_OPTIONS
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"https": _Pool}

    def get_connection_with_tls_context(self, request: Any, *_: Any, **__: Any) -> Any:
        """The pool of the request's endpoint. How it verifies is a setting of the pool."""
        origin = origin_of(request.url)
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = self.poolmanager.connection_from_url(origin)
        return pool

    def cert_verify(self, *_: Any) -> None:
        """Nothing is left to do. The library's own way would also trust its own list of authorities."""

    def request_url(self, request: Any, *_: Any) -> str:
        """The part of the URL after the endpoint."""
        return str(request.url[len(origin_of(request.url)) :])

    def build_response(self, _request: Any, resp: Any) -> requests.Response:
        """The status and the answer of urllib3, which has the headers. Cookies are not taken from it."""
        response = requests.Response()
        response.status_code = resp.status
        response.raw = resp
        return response

    def close(self) -> None:
        """Close the idle connections. A later request makes new ones."""
        self._pools.clear()
        super().close()


def origin_of(url: str) -> str:
    """The scheme, host and port of a URL."""
    path = url.find("/", url.index("://") + 3)
    return url if path < 0 else url[:path]


class _Reader(io.RawIOBase):
    """The file of ``socket.makefile``. Each read has the time until the deadline as its timeout."""

    def __init__(self, sock: socket.socket, exchange: Exchange) -> None:
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)
        self._exchange = exchange
        self._deadline = exchange.first_byte_deadline()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline passed before the whole answer was read")
        self._sock.settimeout(left)
        count = self._file.readinto(buffer)
        self._deadline = self._exchange.deadline
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class _DeadlineSocket:
    """The part of a socket that ``http.client`` reads an answer from."""

    def __init__(self, sock: socket.socket, exchange: Exchange) -> None:
        self._sock = sock
        self._exchange = exchange

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._sock, self._exchange))


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        limited: Any = _DeadlineSocket(sock, _exchange.get())
        super().__init__(limited, *arguments, **options)


class _Connection(urllib3.connection.HTTPSConnection):
    response_class = _Response
    # When the last answer on it ended, a value of ``time.monotonic()``.
    idle_since = math.inf

    def _new_conn(self) -> socket.socket:
        """A TCP connection. The TLS handshake gets only what is left of the time to connect.

        The timeout of the socket limits the handshake as a whole, however slowly its parts arrive.
        """
        limit: Any = self.timeout
        until = time.monotonic() + float(limit)
        sock = super()._new_conn()
        _exchange.get().connected = True
        sock.settimeout(max(until - time.monotonic(), SHORTEST_SECONDS))
        return sock

    def request(self, *arguments: Any, **options: Any) -> None:
        """The pool calls this after it has connected and checked the certificate."""
        _exchange.get().sent = True
        super().request(*arguments, **options)


class _Pool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Connection

    def _get_conn(self, timeout: float | None = None) -> Any:
        """A connection for the exchange. A closed one connects again when it is used."""
        connection: Any = super()._get_conn(timeout)
        current = _exchange.get()
        idle = time.monotonic() - connection.idle_since
        # A request that cannot be repeated would wait for its answer until the deadline.
        usable = _FRESH_SECONDS if math.isinf(current.patience) else IDLE_SECONDS
        if current.new_connection or idle > usable:
            connection.close()
        current.old_connection = connection.sock is not None and idle > _FRESH_SECONDS
        return connection

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.idle_since = time.monotonic()
        super()._put_conn(conn)
