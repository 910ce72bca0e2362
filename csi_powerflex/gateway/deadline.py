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
        sent: whether any part of the request may have been sent.
    """

    deadline: float
    patience: float
    new_connection: bool
    old_connection: bool = False
    sent: bool = False

    def first_byte_deadline(self) -> float:
        """When the wait for the answer to begin ends, a value of ``time.monotonic()``."""
        soon = time.monotonic() + self.patience
        return min(self.deadline, soon) if self.old_connection else self.deadline


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
    """An adapter for the library requests that makes such connections.

    Args:
        trust: the certificates that are trusted; None to verify nothing.
        options: as for ``requests.adapters.HTTPAdapter``.
    """

    def __init__(self, *, trust: ssl.SSLContext | None, **options: Any) -> None:
        self._trust = trust
        super().__init__(**options)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """The library requests calls this to create its pools."""
        if self._trust is not None:
            options["ssl_context"] = self._trust
        options["socket_options"] = _SOCKET_OPTIONS
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"https": _Pool}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """The library requests calls this for each request. It would also trust its own list."""
        if self._trust is None:
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]  # in its stubs
        else:
            conn.cert_reqs = "CERT_REQUIRED"
            conn.ca_certs = conn.ca_cert_dir = None


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
