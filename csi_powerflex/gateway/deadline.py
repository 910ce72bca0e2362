"""HTTPS connections whose every read ends at one deadline, however slowly the answer trickles.

A socket's timeout bounds a single read: a gateway that sends one byte a second, in headers or body, would
keep a call for ever. Here the time left is set anew before each read.
"""

from __future__ import annotations

import contextlib
import contextvars
import http.client
import io
import socket
import time
from collections.abc import Iterator
from typing import Any

import requests.adapters
import urllib3

from csi_powerflex import tls

_deadline: contextvars.ContextVar[float] = contextvars.ContextVar("deadline")


@contextlib.contextmanager
def of(deadline: float) -> Iterator[None]:
    """Let every read of the block's requests end at ``deadline``, a value of ``time.monotonic()``."""
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


class DeadlineAdapter(requests.adapters.HTTPAdapter):
    """An adapter of requests that makes such connections; ``verify``: whether certificates are."""

    def __init__(self, *, verify: bool, **options: Any) -> None:
        self._verify = verify
        super().__init__(**options)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Called by requests to make its pools."""
        if self._verify:
            options["ssl_context"] = tls.context()
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"https": _Pool}


class _Reader(io.RawIOBase):
    """What ``socket.makefile`` gives, with the time that is left as the timeout of each read."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline passed while the answer was read")
        self._sock.settimeout(left)
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Timed:
    """The part of a socket that ``http.client`` reads an answer from."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._sock, self._deadline))


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        timed: Any = _Timed(sock, _deadline.get())
        super().__init__(timed, *arguments, **options)


class _Connection(urllib3.connection.HTTPSConnection):
    response_class = _Response


class _Pool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Connection
