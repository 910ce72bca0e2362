"""The gRPC server on its unix socket."""

from __future__ import annotations

import os
import signal
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from csi_powerflex.csi.interceptor import Interceptor
from csi_powerflex.errors import FailedPrecondition, InvalidArgument
from csi_powerflex.observability.log import Log

log = Log(__name__)

WORKERS = 64
# Threads that slow calls cannot take, so that Probe and the capability calls are answered at once.
QUICK_WORKERS = 8
_GRACE_SECONDS = 20.0

Register = Callable[[grpc.Server], None]


def socket_path(endpoint: str) -> Path:
    """The path in a CSI endpoint: ``unix:///csi/csi.sock``, ``unix:/csi/csi.sock`` or a bare path.

    Raises:
        InvalidArgument: it is none of these.
    """
    path = (
        endpoint.removeprefix("unix://") if endpoint.startswith("unix://") else endpoint.removeprefix("unix:")
    )
    if not path.startswith("/"):
        raise InvalidArgument(
            f"the CSI endpoint must be a unix socket with an absolute path, such as unix:///csi/csi.sock, "
            f"not {endpoint!r}"
        )
    return Path(path)


def serve(endpoint: str, register: list[Register]) -> None:
    """Serve on ``endpoint`` until SIGTERM or SIGINT; calls under way then get a grace of 20 seconds.

    Args:
        endpoint: as for ``socket_path``. A stale socket there is removed, the new one is made for the
            owner and group only, and taken away at the end (specification, "CSI_ENDPOINT").
        register: functions that add servicers to the server.

    Raises:
        InvalidArgument, FailedPrecondition: the endpoint cannot be served on.
    """
    path = socket_path(endpoint)
    _clear(path)
    stopping = threading.Event()
    previous = {
        number: signal.signal(number, lambda *_: stopping.set()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    server = grpc.server(
        ThreadPoolExecutor(WORKERS, thread_name_prefix="rpc"),
        interceptors=[Interceptor(slow_places=WORKERS - QUICK_WORKERS)],
    )
    for add in register:
        add(server)
    # gRPC makes the socket with the process's umask: anyone who can open it can make the driver work.
    mask = os.umask(0o117)
    try:
        server.add_insecure_port(f"unix:{path}")
    except RuntimeError as error:
        raise FailedPrecondition(f"cannot listen on {path}: {error}") from error
    finally:
        os.umask(mask)
    server.start()
    log.info("serving", socket=path)
    try:
        stopping.wait()
    finally:
        log.info("stopping", grace_seconds=_GRACE_SECONDS)
        server.stop(_GRACE_SECONDS).wait()
        path.unlink(missing_ok=True)
        for number, handler in previous.items():
            signal.signal(number, handler)


def _clear(path: Path) -> None:
    if not path.parent.is_dir():
        raise FailedPrecondition(f"the folder {path.parent} of the CSI socket does not exist")
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FailedPrecondition(f"{path} exists and is not a socket; it was left alone")
    path.unlink()
