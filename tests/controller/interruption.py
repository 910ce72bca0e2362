"""A controller that is broken at a chosen gateway request: by the deadline, or by a kill -9 of its process.

The requests are counted where they leave the driver, which knows nothing of it. What the gateway itself can
do wrong is the simulator's part.
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

# What is left of a call's time once its deadline is to pass: enough for the gateway to get the request.
_LAST_SECONDS = 0.1


class Deadline:
    """Lets the deadline of the call under way pass during one of its requests, in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._lock = threading.Lock()
        self._left = -1
        send = Http.send

        def sent(http: Http, *arguments: Any, **keywords: Any) -> object:
            self._approach()
            return send(http, *arguments, **keywords)

        monkeypatch.setattr(Http, "send", sent)

    def pass_in(self, place: int) -> None:
        """Let it pass in the request of that place from now, counted from 0."""
        with self._lock:
            self._left = place

    def _approach(self) -> None:
        with self._lock:
            due, self._left = self._left == 0, self._left - 1
        call = call_context.current()
        if due and call is not None:
            call.deadline = time.monotonic() + _LAST_SECONDS


class Moment(enum.Enum):
    """When the process dies: as it is about to send the request, or as the answer has come."""

    BEFORE = "before"
    AFTER = "after"


class BreakingController:
    """A controller process that dies at its ``place``-th gateway request, counted from 0."""

    def __init__(self, settings: ControllerSettings, folder: Path, place: int, moment: Moment) -> None:
        self.place = place
        self._socket = Path(settings.endpoint.removeprefix("unix://"))
        self._requests = folder / "requests"
        self._requests.write_text("")
        self._process = CONTEXT.Process(
            target=_serve, args=(settings, self._requests, place, moment, folder / "breaking.log")
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

    def died_in(self, call: Callable[[Driver], object]) -> bool:
        """Make the call; whether the process died of it."""
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
        """How many requests were about to be sent."""
        return len(self._requests.read_text())


def _serve(settings: ControllerSettings, requests: Path, place: int, moment: Moment, log_file: Path) -> None:
    send = Http.send

    def sent(http: Http, *arguments: Any, **keywords: Any) -> object:
        due = requests.stat().st_size == place
        with requests.open("a") as file:
            file.write(".")
        if due and moment is Moment.BEFORE:
            os.kill(os.getpid(), signal.SIGKILL)
        reply = send(http, *arguments, **keywords)
        if due:
            os.kill(os.getpid(), signal.SIGKILL)
        return reply

    Http.send = sent  # type: ignore[method-assign,assignment]  # this process is all ours
    with log_file.open("a") as stream:
        log.configure(level="debug", stream=stream)
        controller.run(settings)
