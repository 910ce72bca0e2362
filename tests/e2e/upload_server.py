"""An HTTPS server outside of the cluster that takes files with PUT, as a store of images does."""

from __future__ import annotations

import contextlib
import hmac
import http.server
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.machine import CONTROL_ADDRESS
from tests.e2e.pki import Pair

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class UploadServer:
    """A server. What ``/NAME`` gets is in ``folder``/NAME.

    Attributes:
        url: without a path.
        token: what a client must give as bearer token.
        folder: the files.
    """

    url: str
    token: str
    folder: Path


@contextlib.contextmanager
def serving(folder: Path, pair: Pair, token: str) -> Iterator[UploadServer]:
    """A server at the address that pods can reach, with a certificate for it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            left = int(self.headers["Content-Length"])
            if not hmac.compare_digest(self.headers.get("Authorization", ""), f"Bearer {token}"):
                self.close_connection = True
                self.send_error(401)
                return
            with (folder / Path(self.path).name).open("wb") as file:
                while left and (data := self.rfile.read(min(left, _CHUNK))):
                    left -= len(data)
                    file.write(data)
            self.send_response(201)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with http.server.ThreadingHTTPServer((CONTROL_ADDRESS, 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield UploadServer(f"https://{CONTROL_ADDRESS}:{server.server_port}", token, folder)
        finally:
            server.shutdown()
            thread.join()
