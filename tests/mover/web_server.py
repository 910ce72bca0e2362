"""A web server with HTTPS whose answers a test chooses."""

from __future__ import annotations

import contextlib
import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from csi_powerflex.mover.web import Server
from csi_powerflex.simulator import certificates


@dataclass
class Request:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


Answer = Callable[["_Handler"], None]


@dataclass
class WebServer:
    """The server, what was asked of it, and what it answers, by path."""

    port: int
    authority: Path
    scheme: str = "https"
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def url(self, path: str) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}{path}"

    def server(self, path: str, authorization: str = "") -> Server:
        """The server with a path, as the mover is given it."""
        return Server(self.url(path), self.authority.read_bytes(), authorization)

    def serve(self, path: str, content: bytes) -> Server:
        """Serve a file."""
        self.answers[path] = file_answer(content)
        return self.server(path)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: WebServer

    def do_GET(self) -> None:
        self._answer(b"")

    def do_PUT(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

    def _answer(self, body: bytes) -> None:
        self.served.requests.append(Request(self.command, self.path, dict(self.headers), body))
        answer = self.served.answers.get(self.path.partition("?")[0], status_answer(404))
        answer(self)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a test asks for ``requests``."""

    def send(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        """Send an answer as it is given."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):  # a client that refuses the answer closes the connection
            self.wfile.write(body)


def file_answer(content: bytes) -> Answer:
    """A whole file."""
    return lambda handler: handler.send(200, {"Content-Length": str(len(content))}, content)


def status_answer(status: int, headers: dict[str, str] | None = None) -> Answer:
    """A status without a body."""
    return lambda handler: handler.send(status, {"Content-Length": "0", **(headers or {})})


def broken_answer(content: bytes, length: int) -> Answer:
    """A file of ``length`` bytes whose connection breaks after ``content``."""

    def answer(handler: _Handler) -> None:
        handler.send(200, {"Content-Length": str(length), "Connection": "close"}, content)
        handler.close_connection = True

    return answer


def open_ended_answer(content: bytes) -> Answer:
    """A file whose end is the end of the connection."""

    def answer(handler: _Handler) -> None:
        handler.send(200, {"Connection": "close"}, content)
        handler.close_connection = True

    return answer


def chunked_answer(content: bytes, *, whole: bool) -> Answer:
    """A file in chunks of HTTP; without the last chunk if it is not whole."""

    def answer(handler: _Handler) -> None:
        end = b"0\r\n\r\n" if whole else b""
        body = f"{len(content):x}\r\n".encode() + content + b"\r\n" + end
        handler.send(200, {"Transfer-Encoding": "chunked", "Connection": "close"}, body)
        handler.close_connection = True

    return answer


@contextlib.contextmanager
def web_server(folder: Path, *, encrypted: bool = True) -> Iterator[WebServer]:
    """Serve on a free port of loopback until the block ends."""
    files = certificates.ensure(folder)
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    served = WebServer(listening.server_port, files.authority, "https" if encrypted else "http")
    listening.RequestHandlerClass = type("Handler", (_Handler,), {"served": served})
    if encrypted:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.server, files.key)
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()
