"""The child processes of the demo. Each has its own session, and all of them are stopped at the end."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from csi_powerflex import stop_signals

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that end the demo early. SIGHUP comes when its terminal is closed."""

_STOP_SECONDS = 10.0


class NotReady(Exception):
    """A process ended, or was not ready in time. The message has the end of its log."""


class Process:
    """One running ``csi-powerflex`` command with its output in a file.

    It has its own session, so Ctrl-C at the terminal does not reach it. The demo still needs it for the
    clean-up. ``module`` is the module that Python runs.
    """

    def __init__(self, name: str, arguments: list[str], log: Path, *, module: str = "csi_powerflex") -> None:
        self.name = name
        self._arguments = [sys.executable, "-m", module, *arguments]
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._child is not None and self._child.poll() is None

    def start(self, ready: Callable[[], bool], *, seconds: float = 120.0) -> None:
        """Start it and wait until ``ready``.

        Raises:
            NotReady: it ended early, or was not ready within ``seconds``.
        """
        # A signal between the start and the assignment would leave the process behind.
        with self._log.open("ab") as output, stop_signals.deferred(*INTERRUPTS):
            self._child = subprocess.Popen(
                self._arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + seconds
        while not ready():
            if self._child.poll() is not None:
                raise NotReady(f"{self.name} ended with status {self._child.returncode}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise NotReady(f"{self.name} was not ready within {seconds:.0f} s:\n{self.log_tail()}")
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill it, as in a crash."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def stop(self) -> None:
        """Terminate it. Kill it if it does not end in time."""
        if self._child is None:
            return
        self._child.terminate()
        try:
            self._child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of its log."""
        if not self._log.exists():
            return ""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])


@contextlib.contextmanager
def ended(process: Process) -> Iterator[Process]:
    """Stop the process at the end of the block, also after an error."""
    try:
        yield process
    finally:
        process.stop()
