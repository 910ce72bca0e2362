"""Metrics and liveness over HTTP or HTTPS on their own port: ``/metrics`` and ``/healthz``.

``/healthz`` answers with status 200 while the process lives, and names the background tasks that fail.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import socketserver
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import prometheus_client

from csi_powerflex import units
from csi_powerflex.errors import FailedPrecondition, InvalidArgument
from csi_powerflex.observability import tasks
from csi_powerflex.observability.log import Log

log = Log(__name__)

# The Server header of every answer. By default it would tell the version of Python.
_SERVER = "csi-powerflex"

# Prometheus and the kubelet have one connection each, for some milliseconds.
_MAX_CONNECTIONS = 16
_CONNECTION_SECONDS = 10.0
# How long to wait for the end of a connection that was closed, before another one is closed.
_CLOSING_SECONDS = 0.2


def address(text: str) -> tuple[str, int]:
    """The host and port of ``HOST:PORT``, ``[IPV6]:PORT`` or ``:PORT``. Without a host, it is empty.

    Raises:
        InvalidArgument: ``text`` has another form.
    """
    host, _, end = text.rpartition(":")
    port = units.whole_number(end, digits=5)
    bracketed = host.startswith("[") and host.endswith("]")
    if port is None or port >= 65536 or (":" in host) != bracketed:
        raise InvalidArgument(f"the metrics address must be HOST:PORT, [IPV6]:PORT or :PORT, not {text!r}")
    return host[1:-1] if bracketed else host, port


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files of a certificate chain and of its private key without a passphrase, in PEM."""

    certificate: Path
    key: Path


