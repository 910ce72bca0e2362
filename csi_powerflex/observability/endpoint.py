"""Metrics and liveness over plain HTTP on their own port: ``/metrics`` and ``/healthz``.

``/healthz`` answers with status 200 while the process lives, and names the background tasks that fail.
"""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import prometheus_client

from csi_powerflex import units
from csi_powerflex.errors import FailedPrecondition, InvalidArgument
from csi_powerflex.observability import tasks
from csi_powerflex.observability.log import Log

log = Log(__name__)

# The Server header of every answer. By default it would tell the version of Python.
_SERVER = "csi-powerflex"


def address(text: str) -> tuple[str, int]:
    """The host and port of ``HOST:PORT`` or ``:PORT``.

    Raises:
        InvalidArgument: ``text`` has another form.
    """
    host, _, end = text.rpartition(":")
    port = units.whole_number(end, digits=5)
    if port is None or port >= 65536:
        raise InvalidArgument(f"the metrics address must be HOST:PORT or :PORT, not {text!r}")
    return host.strip("[]") or "0.0.0.0", port  # noqa: S104 - without a host, every address of the pod is meant


@contextlib.contextmanager
def serving(text: str | None) -> Iterator[int | None]:
    """Serve on the address ``text`` inside the block, and yield the port. Where ``text`` is None, do nothing.

    Raises:
        InvalidArgument, FailedPrecondition: the address cannot be served on.
    """
    if text is None:
        yield None
        return
    host, port = address(text)
    try:
        server = make_server(host, port, _application(), _Server, _Handler)
    except OSError as error:
        raise FailedPrecondition(f"cannot serve metrics on {text}: {error.strerror}") from error
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="metrics", daemon=True)
    thread.start()
    log.info("metrics served", host=host, port=server.server_port)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """Answers several requests at a time, and does not wait for them when it ends."""

    daemon_threads = True


class _Handler(WSGIRequestHandler):
    """Logs requests for debugging only: Prometheus sends one every few seconds."""

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("metrics requested", message=format % args)

    def version_string(self) -> str:
        return _SERVER


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
