"""HTTPS to one API server: verified connections, a token, and answers that are read in parts.

It knows nothing of the objects of the API. It uses nothing of the environment, and follows no redirects.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import urllib3
import urllib3.connection
import urllib3.exceptions
import urllib3.util

from csi_powerflex import __version__, call_context, connection_errors, tls
from csi_powerflex.errors import (
    ConnectFailed,
    DeadlineExceeded,
    DriverError,
    FailedPrecondition,
    Unavailable,
)
from csi_powerflex.kube.config import ClusterConfig, Source

_CONNECT_SECONDS = 10.0
_AUTHORITY = "the cluster's certificate authority file"
_CHUNK_BYTES = 65536
# The operator has eight rounds at a time.
_POOL_SIZE = 10
# A server that vanished without a word is noticed after 60 s. A watch would wait for it until its own end.
_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)


class Http:
    """A pool of connections to one API server. Threads may share it.

    The files of the configuration are read again at each request, because Kubernetes replaces them: the token
    of a ServiceAccount about once an hour.

    Raises:
        FailedPrecondition: a file cannot be read, or has no usable certificate, key or token.
    """

    def __init__(self, config: ClusterConfig) -> None:
        self._config = config
        self._path = (urllib3.util.parse_url(config.server).path or "").rstrip("/")
        self._lock = threading.Lock()
        self._credentials = _Credentials.read(config)
        self._pool = _pool(config, self._credentials)
        # A token that cannot be used is an error now, not at the first request.
        self._headers()

    def close(self) -> None:
        """Close the idle connections."""
        self._pool.close()

    @contextlib.contextmanager
    def request(
        self,
        path: str,
        *,
        seconds: float,
        method: str = "GET",
        body: bytes | None = None,
        content_type: str = "application/json",
    ) -> Iterator[Response]:
        """The response to a request of ``path``, for the block.

        Args:
            path: the path and the query.
            method: the HTTP method.
            body: JSON to send; None for a request without a body.
            content_type: what the body is.
            seconds: the most that the response and each further part of it may take, within the time of the
                current call.

        Raises:
            ConnectFailed: there is no connection, or the server's certificate is not trusted.
            FailedPrecondition: a file of the configuration cannot be used.
            Unavailable, DeadlineExceeded: there is no response, or none in time.
        """
        read = call_context.remaining(seconds)
        until = time.monotonic() + read
        more = {"Content-Type": content_type} if body is not None else {}
        try:
            response = self._current_pool().request(
                method,
                f"{self._path}{path}",
                body=body,
                headers=self._headers() | more,
                timeout=urllib3.Timeout(connect=min(read, _CONNECT_SECONDS), read=read),
                preload_content=False,
                redirect=False,
                retries=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _failure(error) from error
        try:
            yield Response(response, until)
        finally:
            response.close()
            response.release_conn()

    def _current_pool(self) -> urllib3.HTTPSConnectionPool:
        """Connections with the certificates that the files have now."""
        credentials = _Credentials.read(self._config)
        with self._lock:
            if credentials != self._credentials:
                # Requests under way keep their connections of the old pool.
                self._pool.close()
                self._pool = _pool(self._config, credentials)
                self._credentials = credentials
            return self._pool

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": f"csi-powerflex/{__version__}"}
        token = _content(self._config.token).strip()
        if not token:
            return headers
        if not all(0x20 < byte < 0x7F for byte in token):
            raise FailedPrecondition(
                "cannot reach Kubernetes: the token has characters that no token can have"
            )
        return {**headers, "Authorization": f"Bearer {token.decode()}"}


class Response:
    """A response whose body is not read yet."""

    def __init__(self, response: urllib3.BaseHTTPResponse, until: float) -> None:
        self._response = response
        self._until = until

    @property
    def status(self) -> int:
        """The HTTP status code."""
        return self._response.status

    def body(self, max_bytes: int) -> bytes:
        """The whole body.

        Raises:
            Unavailable: the connection broke, or the body is longer.
            DeadlineExceeded: it did not end in time, even if some of it kept arriving.
        """
        body = bytearray()
        for chunk in self._chunks():
            body += chunk
            if len(body) > max_bytes:
                raise Unavailable(f"the Kubernetes API sent more than {max_bytes} bytes")
            if time.monotonic() > self._until:
                raise DeadlineExceeded("the answer of the Kubernetes API did not end in time")
        return bytes(body)

    def discard(self, max_bytes: int) -> None:
        """Read the body and forget it, so that the connection can be used again. It never raises.

        What the status has confirmed stays true if the body cannot be read. The connection is closed then.
        """
        with contextlib.suppress(DriverError):
            self.body(max_bytes)

    def lines(self, max_bytes: int) -> Iterator[bytes]:
        """The lines of the body as they arrive, without empty ones and without an incomplete last one.

        Raises:
            Unavailable: the connection broke, or a line is longer.
            DeadlineExceeded: no further part arrived in time.
        """
        line = bytearray()
        for chunk in self._chunks():
            *ended, rest = chunk.split(b"\n")
            for part in ended:
                line += part
                if line.strip():
                    yield bytes(line)
                line.clear()
            line += rest
            if len(line) > max_bytes:
                raise Unavailable(f"the Kubernetes API sent a line of more than {max_bytes} bytes")

    def interrupt(self) -> None:
        """End the reading of the body in another thread, which gets Unavailable or the end of the body."""
        # Each of these: the body has already ended.
        with contextlib.suppress(RuntimeError, ValueError, OSError):
            self._response.shutdown()

    def _chunks(self) -> Iterator[bytes]:
        while True:
            try:
                chunk = self._response.read1(_CHUNK_BYTES)
            # A ValueError comes from a socket that another thread has shut down.
            except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                raise _failure(error) from error
            if not chunk:
                return
            yield chunk


@dataclass(frozen=True, slots=True, repr=False)
class _Credentials:
    """The content that a TLS context is made from. It is empty where nothing is configured."""

    authority: bytes
    certificate: bytes
    key: bytes

    @classmethod
    def read(cls, config: ClusterConfig) -> _Credentials:
        return cls(*(_content(source) for source in (config.authority, config.certificate, config.key)))

    def context(self) -> ssl.SSLContext:
        try:
            context = tls.trusting(self.authority or None)
            if self.certificate:
                _load_chain(context, self.certificate, self.key)
        except (ssl.SSLError, ValueError) as error:
            why = connection_errors.reason(error)
            raise FailedPrecondition(
                f"cannot reach Kubernetes: a certificate or key of the configuration cannot be used: {why}"
            ) from error
        return context


def tls_context(config: ClusterConfig) -> ssl.SSLContext:
    """How connections to the cluster are verified, with the files as they are now; for other HTTP clients.

    Raises:
        FailedPrecondition: a certificate or key cannot be used.
        OSError: a file cannot be read.
    """
    return _Credentials.read(config).context()


def _load_chain(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Use a client certificate. The ``ssl`` module takes only files, so this one is a file in memory."""
    with os.fdopen(os.memfd_create("client-certificate"), "wb") as file:
        file.write(certificate + b"\n" + key)
        file.flush()
        # With the empty passphrase a key that needs one is an error. Without it Python asks at the terminal.
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password="")


