"""A TCP proxy in front of a gateway. It can spoil the next answer, or forget idle connections."""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

# The header of a TLS record with application data of 64 bytes, which then do not decrypt.
_BROKEN_RECORD = b"\x17\x03\x03\x00\x40"


class TcpProxy:
    """Passes bytes both ways between clients and the gateway ``url``. It serves as a context manager."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = _Server((parts.hostname, parts.port))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        for end in self._server.ends:
            _shut_down(end)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._server.server_address[1]}"

    def spoil_next_answer(self) -> None:
        """Replace the next answer by bytes that TLS cannot decrypt, and close the connection."""
        self._server.spoil_next.set()

    def forget_connections(self) -> None:
        """From now on, lose each byte of the connections that are open now, as a firewall does."""
        self._server.forgotten |= self._server.ends

    @property
    def connections(self) -> int:
        """How many connections were made."""
        return self._server.count


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, gateway: tuple[str | None, int | None]) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.gateway = gateway
        self.spoil_next = threading.Event()
        self.ends: set[socket.socket] = set()
        self.forgotten: set[socket.socket] = set()
        self.count = 0


class _Connection(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        self.server.count += 1
        with socket.create_connection(self.server.gateway) as gateway:
            self.server.ends |= {gateway, self.request}
            answers = threading.Thread(target=self._pass_on, args=(gateway, self.request, True), daemon=True)
            answers.start()
            self._pass_on(self.request, gateway, False)
            answers.join()

    def _pass_on(self, source: socket.socket, sink: socket.socket, spoil: bool) -> None:
        """Copy bytes until one end closes, then shut both down, which ends the other direction too."""
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if spoil and self.server.spoil_next.is_set():
                    self.server.spoil_next.clear()
                    sink.sendall(_BROKEN_RECORD + os.urandom(64))
                    break
                if source not in self.server.forgotten:
                    sink.sendall(data)
        if source in self.server.forgotten and not spoil:
            # The gateway is not told that the client has closed a forgotten connection.
            return
        for end in (source, sink):
            _shut_down(end)


def _shut_down(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
