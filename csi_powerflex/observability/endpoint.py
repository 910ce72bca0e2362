"""Metrics and liveness over plain HTTP, on a port of their own: ``/metrics`` and ``/healthz``.

The log's level changes with a signal: SIGUSR1 turns debug lines on, and off again.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import prometheus_client

from csi_powerflex import units
from csi_powerflex.errors import FailedPrecondition, InvalidArgument
from csi_powerflex.observability.log import Log

log = Log(__name__)

_DRIVER = "csi_powerflex"


def address(text: str) -> tuple[str, int]:
    """``HOST:PORT`` or ``:PORT`` as host and port.

    Raises:
        InvalidArgument: it is neither.
    """
    host, _, end = text.rpartition(":")
    port = units.whole_number(end, digits=5)
    if port is None or port >= 65536:
        raise InvalidArgument(f"the metrics address must be HOST:PORT or :PORT, not {text!r}")
    return host.strip("[]") or "0.0.0.0", port  # noqa: S104 - inside a pod, every address is meant


@contextlib.contextmanager
def serving(text: str | None) -> Iterator[int | None]:
    """Serve on ``text`` (see ``address``) for the block, which gets the port; nothing where it is None.

    Raises:
        InvalidArgument, FailedPrecondition: the address cannot be served on.
    """
    if text is None:
        yield None
        return
    host, port = address(text)
    try:
        server = make_server(host, port, _application(), _Server, _Quiet)
    except OSError as error:
        raise FailedPrecondition(f"cannot serve metrics on {text}: {error.strerror}") from error
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="metrics", daemon=True)
    thread.start()
    log.info("serving metrics", host=host, port=server.server_port)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def toggle_debug_by_signal() -> None:
    """Let SIGUSR1 switch between the present log level and debug. Only for the main thread."""
    logger = logging.getLogger(_DRIVER)
    usual = logger.level

    def toggle(_number: int, _frame: FrameType | None) -> None:
        logger.setLevel(usual if logger.level == logging.DEBUG else logging.DEBUG)
        log.warning("log level changed", level=logging.getLevelName(logger.level).lower())

    signal.signal(signal.SIGUSR1, toggle)


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """Scrapes do not wait for each other, and none holds up the end."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    """A scrape every few seconds is no news."""

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("metrics asked", request=format % args)


_Start = Callable[..., Any]


def _application() -> Callable[[dict[str, Any], _Start], Iterable[bytes]]:
    metrics: Callable[..., Iterable[bytes]] = prometheus_client.make_wsgi_app()

    def application(environ: dict[str, Any], start: _Start) -> Iterable[bytes]:
        path = environ.get("PATH_INFO")
        if path == "/metrics":
            return metrics(environ, start)
        known = path == "/healthz"
        start("200 OK" if known else "404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"ok\n" if known else b"there are /metrics and /healthz\n"]

    return application
