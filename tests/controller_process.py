"""The controller as a process of its own: everything that it writes is kept, and it can be killed."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.controller.driver import Driver

_START_SECONDS = 60.0


class ControllerProcess:
    """``csi-powerflex controller`` below ``folder``; a context manager in which it runs.

    ``options`` are those of the command line, without their dashes; ``module`` is what Python runs.
    """

    def __init__(
        self,
        folder: Path,
        systems: Path,
        options: Mapping[str, str] | None = None,
        *,
        module: str = "csi_powerflex",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.socket = folder / "csi.sock"
        self._log = folder / "controller.log"
        given = {
            "endpoint": f"unix://{self.socket}",
            "systems": str(systems),
            "cluster-id": "test",
            "metrics-address": "127.0.0.1:0",
            **(options or {}),
        }
        self._command = [sys.executable, "-m", module, "controller"]
        self._command += [f"--{name}={value}" for name, value in given.items()]
        self._child: subprocess.Popen[bytes] | None = None
        self._driver: Driver | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._driver is not None:
            self._driver.close()
        if self._child is not None and self._child.poll() is None:
            self.terminate()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._child is not None
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._child is not None and self._child.poll() is None

    @property
    def driver(self) -> Driver:
        """A client of its socket; one for all of its lives."""
        if self._driver is None:
            self._driver = Driver(self.socket)
        return self._driver

    def start(self) -> None:
        """Start it, for the first time or after it was killed, and wait until it serves."""
        with self._log.open("ab") as output:
            began = output.tell()
            self._child = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        until = time.monotonic() + _START_SECONDS
        while b" serving socket=" not in (wrote := self.output()[began:]) and b'"serving"' not in wrote:
            assert self.running, f"the controller ended: {wrote.decode()}"
            assert time.monotonic() < until, f"the controller does not serve: {wrote.decode()}"
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill -9."""
        assert self._child is not None
        self._child.kill()
        self._child.wait()

    def terminate(self) -> int:
        """End it in order; its exit status."""
        assert self._child is not None
        self._child.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._child.wait(30)
        self.kill()
        raise AssertionError(f"the controller did not end in order:\n{self.output()[-2000:].decode()}")

    def output(self) -> bytes:
        """All that it and its predecessors at this place wrote."""
        return self._log.read_bytes()

    def wait_for(self, words: str, *, seconds: float = 30.0) -> None:
        """Wait until it has written ``words``."""
        until = time.monotonic() + seconds
        while words.encode() not in self.output():
            assert time.monotonic() < until, f"not written: {words}\n{self.output().decode()}"
            time.sleep(0.05)

    def metrics(self) -> bytes:
        """What a scrape gets."""
        line = next(line for line in self.output().splitlines() if b"metrics served" in line)
        port = int("".join(filter(str.isdigit, line.decode().rpartition("port")[2])))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            content: bytes = answer.read()
        return content

    def resident(self) -> int:
        """The bytes of memory that it has now."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024
