"""The real node plugin in a process that is interrupted or killed at a chosen step of a call.

A step is an action of the plugin on the host: a command, a mount system call, a write to a device, a
connection over NVMe/TCP, or a folder or file that is created or removed. This module wraps the functions of
the steps in the child process. The child is forked from a server with all imports done, so it starts in
milliseconds.
"""

from __future__ import annotations

import ctypes
import enum
import errno
import functools
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

from csi_powerflex import call_context
from csi_powerflex.app import node
from csi_powerflex.config.node import NodeSettings, NvmeSettings
from csi_powerflex.host import blockdev, mounts, run
from csi_powerflex.observability import log
from csi_powerflex.operations.node import target_paths
from csi_powerflex.transport.nvme import fabrics
from tests.children import CONTEXT, wait_for_socket
from tests.node import nvme_remote
from tests.node.client import Kubelet
from tests.node.loophost import LoopHost
from tests.node.nvme_kernel import FakeKernel

_CLONE_NEWNS = 0x00020000
_LIBC = ctypes.CDLL(None, use_errno=True)


# The time that is left of a call before its deadline passes, and the time that a slow step takes.
_LAST_SECONDS, _SLOW_SECONDS = 0.1, 0.25

# After these codes the call is repeated, at the same process or at a new one.
REPEATABLE = (
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.FAILED_PRECONDITION,
)


class Interruption(enum.Enum):
    """What happens at the step. A process that was not killed gets the same call again."""

    BEFORE = "killed before"
    DURING = "killed during"
    """A command was started and continues without its parent. Other steps were completed."""
    AFTER = "killed after"
    REFUSED = "refused"
    """The step fails and has no effect."""
    LOST = "completed, but reported as failed"
    LATE = "late"
    """The deadline of the call passes. Then the step is completed, unless the driver has ended it.

    A connection is only slow: it is not made in the call's thread.
    """
    UNANSWERED = "completed, but late"
    """The step is completed, and the deadline of the call passes before it answers."""

    @property
    def kills(self) -> bool:
        """Whether the process is killed."""
        return self in (Interruption.BEFORE, Interruption.DURING, Interruption.AFTER)


