"""The real node plugin in a process that is broken, or killed as by kill -9, at a chosen step of a call.

A step is whatever the plugin does to the host: each command, each mount by system call, each write to a
device, each folder or file that is made or removed. The steps are wrapped here, in the child, so that the
driver knows nothing of it. The child is forked from a server that has everything imported: it starts in
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
from csi_powerflex.config.node import NodeSettings
from csi_powerflex.host import blockdev, mounts, run
from csi_powerflex.observability import log
from csi_powerflex.operations.node import target_paths
from tests.children import CONTEXT, wait_for_socket
from tests.node.client import Kubelet
from tests.node.loophost import LoopHost

_CLONE_NEWNS = 0x00020000
_LIBC = ctypes.CDLL(None, use_errno=True)


# What is left of a call once its deadline is to pass, and how long a step then takes.
_LAST_SECONDS, _SLOW_SECONDS = 0.1, 0.25

# After these the call is repeated: the process lives, or another has come.
PASSING = (
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.FAILED_PRECONDITION,
)


class When(enum.Enum):
    """What happens to the step. A process that was not killed gets the same call again."""

    BEFORE = "killed before"
    DURING = "killed during"
    """A command has been started and goes on without its parent; other steps count as done."""
    AFTER = "killed after"
    REFUSED = "refused"
    """It fails and has done nothing."""
    LOST = "done, and said to have failed"
    LATE = "late"
    """The deadline of the call passes, and then it is done, unless the driver has ended it."""
    UNANSWERED = "done, and late"
    """It is done, and the deadline of the call passes before it answers."""

    @property
    def kills(self) -> bool:
        """Whether the process dies of it."""
        return self in (When.BEFORE, When.DURING, When.AFTER)


class BreakingNode:
    """A node plugin for ``host`` that meets trouble at its ``step``-th step, counted from 0."""

    def __init__(self, host: LoopHost, *, step: int, when: When) -> None:
        self._host = host
        self._when = when
        self._step = step
        self._steps = host.folder / "steps"
        self._steps.write_text("")
        self._socket = host.folder / "breaking.sock"
        settings = NodeSettings(
            endpoint=f"unix:{self._socket}",
            driver_name="csi.powerflex.dev",
            mount_roots=(host.kubelet,),
            sdc=host.settings(),
        )
        self._process = CONTEXT.Process(
            target=_serve,
            args=(
                settings,
                f"/proc/{os.getpid()}/ns/mnt",
                self._steps,
                step,
                when,
                host.folder / "breaking.log",
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

    def broke_in(self, call: Callable[[Kubelet], object]) -> bool:
        """Make the call; whether it came to its step. A process that lives is called again until done."""
        kubelet = Kubelet(self._channel, self._host.kubelet)
        try:
            call(kubelet)
        except grpc.RpcError as error:
            if error.code() not in PASSING:
                raise
            if not self._when.kills:
                repeated(lambda: call(kubelet))
                return True
            self._process.join(10)
            if self._process.exitcode != -signal.SIGKILL:
                raise
            return True
        # A step may be one that is tried again by itself, or that can be done without.
        return not self._when.kills and len(self.steps()) > self._step

    def steps(self) -> list[str]:
        """What was done so far."""
        return self._steps.read_text().splitlines()


def _serve(
    settings: NodeSettings, namespace: str, steps: Path, step: int, when: When, log_file: Path
) -> None:
    descriptor = os.open(namespace, os.O_RDONLY)
    if _LIBC.setns(descriptor, _CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    os.close(descriptor)
    with log_file.open("a") as stream:
        log.configure(level="debug", stream=stream)
        _break(_Counter(steps, step), when)
        node.run(settings)


def repeated(call: Callable[[], object]) -> None:
    """Call as the kubelet does: again while the answer says that it may work later."""
    until = time.monotonic() + 10
    while True:
        try:
            call()
        except grpc.RpcError as error:
            if error.code() not in PASSING or time.monotonic() > until:
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


def _break(counter: _Counter, when: When) -> None:
    start = run._start

    def broken(command: Sequence[str], keep_open: Any) -> subprocess.Popen[str]:
        if not counter.is_due(Path(command[0]).name):
            return start(command, keep_open)
        if when is When.BEFORE:
            _die()
        if when in (When.LATE, When.UNANSWERED):
            _let_the_deadline_come()
        process = start(_in_trouble(command, when), keep_open)
        if when is When.AFTER:
            process.communicate()
        if when.kills:
            _die()
        return process

    run._start = broken
    for module, name in (
        (mounts, "bind"),
        (mounts, "detach"),
        (blockdev, "write"),
        (blockdev, "set_read_only"),
        (target_paths, "make_directory"),
        (target_paths, "make_file"),
        (target_paths, "remove"),
    ):
        setattr(module, name, _breaking(getattr(module, name), counter, when))


def _in_trouble(command: Sequence[str], when: When) -> Sequence[str]:
    """The command that is run in place of ``command``."""
    scripts = {
        When.REFUSED: 'echo "Input/output error" >&2; exit 32',
        When.LOST: '"$@" >&2; kill -KILL $$',
        When.LATE: f'sleep {_SLOW_SECONDS}; exec "$@"',
        When.UNANSWERED: f'"$@"; code=$?; sleep {_SLOW_SECONDS}; exit $code',
    }
    return ["/bin/sh", "-c", scripts[when], "sh", *command] if when in scripts else command


def _breaking(function: Callable[..., Any], counter: _Counter, when: When) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapped(*args: Any, **keywords: Any) -> Any:
        if not counter.is_due(function.__name__):
            return function(*args, **keywords)
        if when is When.BEFORE:
            _die()
        if when is When.REFUSED:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if when in (When.LATE, When.UNANSWERED):
            _let_the_deadline_come()
            time.sleep(_LAST_SECONDS)
        result = function(*args, **keywords)
        if when is When.LOST:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if when.kills:
            _die()
        return result

    return wrapped


def _let_the_deadline_come() -> None:
    call = call_context.current()
    assert call is not None
    call.deadline = time.monotonic() + _LAST_SECONDS


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