def _content(source: Source | None) -> bytes:
    if source is None:
        return b""
    if isinstance(source, bytes):
        return source
    try:
        return source.read_bytes()
    except OSError as error:
        raise FailedPrecondition(
            f"cannot reach Kubernetes: {source} cannot be read: {error.strerror}"
        ) from error


def _pool(config: ClusterConfig, credentials: _Credentials) -> urllib3.HTTPSConnectionPool:
    url = urllib3.util.parse_url(config.server)
    return urllib3.HTTPSConnectionPool(
        url.host or "",
        url.port,
        maxsize=_POOL_SIZE,
        ssl_context=credentials.context(),
        server_hostname=config.server_name,
        socket_options=[*urllib3.connection.HTTPConnection.default_socket_options, *_KEEPALIVE],
    )


def _failure(error: Exception) -> DriverError:
    """The error for a request without a response, or for a response that broke off."""
    match error:
        case (
            urllib3.exceptions.SSLError()
            | urllib3.exceptions.NewConnectionError()
            | urllib3.exceptions.LocationParseError()
        ):
            words = connection_errors.before_sending(error, _AUTHORITY)
            return ConnectFailed(f"no connection to the Kubernetes API: {words}")
        case urllib3.exceptions.ConnectTimeoutError():
            return ConnectFailed("no connection to the Kubernetes API in time")
        case urllib3.exceptions.ReadTimeoutError():
            return DeadlineExceeded("the Kubernetes API did not answer in time")
        case _:
            words = connection_errors.reason(error)
            return Unavailable(f"the connection to the Kubernetes API broke: {words}")