@contextlib.contextmanager
def serving(text: str | None, tls: TlsFiles | None = None) -> Iterator[int | None]:
    """Serve on the address ``text`` inside the block, and yield the port. Where ``text`` is None, do nothing.

    Args:
        text: the address.
        tls: serve HTTPS with this certificate. The files are read again at a new connection if they have
            changed. While they cannot be used, the certificate that was read before stays in use.

    Raises:
        InvalidArgument, FailedPrecondition: the address cannot be served on, or the files cannot be used.
    """
    if text is None:
        yield None
        return
    host, port = address(text)
    certificate = _Certificate(tls) if tls is not None else None
    try:
        server = _server(host, port)
    except OSError as error:
        raise FailedPrecondition(f"cannot serve metrics on {text}: {error.strerror}") from error
    server.certificate = certificate
    server.set_app(_application())
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="metrics", daemon=True)
    thread.start()
    log.info("metrics served", host=host, port=server.server_port, tls=tls is not None)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _server(host: str, port: int) -> _Server:
    """A server that listens. Without a host, it listens on every address of IPv6 and IPv4.

    Raises:
        OSError: the address cannot be used.
    """
    if not host:
        try:
            return _Server(socket.AF_INET6, ("::", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise
            return _Server(socket.AF_INET, ("0.0.0.0", port))  # noqa: S104 - every address of the pod is meant
    family, _, _, _, found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return _Server(family, found)


class _Certificate:
    """The TLS context of a certificate, as its files have it now.

    Raises:
        FailedPrecondition: the files cannot be used.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._content = self._read()
        try:
            self._context = self._load()
        except (OSError, ValueError) as error:
            raise FailedPrecondition(
                f"cannot serve metrics: the certificate {files.certificate} with the key {files.key} cannot "
                f"be used: {_reason(error)}"
            ) from error

    def context(self) -> ssl.SSLContext:
        """The context for a new connection."""
        content = self._read()
        if content != self._content:
            self._content = content
            try:
                self._context = self._load()
            except (OSError, ValueError) as error:
                log.warning("metrics certificate not changed", reason=_reason(error))
            else:
                log.info("metrics certificate changed", file=str(self._files.certificate))
        return self._context

    def _read(self) -> tuple[bytes, bytes]:
        """The content of both files; empty where a file cannot be read."""
        try:
            return self._files.certificate.read_bytes(), self._files.key.read_bytes()
        except OSError:
            return b"", b""

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # With the empty passphrase a key that needs one is an error. Without it Python asks at the terminal.
        context.load_cert_chain(self._files.certificate, self._files.key, password="")
        return context


def _reason(error: OSError | ValueError) -> str:
    """What is wrong with a file of a certificate, without the words of Python's ssl module."""
    if isinstance(error, ssl.SSLError):
        return "they are no certificate and key in PEM, or do not belong together"
    if isinstance(error, OSError):
        return error.strerror or "cannot be read"
    return "the key has a passphrase"


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """Answers some requests at a time, each on its own connection. It does not wait for them when it ends.

    Anyone in the cluster's network may connect. So the number of connections and their time are limited. If
    there are too many, the oldest one is closed: a probe of the kubelet, which sends its request at once, is
    still answered while others hold connections open.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, family: socket.AddressFamily, found: tuple[Any, ...]) -> None:
        self.address_family = family
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(_MAX_CONNECTIONS)
        # Open connections, the oldest first, with the time at which they were accepted.
        self._open: dict[socket.socket, float] = {}
        self.certificate: _Certificate | None = None
        super().__init__(found, _Handler)

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection. The TLS handshake follows at its first read, in its own thread."""
        accepted, client = super().get_request()
        if self.certificate is None:
            return accepted, client
        context = self.certificate.context()
        return context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False), client

    def server_bind(self) -> None:
        """Bind without a question to DNS for the own name, which http.server would ask."""
        if self.address_family is socket.AF_INET6 and self.server_address[0] == "::":
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection, and close the oldest connection if there are too many."""
        while not self._slots.acquire(timeout=_CLOSING_SECONDS):
            self._shut_down(1)
        with self._lock:
            self._open[request] = time.monotonic()
            full = len(self._open) >= _MAX_CONNECTIONS
        super().process_request(request, client_address)
        if full:
            self._shut_down(1)

    def service_actions(self) -> None:
        """Close the connections whose time is over. The server's loop calls this several times a second."""
        now = time.monotonic()
        with self._lock:
            late = sum(now - began > _CONNECTION_SECONDS for began in self._open.values())
        self._shut_down(late)

    def _shut_down(self, count: int) -> None:
        """End the oldest connections. Their threads then close them."""
        with self._lock:
            for request in list(self._open)[:count]:
                with contextlib.suppress(OSError):
                    # Not the method of a TLS socket: it would let the thread write without encryption.
                    socket.socket.shutdown(request, socket.SHUT_RDWR)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection at its end."""
        with self._lock:
            known = self._open.pop(request, None) is not None
        super().shutdown_request(request)
        if known:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - signature of socketserver
        """A client that breaks its connection is no error of this process."""
        log.debug("metrics connection broke", client=str(client_address[0]), reason=sys.exception())


class _Handler(WSGIRequestHandler):
    """Logs requests for debugging only: Prometheus sends one every few seconds."""

    timeout = _CONNECTION_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("metrics requested", message=format % args)

    def version_string(self) -> str:
        return _SERVER

    def address_string(self) -> str:
        return str(self.client_address[0])


_Start = Callable[..., Any]


def _application() -> Callable[[dict[str, Any], _Start], Iterable[bytes]]:
    metrics: Callable[..., Iterable[bytes]] = prometheus_client.make_wsgi_app()

    def application(environ: dict[str, Any], start: _Start) -> Iterable[bytes]:
        def start_named(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            return start(status, [*headers, ("Server", _SERVER)], *error)

        path = environ.get("PATH_INFO")
        if path == "/metrics":
            return metrics(environ, start_named)
        known = path == "/healthz"
        plain = [("Content-Type", "text/plain; charset=utf-8")]
        start_named("200 OK" if known else "404 Not Found", plain)
        return [_health().encode() if known else b"there are /metrics and /healthz\n"]

    return application


def _health() -> str:
    """The process lives if it answers. A failing task is named only: it is repeated without a restart."""
    lines = [f"task {task} fails: {reason}" for task, reason in sorted(tasks.failing().items())]
    return "\n".join(["ok", *lines, ""])
