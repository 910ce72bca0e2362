"""Serving simulated systems over HTTPS, from a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import uvicorn

from csi_powerflex.simulator import certificates
from csi_powerflex.simulator.admin import Admin
from csi_powerflex.simulator.asgi import AdminApplication, Application, Protocol
from csi_powerflex.simulator.simulator import Simulator

_BACKLOG = 4096
_GRACE_SECONDS = 1
_CLOSING_SECONDS = 0.02
_TICK_SECONDS = 1


@dataclass(frozen=True, slots=True)
class ServeAddress:
    """Where systems are served: an IPv4 address of this machine, and names by which clients may call it.

    ``tls`` is a folder with tls.crt, tls.key and ca.crt to serve with, in place of an authority of the
    simulator's own.
    """

    address: str
    names: tuple[str, ...] = ()
    tls: Path | None = None

    @property
    def host(self) -> str:
        """What URLs name."""
        if self.names:
            return self.names[0]
        return "127.0.0.1" if self.address == "0.0.0.0" else self.address  # noqa: S104 - it is compared


LOOPBACK = ServeAddress("127.0.0.1")


class Server:
    """The HTTPS endpoints of a simulator and its admin port; a context manager.

    ``ports`` are those of the systems, in order; 0 and those not given are chosen by the kernel. ``place``
    says where the systems are served; the admin port, which asks for no password, is on loopback always.

    Raises:
        FileNotFoundError: a file of ``place.tls`` is missing.
        OSError: an address cannot be listened on.
    """

    def __init__(
        self,
        simulator: Simulator,
        ports: Sequence[int] = (),
        admin_port: int = 0,
        *,
        address: ServeAddress = LOOPBACK,
    ) -> None:
        self.simulator = simulator
        self.certificates = (
            certificates.ensure(simulator.folder / "tls", (address.host, *address.names))
            if address.tls is None
            else certificates.given(address.tls)
        )
        wanted = [*ports, *[0] * len(simulator.gateways)][: len(simulator.gateways)]
        self._sockets = _all_listening(
            [*((address.address, port) for port in wanted), (LOOPBACK.address, admin_port)]
        )
        self.urls = [f"https://{address.host}:{sock.getsockname()[1]}" for sock in self._sockets[:-1]]
        self.admin_url = f"http://127.0.0.1:{self._sockets[-1].getsockname()[1]}/_sim"
        configs = [self._config(Application(gateway)) for gateway in simulator.gateways]
        admin = Admin({gateway.array.system.name: gateway for gateway in simulator.gateways})
        configs.append(_config(AdminApplication(admin)))
        self._told = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._servers = [_Endpoint(config, self._told) for config in configs]
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
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself, as when an endpoint failed
                self._loop.call_soon_threadsafe(self._told.set)
        self._thread.join()
        for sock in self._sockets:
            sock.close()

    def _config(self, application: Application) -> uvicorn.Config:
        config = _config(application)
        config.ssl_certfile = str(self.certificates.server)
        config.ssl_keyfile = str(self.certificates.key)
        return config

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=_event_loop) as runner:
            self._loop = runner.get_loop()
            runner.run(self._serve())

    async def _serve(self) -> None:
        pairs = zip(self._servers, self._sockets, strict=True)
        await asyncio.gather(*(server.serve(sockets=[sock]) for server, sock in pairs))
        await self._cut_connections()

    async def _cut_connections(self) -> None:
        """End what the grace time did not: clients that hold a connection open or wait for a frozen answer.

        A loop that is closed with connections left warns of each, and where warnings are errors it hangs.
        """
        deadline = time.monotonic() + _GRACE_SECONDS
        while time.monotonic() < deadline:
            left = [connection for server in self._servers for connection in server.server_state.connections]
            for connection in left:
                if connection.transport is not None:
                    connection.transport.abort()
            await asyncio.sleep(_CLOSING_SECONDS)
            if not left:
                return


class _Endpoint(uvicorn.Server):
    """An endpoint that ends as soon as ``told`` is set; uvicorn looks ten times a second, and pauses."""

    def __init__(self, config: uvicorn.Config, told: asyncio.Event) -> None:
        super().__init__(config)
        self._told = told

    async def main_loop(self) -> None:
        """Serve, and renew the Date header each second."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), _TICK_SECONDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, and give those that are the grace time to be answered and to end."""
        for server in self.servers:
            server.close()
        for sock in sockets or []:
            sock.close()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        until = time.monotonic() + _GRACE_SECONDS
        while (state.connections or state.tasks) and time.monotonic() < until:
            await asyncio.sleep(_CLOSING_SECONDS)
        for task in state.tasks:
            task.cancel()


def _config(application: Application | AdminApplication) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http=Protocol,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        backlog=_BACKLOG,
    )


def _all_listening(addresses: Sequence[tuple[str, int]]) -> list[socket.socket]:
    """A listening socket for each address and port, or none at all."""
    with contextlib.ExitStack() as opened:
        sockets = [
            opened.enter_context(socket.create_server(address, backlog=_BACKLOG)) for address in addresses
        ]
        opened.pop_all()
    return sockets


def _event_loop() -> asyncio.AbstractEventLoop:
    import uvloop  # noqa: PLC0415 - a compiled part that only the server needs

    return uvloop.new_event_loop()
