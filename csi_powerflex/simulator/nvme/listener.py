"""Listeners: a socket that accepts the connections of hosts at one address and port."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

log = logging.getLogger(__name__)

_BACKLOG = 128
_PAUSE_SECONDS = 0.1


class Served(Protocol):
    """A connection that a listener has accepted."""

    def run(self) -> None:
        """Serve it until it ends."""

    def close(self) -> None:
        """End it."""


Serve = Callable[[socket.socket], Served]


@dataclass(frozen=True, slots=True)
class Address:
    """An IPv4 or IPv6 address, and a TCP port."""

    ip: str
    port: int

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


def listen(address: Address) -> socket.socket:
    """A listening socket. The kernel chooses the port for 0.

    Raises:
        OSError: this machine does not have the address, or the port is in use.
    """
    family = socket.AF_INET6 if ":" in address.ip else socket.AF_INET
    return socket.create_server((address.ip, address.port), family=family, backlog=_BACKLOG)


class Listener:
    """Accepts connections on ``sock``. Each one has its own thread; more than ``most`` are closed at once."""

    def __init__(self, sock: socket.socket, serve: Serve, *, most: int) -> None:
        self._socket = sock
        self._serve = serve
        self._most = most
        self._lock = threading.Lock()
        self._connections: dict[Served, threading.Thread] = {}
        self._closed = threading.Event()
        name = f"nvme-{sock.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, name=name, daemon=True)
        self._thread.start()

    def close(self) -> list[threading.Thread]:
        """Stop to listen, and end all connections. Returns the threads, which end soon."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with self._lock:
            connections = dict(self._connections)
        for connection in connections:
            connection.close()
        return [self._thread, *connections.values()]

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                sock, _ = self._socket.accept()
            except OSError as error:
                if self._closed.is_set():
                    return
                log.warning("cannot accept a connection: %s", error)
                self._closed.wait(_PAUSE_SECONDS)
                continue
            try:
                self._start(sock)
            except (OSError, RuntimeError) as error:  # the host has left already; or no more threads
                log.warning("a connection was not accepted: %s", error)
                sock.close()

    def _start(self, sock: socket.socket) -> None:
        connection = self._serve(sock)
        thread = threading.Thread(target=self._run, args=(connection,), name="nvme-connection", daemon=True)
        with self._lock:
            refused = self._closed.is_set() or len(self._connections) >= self._most
            if not refused:
                self._connections[connection] = thread
        if refused:
            sock.close()
            return
        try:
            thread.start()
        except RuntimeError:
            self._forget(connection)
            raise

    def _run(self, connection: Served) -> None:
        try:
            connection.run()
        finally:
            self._forget(connection)

    def _forget(self, connection: Served) -> None:
        with self._lock:
            self._connections.pop(connection, None)
