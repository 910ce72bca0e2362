"""What happens to a controller at a chosen gateway request: the deadline of its call passes, another one
works meanwhile, or its process is killed.

``Http.send`` is wrapped to count the requests. The simulator injects the faults of the gateway itself.
"""

from __future__ import annotations

import enum
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import pytest

from csi_powerflex import call_context
from csi_powerflex.app import controller
from csi_powerflex.config.controller import ControllerSettings
from csi_powerflex.gateway.http import Http
from csi_powerflex.observability import log
from tests.children import CONTEXT, wait_for_socket
from tests.controller.driver import Driver
from tests.controller.eventually import PATIENCE_SECONDS

# The time that is left of a call before its deadline passes: enough for the gateway to get the request.
_LAST_SECONDS = 0.1


class Deadline:
    """Lets the deadline of a running call pass during one of its requests, in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._lock = threading.Lock()
        self._left = -1
        send = Http.send

        def sent(http: Http, *arguments: Any, **keywords: Any) -> object:
            self._approach()
            return send(http, *arguments, **keywords)

        monkeypatch.setattr(Http, "send", sent)

    def pass_in(self, position: int) -> None:
        """Let it pass in the request at that position from now on, counted from 0."""
        with self._lock:
            self._left = position

    def _approach(self) -> None:
        with self._lock:
            due, self._left = self._left == 0, self._left - 1
        call = call_context.current()
        if due and call is not None:
            call.deadline = time.monotonic() + _LAST_SECONDS


class HoldTime(enum.Enum):
    """When a request is held: before it is sent, or when its answer has come."""

    BEFORE = "before"
    AFTER = "after"


class Held:
    """Holds one request of a controller of this process while another controller works."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._lock = threading.Lock()
        self._left = -1
        self._when = HoldTime.BEFORE
        self._reached = threading.Event()
        self._released = threading.Event()
        send = Http.send

        def sent(http: Http, *arguments: Any, **keywords: Any) -> object:
            due = self._is_due()
            if due and self._when is HoldTime.BEFORE:
                self._hold()
            reply = send(http, *arguments, **keywords)
            if due and self._when is HoldTime.AFTER:
                self._hold()
            return reply

        monkeypatch.setattr(Http, "send", sent)

    def arm(self, position: int, when: HoldTime) -> None:
        """Hold the request at that position from now on, counted from 0."""
        with self._lock:
            self._reached.clear()
            self._released.clear()
            self._left, self._when = position, when

    def wait(self) -> None:
        """Return when the request is held."""
        assert self._reached.wait(PATIENCE_SECONDS), "no request was held"

    def release(self) -> None:
        """Let the request continue."""
        self._released.set()

    def _is_due(self) -> bool:
        with self._lock:
            due, self._left = self._left == 0, self._left - 1
        return due

    def _hold(self) -> None:
        self._reached.set()
        assert self._released.wait(PATIENCE_SECONDS), "the request was not released"


class KillTime(enum.Enum):
    """When the process is killed: before it sends the request, or after it has the answer."""

    BEFORE = "before"
    AFTER = "after"


class KilledController:
    """A controller process that is killed at its gateway request number ``position``, counted from 0."""

    def __init__(self, settings: ControllerSettings, folder: Path, position: int, when: KillTime) -> None:
        self.position = position
        self._socket = Path(settings.endpoint.removeprefix("unix://"))
        self._requests = folder / "requests"
        self._requests.write_text("")
        self._process = CONTEXT.Process(
            target=_serve, args=(settings, self._requests, position, when, folder / "killed.log")
        )

    def __enter__(self) -> Self:
        self._process.start()
        wait_for_socket(self._socket, self._process.is_alive)
        self._driver = Driver(self._socket)
        self._driver.wait_until_ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        self._driver.close()
        self._process.kill()
        self._process.join()
        self._process.close()
        self._socket.unlink(missing_ok=True)

    def was_killed_in(self, call: Callable[[Driver], object]) -> bool:
        """Make the call; returns whether the process was killed in it."""
        try:
            call(self._driver)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            self._process.join(10)
            if self._process.exitcode != -signal.SIGKILL:
                raise
            return True
        return False

    def requests(self) -> int:
        """How many requests the process was about to send."""
        return len(self._requests.read_text())


def _serve(
    settings: ControllerSettings, requests: Path, position: int, when: KillTime, log_file: Path
) -> None:
    send = Http.send

    def sent(http: Http, *arguments: Any, **keywords: Any) -> object:
        due = requests.stat().st_size == position
        with requests.open("a") as file:
            file.write(".")
        if due and when is KillTime.BEFORE:
            os.kill(os.getpid(), signal.SIGKILL)
        reply = send(http, *arguments, **keywords)
        if due:
            os.kill(os.getpid(), signal.SIGKILL)
        return reply

    Http.send = sent  # type: ignore[method-assign,assignment]  # nothing else runs in this process
    with log_file.open("a") as stream:
        log.configure(level="debug", stream=stream)
        controller.run(settings)
