"""The HTTPS server of simulated systems. It runs in its own thread."""

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
    """Where systems are served: an IPv4 address of this machine, and the host names that clients use for it.

    ``tls`` is a folder with tls.crt, tls.key and ca.crt. Without it, the simulator makes its own
    certificates.
    """

    address: str
    names: tuple[str, ...] = ()
    tls: Path | None = None

    @property
    def host(self) -> str:
        """The host in URLs."""
        if self.names:
            return self.names[0]
        return "127.0.0.1" if self.address == "0.0.0.0" else self.address  # noqa: S104 - it is compared


LOOPBACK = ServeAddress("127.0.0.1")


class Server:
    """The HTTPS endpoints of a simulator and its admin port. Use it as a context manager.

    ``ports`` are the ports of the systems, in order. The kernel chooses a free port for 0 and for a missing
    one. The admin port needs no password, so it is always on loopback.

    Raises:
        FileNotFoundError: a file of ``address.tls`` is missing.
        OSError: the server cannot listen on an address.
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
        self._sockets = _listen(
            [*((address.address, port) for port in wanted), (LOOPBACK.address, admin_port)]
        )
        self.urls = [f"https://{address.host}:{sock.getsockname()[1]}" for sock in self._sockets[:-1]]
        self.admin_url = f"http://127.0.0.1:{self._sockets[-1].getsockname()[1]}/_sim"
        configs = [self._config(Application(gateway)) for gateway in simulator.gateways]
        admin = Admin({gateway.array.system.name: gateway for gateway in simulator.gateways})
        configs.append(_config(AdminApplication(admin)))
        self._stop_requested = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._servers = [_Endpoint(config, self._stop_requested) for config in configs]
        self._thread = threading.Thread(target=self._run, name="gateway", daemon=True)

    @property
    def url(self) -> str:
        """The address of the first system."""
        return self.urls[0]

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start to serve. Clients can connect as soon as this returns."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the server and wait until it has stopped."""
        for server in self._servers:
            server.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has already ended, because an endpoint failed
                self._loop.call_soon_threadsafe(self._stop_requested.set)
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
        policies = asyncio.create_task(self._follow_policies())
        try:
            await asyncio.gather(*(server.serve(sockets=[sock]) for server, sock in pairs))
        finally:
            policies.cancel()
        await self._break_connections()

    async def _follow_policies(self) -> None:
        """Let snapshot policies run also while there are no requests."""
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            for gateway in self.simulator.gateways:
                await asyncio.to_thread(gateway.catch_up)

    async def _break_connections(self) -> None:
        """Break the connections that are left after the grace time, such as those of frozen requests.

        A loop that closes with open connections warns about each of them. Where warnings are errors, it
        hangs.
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
    """An endpoint that ends as soon as ``stop_requested`` is set. uvicorn itself polls ten times a second."""

    def __init__(self, config: uvicorn.Config, stop_requested: asyncio.Event) -> None:
        super().__init__(config)
        self._stop_requested = stop_requested

    async def main_loop(self) -> None:
        """Serve until stopped. Each tick renews the Date header."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop_requested.wait(), _TICK_SECONDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more connections, and give the existing ones the grace time to end."""
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
        # Each system shows its own time.
        date_header=isinstance(application, AdminApplication),
        timeout_keep_alive=75,
        backlog=_BACKLOG,
    )


def _listen(addresses: Sequence[tuple[str, int]]) -> list[socket.socket]:
    """One listening socket for each address and port. If one fails, all are closed."""
    with contextlib.ExitStack() as opened:
        sockets = [
            opened.enter_context(socket.create_server(address, backlog=_BACKLOG)) for address in addresses
        ]
        opened.pop_all()
    return sockets


def _event_loop() -> asyncio.AbstractEventLoop:
    import uvloop  # noqa: PLC0415 - compiled, and only the server needs it

    return uvloop.new_event_loop()
