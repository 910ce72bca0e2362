"""HTTPS connections with one deadline for all reads of an answer, which tell whether a request was sent.

The timeout of a socket limits a single read. So a gateway that sends one byte a second could block a call
without end. Here each read gets the time that is left until the deadline as its timeout.

After an error, a request that was not sent surely had no effect. The type of the error does not show that: a
TLS error, for example, may come from the handshake or from the answer.
"""

from __future__ import annotations

import contextlib
import contextvars
import http.client
import io
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import requests.adapters
import urllib3

from csi_powerflex import tls


@dataclass(slots=True)
class Exchange:
    """One request and its answer.

    Attributes:
        deadline: a value of ``time.monotonic()``, at which every read ends.
        sent: whether any part of the request may have been sent.
    """

    deadline: float
    sent: bool = False


_exchange: contextvars.ContextVar[Exchange] = contextvars.ContextVar("exchange")


@contextlib.contextmanager
def exchange(deadline: float) -> Iterator[Exchange]:
    """The block sends one request. Its reads end at ``deadline``, a value of ``time.monotonic()``."""
    token = _exchange.set(Exchange(deadline))
    try:
        yield _exchange.get()
    finally:
        _exchange.reset(token)


class DeadlineAdapter(requests.adapters.HTTPAdapter):
    """An adapter for the library requests that makes such connections.

    Args:
        verify: whether the gateway's certificate is verified.
        options: as for ``requests.adapters.HTTPAdapter``.
    """

    def __init__(self, *, verify: bool, **options: Any) -> None:
        self._verify = verify
        super().__init__(**options)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """The library requests calls this to create its pools."""
        if self._verify:
            options["ssl_context"] = tls.context()
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"https": _Pool}


class _Reader(io.RawIOBase):
    """The file of ``socket.makefile``. Each read has the time until the deadline as its timeout."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline passed before the whole answer was read")
        self._sock.settimeout(left)
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class _DeadlineSocket:
    """The part of a socket that ``http.client`` reads an answer from."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._sock, self._deadline))


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        limited: Any = _DeadlineSocket(sock, _exchange.get().deadline)
        super().__init__(limited, *arguments, **options)


class _Connection(urllib3.connection.HTTPSConnection):
    response_class = _Response

    def request(self, *arguments: Any, **options: Any) -> None:
        """The pool calls this after it has connected and checked the certificate."""
        _exchange.get().sent = True
        super().request(*arguments, **options)


class _Pool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Connection
