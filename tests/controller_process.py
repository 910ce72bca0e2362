"""The controller in its own process. Its output is kept, and it can be killed."""

from __future__ import annotations

import contextlib
import os
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
    """``csi-powerflex controller`` with its files in ``folder``; a context manager in which it runs.

    ``options`` are those of the command line, without dashes. ``module`` is the module that Python runs.
    ``tree`` is a folder with another state of the project, which it runs instead. ``measured`` is whether the
    coverage of the tests counts what it runs; without it, the process has its usual speed.
    """

    def __init__(
        self,
        folder: Path,
        systems: Path,
        options: Mapping[str, str] | None = None,
        *,
        module: str = "csi_powerflex",
        tree: Path | None = None,
        measured: bool = True,
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
        # Python looks for modules in its working folder first.
        self._tree = tree
        self._environment = {
            name: value for name, value in os.environ.items() if measured or not name.startswith("COVERAGE_")
        }
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
        """Whether it runs."""
        return self._child is not None and self._child.poll() is None

    @property
    def driver(self) -> Driver:
        """A client of its socket, the same after each start."""
        if self._driver is None:
            self._driver = Driver(self.socket)
        return self._driver

    def start(self) -> None:
        """Start it, also after it was killed, and wait until it serves."""
        with self._log.open("ab") as output:
            began = output.tell()
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._tree,
                env=self._environment,
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
        """Send SIGTERM; returns the exit status."""
        assert self._child is not None
        self._child.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._child.wait(30)
        self.kill()
        raise AssertionError(f"the controller did not end after SIGTERM:\n{self.output()[-2000:].decode()}")

    def output(self) -> bytes:
        """All its output, also that before it was killed."""
        return self._log.read_bytes()

    def wait_for(self, words: str, *, seconds: float = 30.0) -> None:
        """Wait until it has written ``words``."""
        until = time.monotonic() + seconds
        while words.encode() not in self.output():
            assert time.monotonic() < until, f"not written: {words}\n{self.output().decode()}"
            time.sleep(0.05)

    def metrics(self) -> bytes:
        """The metrics, as Prometheus gets them."""
        line = next(line for line in self.output().splitlines() if b"metrics served" in line)
        port = int("".join(filter(str.isdigit, line.decode().rpartition("port")[2])))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            content: bytes = answer.read()
        return content

    def cpu_seconds(self) -> float:
        """The processor time that all its threads have taken."""
        return cpu_seconds(self.pid)

    def resident(self) -> int:
        """Its resident memory in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024


def cpu_seconds(pid: int) -> float:
    """The processor time that all threads of a process have taken."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
