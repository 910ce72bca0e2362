"""The real node plugin in a process that kills itself, as by kill -9, at a chosen step of a call.

A step is whatever the plugin does to the host: each command, each mount by system call, each write to a
device, each folder or file that is made or removed. The steps are wrapped here, in the child, so that the
driver knows nothing of it. The child is forked from a server that has everything imported: it starts in
milliseconds.
"""

from __future__ import annotations

import ctypes
import enum
import functools
import multiprocessing
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

from csi_powerflex.app import node
from csi_powerflex.config.node import NodeSettings
from csi_powerflex.host import blockdev, mounts, run
from csi_powerflex.observability import log
from csi_powerflex.operations import places
from tests.node.client import Kubelet
from tests.node.loophost import LoopHost

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.node.breakable"])
_CLONE_NEWNS = 0x00020000
_LIBC = ctypes.CDLL(None, use_errno=True)


class When(enum.Enum):
    """At which moment of the step the process dies."""

    BEFORE = "before"
    DURING = "during"
    """A command has been started and goes on without its parent; other steps count as done."""
    AFTER = "after"


def start_server() -> None:
    """Start the server that children are forked from, outside of any test's mount namespace."""
    ensure_running()


class BreakingNode:
    """A node plugin for ``host`` that dies at its ``step``-th step, counted from 0."""

    def __init__(self, host: LoopHost, *, step: int, when: When) -> None:
        self._host = host
        self._steps = host.folder / "steps"
        self._steps.write_text("")
        self._socket = host.folder / "breaking.sock"
        settings = NodeSettings(
            endpoint=f"unix:{self._socket}",
            driver_name="csi.powerflex.dev",
            mount_roots=(host.kubelet,),
            sdc=host.settings(),
        )
        self._process = _CONTEXT.Process(
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

    def died_in(self, call: Callable[[Kubelet], object]) -> bool:
        """Make the call; whether the process died of it at its step."""
        try:
            call(Kubelet(self._channel, self._host.kubelet))
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            self._process.join(10)
            if self._process.exitcode != -signal.SIGKILL:
                raise
            return True
        return False

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


class _Counter:
    def __init__(self, steps: Path, last: int) -> None:
        self._steps = steps
        self._last = last
        self._count = 0

    def is_last(self, name: str) -> bool:
        with self._steps.open("a") as file:
            file.write(f"{name}\n")
        self._count += 1
        return self._count > self._last


def _break(counter: _Counter, when: When) -> None:
    start = run._start

    def start_and_die(command: Sequence[str], keep_open: Any) -> subprocess.Popen[str]:
        last = counter.is_last(Path(command[0]).name)
        if last and when is When.BEFORE:
            _die()
        process = start(command, keep_open)
        if last:
            if when is When.AFTER:
                process.communicate()
            _die()
        return process

    run._start = start_and_die
    for module, name in (
        (mounts, "bind"),
        (mounts, "detach"),
        (blockdev, "write"),
        (blockdev, "set_read_only"),
        (places, "make_directory"),
        (places, "make_file"),
        (places, "remove"),
    ):
        setattr(module, name, _dying(getattr(module, name), counter, when))


def _dying(function: Callable[..., Any], counter: _Counter, when: When) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapped(*args: Any, **keywords: Any) -> Any:
        last = counter.is_last(function.__name__)
        if last and when is When.BEFORE:
            _die()
        result = function(*args, **keywords)
        if last:
            _die()
        return result

    return wrapped


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
