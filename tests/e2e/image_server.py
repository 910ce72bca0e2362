"""An HTTPS server outside of the cluster that gives and takes files, as a store of images does."""

from __future__ import annotations

import contextlib
import hmac
import http.server
import shutil
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.machine import CONTROL_ADDRESS
from tests.e2e.pki import Pair

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class ImageServer:
    """A server. ``/NAME`` is ``folder``/NAME.

    Attributes:
        url: without a path.
        token: what a client must give as bearer token.
        folder: the files.
        given: the name of each file that was given, once for each time.
    """

    url: str
    token: str
    folder: Path
    given: list[str] = field(default_factory=list)


class _Handler(http.server.BaseHTTPRequestHandler):
    """One request. Its class has the files and the token."""

    protocol_version = "HTTP/1.1"
    of: ImageServer

    def do_PUT(self) -> None:
        left = int(self.headers["Content-Length"])
        if not self._is_known():
            return
        with self._file().open("wb") as file:
            while left and (data := self.rfile.read(min(left, _CHUNK))):
                left -= len(data)
                file.write(data)
        self._answer(201, 0)

    def do_GET(self) -> None:
        if not self._is_known():
            return
        path = self._file()
        self._answer(200, path.stat().st_size)
        with path.open("rb") as file:
            shutil.copyfileobj(file, self.wfile, _CHUNK)
        self.of.given.append(path.name)

    def _is_known(self) -> bool:
        known = hmac.compare_digest(self.headers.get("Authorization", ""), f"Bearer {self.of.token}")
        if not known:
            self.close_connection = True
            self.send_error(401)
        return known

    def _file(self) -> Path:
        return self.of.folder / Path(self.path).name

    def _answer(self, status: int, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def serving(folder: Path, pair: Pair, token: str) -> Iterator[ImageServer]:
    """A server at the address that pods can reach, with a certificate for it."""

    class Handler(_Handler):
        pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with http.server.ThreadingHTTPServer((CONTROL_ADDRESS, 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        Handler.of = ImageServer(f"https://{CONTROL_ADDRESS}:{server.server_port}", token, folder)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Handler.of
        finally:
            server.shutdown()
            thread.join()
