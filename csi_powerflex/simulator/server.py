"""Serving simulated systems over HTTPS on loopback, from a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Sequence
from types import TracebackType

import uvicorn

from csi_powerflex.simulator import certificates
from csi_powerflex.simulator.asgi import Application
from csi_powerflex.simulator.simulator import Simulator

_BACKLOG = 4096
_GRACE_SECONDS = 1


class Server:
    """The HTTPS endpoints of a simulator; a context manager. ``ports`` 0 are chosen by the kernel."""

    def __init__(self, simulator: Simulator, ports: Sequence[int] = (0,)) -> None:
        self.simulator = simulator
        self.certificates = certificates.ensure(simulator.folder / "tls")
        wanted = [*ports, *[0] * len(simulator.gateways)]
        self._sockets = [_listening(wanted[number]) for number in range(len(simulator.gateways))]
        self.urls = [f"https://127.0.0.1:{sock.getsockname()[1]}" for sock in self._sockets]
        self._servers = [uvicorn.Server(self._config(Application(gateway))) for gateway in simulator.gateways]
        self._thread = threading.Thread(target=self._run, name="gateway", daemon=True)

    @property
    def url(self) -> str:
        """The address of the first system."""
        return self.urls[0]

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to serve; connections are accepted from before this returns."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and wait for it."""
        for server in self._servers:
            server.should_exit = True
        self._thread.join()
        for sock in self._sockets:
            sock.close()

    def _config(self, application: Application) -> uvicorn.Config:
        return uvicorn.Config(
            application,
            ssl_certfile=self.certificates.server,
            ssl_keyfile=self.certificates.key,
            http="httptools",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            backlog=_BACKLOG,
        )

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        await asyncio.gather(
            *(server.serve(sockets=[sock]) for server, sock in zip(self._servers, self._sockets, strict=True))
        )


def _event_loop() -> asyncio.AbstractEventLoop:
    import uvloop  # noqa: PLC0415 - a compiled part that only the server needs

    return uvloop.new_event_loop()


def _listening(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(_BACKLOG)
    return sock