class InterruptedNode:
    """A node plugin for ``host`` that is interrupted at step number ``step``, counted from 0.

    With ``kernel`` it reaches volumes over NVMe/TCP. The kernel's file has to be served to other processes.
    """

    def __init__(
        self, host: LoopHost, *, step: int, interruption: Interruption, kernel: FakeKernel | None = None
    ) -> None:
        self._host = host
        self._interruption = interruption
        self._step = step
        self._steps = host.folder / "steps"
        self._steps.write_text("")
        self._socket = host.folder / "interrupted.sock"
        settings = NodeSettings(
            endpoint=f"unix:{self._socket}",
            driver_name="csi.powerflex.dev",
            mount_roots=(host.kubelet,),
            sdc=host.settings(),
            nvme=kernel.settings(device_seconds=5.0) if kernel is not None else NvmeSettings(),
            transport="nvme" if kernel is not None else "auto",
        )
        self._process = CONTEXT.Process(
            target=_serve,
            args=(
                settings,
                f"/proc/{os.getpid()}/ns/mnt",
                _Counter(self._steps, step),
                interruption,
                host.folder / "interrupted.log",
                kernel.folder if kernel is not None else None,
            ),
        )

    def __enter__(self) -> Self:
        self._process.start()
        wait_for_socket(self._socket, self._process.is_alive)
        self._channel = grpc.insecure_channel(
            f"unix:{self._socket}",
            options=[("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 20)],
        )
        grpc.channel_ready_future(self._channel).result(timeout=10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        self._channel.close()
        self._process.kill()
        self._process.join()
        self._process.close()
        self._socket.unlink(missing_ok=True)

    def was_interrupted_in(self, call: Callable[[Kubelet], object]) -> bool:
        """Make the call, and repeat it if the process still runs; returns whether the step was reached."""
        kubelet = Kubelet(self._channel, self._host.kubelet)
        try:
            call(kubelet)
        except grpc.RpcError as error:
            if error.code() not in REPEATABLE:
                raise
            if not self._interruption.kills:
                repeated(lambda: call(kubelet))
                return True
            self._process.join(10)
            if self._process.exitcode != -signal.SIGKILL:
                raise
            return True
        # The driver repeats some steps itself, and does not need others.
        return not self._interruption.kills and len(self.steps()) > self._step

    def steps(self) -> list[str]:
        """The steps so far."""
        return self._steps.read_text().splitlines()


def _serve(
    settings: NodeSettings,
    namespace: str,
    counter: _Counter,
    interruption: Interruption,
    log_file: Path,
    kernel: Path | None,
) -> None:
    descriptor = os.open(namespace, os.O_RDONLY)
    if _LIBC.setns(descriptor, _CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    os.close(descriptor)
    with log_file.open("a") as stream:
        log.configure(level="debug", stream=stream)
        if kernel is not None:
            nvme_remote.use(kernel)
        _wrap_steps(counter, interruption)
        node.run(settings)


def repeated(call: Callable[[], object]) -> None:
    """Repeat a call as the kubelet does, while it fails with a code of ``REPEATABLE``."""
    until = time.monotonic() + 10
    while True:
        try:
            call()
        except grpc.RpcError as error:
            if error.code() not in REPEATABLE or time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return


class _Counter:
    def __init__(self, steps: Path, due: int) -> None:
        self._steps = steps
        self._due = due
        self._count = 0

    def is_due(self, name: str) -> bool:
        with self._steps.open("a") as file:
            file.write(f"{name}\n")
        self._count += 1
        return self._count == self._due + 1


def _wrap_steps(counter: _Counter, interruption: Interruption) -> None:
    start = run._start

    def interrupted(command: Sequence[str], keep_open: Any) -> subprocess.Popen[str]:
        if not counter.is_due(Path(command[0]).name):
            return start(command, keep_open)
        if interruption is Interruption.BEFORE:
            _kill()
        if interruption in (Interruption.LATE, Interruption.UNANSWERED):
            _let_the_deadline_pass()
        process = start(_interrupted_command(command, interruption), keep_open)
        if interruption is Interruption.AFTER:
            process.communicate()
        if interruption.kills:
            _kill()
        return process

    run._start = interrupted
    for place, name in (
        (mounts, "bind"),
        (mounts, "detach"),
        (blockdev, "write"),
        (blockdev, "set_read_only"),
        (fabrics.Fabrics, "connect"),
        (target_paths, "make_directory"),
        (target_paths, "make_file"),
        (target_paths, "remove"),
    ):
        setattr(place, name, _wrapped(getattr(place, name), counter, interruption))


def _interrupted_command(command: Sequence[str], interruption: Interruption) -> Sequence[str]:
    """The command that is run in place of ``command``."""
    scripts = {
        Interruption.REFUSED: 'echo "Input/output error" >&2; exit 32',
        Interruption.LOST: '"$@" >&2; kill -KILL $$',
        Interruption.LATE: f'sleep {_SLOW_SECONDS}; exec "$@"',
        Interruption.UNANSWERED: f'"$@"; code=$?; sleep {_SLOW_SECONDS}; exit $code',
    }
    return ["/bin/sh", "-c", scripts[interruption], "sh", *command] if interruption in scripts else command


def _wrapped(
    function: Callable[..., Any], counter: _Counter, interruption: Interruption
) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapped(*args: Any, **keywords: Any) -> Any:
        if not counter.is_due(function.__name__):
            return function(*args, **keywords)
        if interruption is Interruption.BEFORE:
            _kill()
        if interruption is Interruption.REFUSED:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if interruption in (Interruption.LATE, Interruption.UNANSWERED):
            _let_the_deadline_pass()
            time.sleep(_LAST_SECONDS)
        result = function(*args, **keywords)
        if interruption is Interruption.LOST:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if interruption.kills:
            _kill()
        return result

    return wrapped


def _let_the_deadline_pass() -> None:
    call = call_context.current()
    if call is not None:
        call.deadline = time.monotonic() + _LAST_SECONDS
    else:  # a connection, for which the call only waits
        time.sleep(_SLOW_SECONDS)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
