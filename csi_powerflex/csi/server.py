"""The gRPC server on its unix socket."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc

from csi_powerflex import call_context, stop_signals
from csi_powerflex.csi.interceptor import Interceptor
from csi_powerflex.csi.workers import Workers
from csi_powerflex.errors import FailedPrecondition, InvalidArgument
from csi_powerflex.observability.log import Log

log = Log(__name__)

WORKERS = 108
# Threads that calls which may wait cannot use, so that Probe and the capability calls are answered at once.
QUICK_WORKERS = 8
GRACE_SECONDS = 20.0
"""How long calls under way may continue after the signal to stop."""
# For the owner and the group only: a process that can open the socket can give orders to the driver.
_MODE = 0o660
# gRPC says only which variable of the environment would show more.
_NO_SOCKET = "no socket can be created there; check that the folder can be written to"
# Linux's limit for the path of a unix socket, without the zero byte at its end.
_MAX_PATH_BYTES = 107

Register = Callable[[grpc.Server], None]


def socket_path(endpoint: str) -> Path:
    """The path in a CSI endpoint: ``unix:///csi/csi.sock``, ``unix:/csi/csi.sock`` or a bare path.

    Raises:
        InvalidArgument: it has another form, or the path is too long.
    """
    path = (
        endpoint.removeprefix("unix://") if endpoint.startswith("unix://") else endpoint.removeprefix("unix:")
    )
    if not path.startswith("/"):
        raise InvalidArgument(
            "the CSI endpoint must be a unix socket with an absolute path, such as unix:///csi/csi.sock, not "
            f"{endpoint!r}"
        )
    if len(os.fsencode(path)) > _MAX_PATH_BYTES:
        raise InvalidArgument(
            f"the path of the CSI socket has {len(os.fsencode(path))} bytes, and Linux allows at "
            f"most {_MAX_PATH_BYTES}: {path}"
        )
    return Path(path)


def serve(
    endpoint: str,
    register: list[Register],
    while_serving: contextlib.AbstractContextManager[object] | None = None,
    *,
    grace_seconds: float = GRACE_SECONDS,
    slow_call_seconds: float = call_context.SLOW_CALL_SECONDS,
) -> None:
    """Serve on ``endpoint`` until SIGTERM or SIGINT.

    Only the main thread may call this, because of the signals. Any thread may use ``serving``.

    Args:
        endpoint: as for ``socket_path``.
        register: functions that add servicers to the server.
        while_serving: entered after the socket is served, and left before the socket is removed.
        grace_seconds: how long calls under way may continue after the signal. Then they are left behind.
        slow_call_seconds: as for ``Interceptor``.

    Raises:
        InvalidArgument: the endpoint is invalid.
        FailedPrecondition: there can be no socket at this path.
    """
    with (
        stop_signals.wait_for_signals(signal.SIGTERM, signal.SIGINT) as arrived,
        serving(endpoint, register, grace_seconds=grace_seconds, slow_call_seconds=slow_call_seconds),
        while_serving or contextlib.nullcontext(),
    ):
        log.info("stopping", signal=arrived().name, grace_seconds=grace_seconds)


@contextlib.contextmanager
def serving(
    endpoint: str,
    register: list[Register],
    *,
    grace_seconds: float = GRACE_SECONDS,
    slow_call_seconds: float = call_context.SLOW_CALL_SECONDS,
) -> Iterator[Path]:
    """Serve on ``endpoint`` during the block, which gets the path of the socket. Arguments as for ``serve``.

    A socket of a process that has ended is replaced. Only the owner and the group can open the new one. It is
    removed at the end (specification, "CSI_ENDPOINT"), unless another process has replaced it.

    Raises:
        InvalidArgument: the endpoint is invalid.
        FailedPrecondition: another process listens there, or there can be no socket at this path.
    """
    path = socket_path(endpoint)
    pool = Workers(WORKERS, "rpc")
    server = grpc.server(pool)  # type: ignore[arg-type]  # the stub names the standard pool; gRPC only calls submit
    interceptor = Interceptor(slow_slots=WORKERS - QUICK_WORKERS, slow_call_seconds=slow_call_seconds)
    add_servicers(server, interceptor, register)
    try:
        with _listening(server, path):
            server.start()
            log.info("serving", socket=path)
            try:
                yield path
            finally:
                _stop(server, pool, grace_seconds)
    finally:
        pool.shutdown(wait=False)


def add_servicers(server: grpc.Server, interceptor: Interceptor, register: Sequence[Register]) -> None:
    """Add servicers to ``server``, with ``interceptor`` around each of their methods.

    Raises:
        TypeError: as for ``Interceptor.wrap``.
    """
    for add in register:
        add(_Guarding(server, interceptor))  # type: ignore[arg-type]  # generated code calls only these two methods


class _Guarding:
    """Adds the handlers that generated code makes to a server, each of them wrapped."""

    def __init__(self, server: grpc.Server, interceptor: Interceptor) -> None:
        self._server = server
        self._interceptor = interceptor

    def add_generic_rpc_handlers(self, _handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Add nothing. Generated code also registers each method by its name, and gRPC asks those first."""

    def add_registered_method_handlers(
        self, service: str, handlers: dict[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        wrapped = {rpc: self._interceptor.wrap(service, rpc, handler) for rpc, handler in handlers.items()}
        self._server.add_registered_method_handlers(service, wrapped)


def _stop(server: grpc.Server, pool: Workers, grace_seconds: float) -> None:
    """Accept no more calls, and wait for those under way, at most ``grace_seconds``."""
    until = time.monotonic() + grace_seconds
    server.stop(grace_seconds).wait()
    if time.monotonic() >= until and (left := pool.busy()):
        log.warning("calls left behind, they did not end in time", calls=left, grace_seconds=grace_seconds)


@contextlib.contextmanager
def _listening(server: grpc.Server, path: Path) -> Iterator[None]:
    """Let ``server`` listen on a socket at ``path`` during the block.

    The socket is created under another name, gets its mode, and is renamed. So no process can open it with
    another mode. At the end, gRPC removes the file with the name that it knows. So it does not remove the
    socket of a new process that started before this one ended.
    """
    made = path.with_name(f".{secrets.token_hex(3)}")
    try:
        _require_usable(path)
        server.add_insecure_port(f"unix:{made}")
        made.chmod(_MODE)
        identity = _identity(made)
        made.rename(path)
    except (OSError, RuntimeError) as error:
        made.unlink(missing_ok=True)
        why = error.strerror if isinstance(error, OSError) else _NO_SOCKET
        raise FailedPrecondition(f"cannot listen on {path}: {why}") from error
    try:
        yield
    finally:
        if _identity(path) == identity:
            path.unlink()


def _require_usable(path: Path) -> None:
    """Check that a socket can be created at ``path`` without harm to anything there.

    Raises:
        FailedPrecondition: it cannot.
    """
    if not path.parent.is_dir():
        raise FailedPrecondition(f"the folder {path.parent} of the CSI socket does not exist")
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FailedPrecondition(f"{path} exists and is not a socket; it was not changed")
    if _is_listening(path):
        raise FailedPrecondition(
            f"another process listens on {path}, perhaps a second driver; end it, or use another endpoint"
        )


def _is_listening(path: Path) -> bool:
    """Whether a process listens on the socket at ``path``."""
    with contextlib.closing(
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    ) as client:
        try:
            client.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:
            return True  # its queue of new connections is full
    return True


def _identity(path: Path) -> tuple[int, int] | None:
    """The numbers of the device and inode at ``path``; None if nothing is there."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
