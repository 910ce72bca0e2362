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

from csi_powerflex import signals
from csi_powerflex.csi.interceptor import Interceptor, require_guarded
from csi_powerflex.csi.workers import Workers
from csi_powerflex.errors import FailedPrecondition, InvalidArgument
from csi_powerflex.observability.log import Log

log = Log(__name__)

WORKERS = 108
# Threads that slow calls cannot take, so that Probe and the capability calls are answered at once.
QUICK_WORKERS = 8
_GRACE_SECONDS = 20.0
# The owner and the group only: whoever can open the socket can make the driver work.
_MODE = 0o660
# Linux's limit for the path of a unix socket, its closing zero byte left out.
_MAX_PATH_BYTES = 107

Register = Callable[[grpc.Server], None]


def socket_path(endpoint: str) -> Path:
    """The path in a CSI endpoint: ``unix:///csi/csi.sock``, ``unix:/csi/csi.sock`` or a bare path.

    Raises:
        InvalidArgument: it is none of these, or too long.
    """
    path = (
        endpoint.removeprefix("unix://") if endpoint.startswith("unix://") else endpoint.removeprefix("unix:")
    )
    if not path.startswith("/"):
        raise InvalidArgument(
            f"the CSI endpoint must be a unix socket with an absolute path, such as unix:///csi/csi.sock, "
            f"not {endpoint!r}"
        )
    if len(os.fsencode(path)) > _MAX_PATH_BYTES:
        raise InvalidArgument(
            f"the path of the CSI socket has {len(os.fsencode(path))} bytes, and Linux takes at most "
            f"{_MAX_PATH_BYTES}: {path}"
        )
    return Path(path)


def serve(
    endpoint: str,
    register: list[Register],
    while_serving: contextlib.AbstractContextManager[object] | None = None,
) -> None:
    """Serve on ``endpoint`` until SIGTERM or SIGINT; calls under way then get a grace of 20 seconds, and
    are left behind where they do not end within it.

    Only for the main thread, because of the signals; ``serving`` is for any.

    Args:
        endpoint: as for ``socket_path``.
        register: functions that add servicers to the server.
        while_serving: entered once the socket is served, and left before it is taken away.

    Raises:
        InvalidArgument, FailedPrecondition: the endpoint cannot be served on.
    """
    with (
        signals.wait_for_signals(signal.SIGTERM, signal.SIGINT) as arrived,
        serving(endpoint, register),
        while_serving or contextlib.nullcontext(),
    ):
        log.info("stopping", signal=arrived().name, grace_seconds=_GRACE_SECONDS)


@contextlib.contextmanager
def serving(endpoint: str, register: list[Register]) -> Iterator[Path]:
    """Serve on ``endpoint`` for the block, which gets the socket's path; see ``serve``.

    A stale socket there is replaced, one on which something answers is not. The new one is for the owner and
    group only, and it is taken away at the end (specification, "CSI_ENDPOINT") unless another process has
    put its own there.
    """
    path = socket_path(endpoint)
    pool = Workers(WORKERS, "rpc")
    server = grpc.server(
        pool,  # type: ignore[arg-type] # its stub names the standard pool; all that it does is to submit
        interceptors=[Interceptor(slow_slots=WORKERS - QUICK_WORKERS)],
    )
    for add in register:
        add(_GuardedServer(server))  # type: ignore[arg-type]  # generated code calls these two methods alone
    try:
        with _listening(server, path):
            server.start()
            log.info("serving", socket=path)
            try:
                yield path
            finally:
                _stop(server, pool)
    finally:
        pool.shutdown(wait=False)


class _GuardedServer:
    """Passes the handlers of servicers on to a server, if the interceptor can guard them."""

    def __init__(self, server: grpc.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(
        self, service: str, handlers: dict[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        for method, handler in handlers.items():
            require_guarded(f"{service}/{method}", handler)
        self._server.add_registered_method_handlers(service, handlers)


def _stop(server: grpc.Server, pool: Workers) -> None:
    """Take no more calls, and wait for those under way as long as the grace is."""
    until = time.monotonic() + _GRACE_SECONDS
    server.stop(_GRACE_SECONDS).wait()
    if time.monotonic() >= until and (left := pool.busy()):
        log.warning("calls left behind, they did not end in time", calls=left, grace_seconds=_GRACE_SECONDS)


@contextlib.contextmanager
def _listening(server: grpc.Server, path: Path) -> Iterator[None]:
    """Give ``server`` a socket at ``path`` for the block.

    The socket is made under another name and moved into place. So it is never seen with another mode; and
    gRPC, which removes at the end whatever has the name
    that it was given, does not remove the socket of a successor that started before this process ended.
    """
    made = path.with_name(f".{secrets.token_hex(3)}")
    try:
        _require_place(path)
        server.add_insecure_port(f"unix:{made}")
        made.chmod(_MODE)
        identity = _identity(made)
        made.rename(path)
    except (OSError, RuntimeError) as error:
        made.unlink(missing_ok=True)
        raise FailedPrecondition(f"cannot listen on {path}: {error}") from error
    try:
        yield
    finally:
        if _identity(path) == identity:
            path.unlink()


def _require_place(path: Path) -> None:
    if not path.parent.is_dir():
        raise FailedPrecondition(f"the folder {path.parent} of the CSI socket does not exist")
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FailedPrecondition(f"{path} exists and is not a socket; it was not changed")
    if _answers(path):
        raise FailedPrecondition(
            f"another process serves on {path}: is the driver running already? End it first, or use another "
            "endpoint"
        )


def _answers(path: Path) -> bool:
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
    """Device and inode of what is at ``path``."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
