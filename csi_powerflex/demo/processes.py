"""The demo's child processes: started apart from the terminal, ended by pid, all of them."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from csi_powerflex import signals

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends the demo early; the last one comes when its terminal is closed."""

_END_SECONDS = 10.0


class NotReady(Exception):
    """A process ended, or did not get ready in time; carries the end of its log."""


class Process:
    """One ``csi-powerflex`` command under way, its output in a file.

    It gets a session of its own: Ctrl-C at the terminal then reaches the demo alone, which still needs its
    children to take everything down in order.
    """

    def __init__(self, name: str, arguments: list[str], log: Path) -> None:
        self.name = name
        self._arguments = [sys.executable, "-m", "csi_powerflex", *arguments]
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._child is not None and self._child.poll() is None

    def start(self, ready: Callable[[], bool], *, seconds: float = 120.0) -> None:
        """Start it and wait until ``ready``.

        Raises:
            NotReady: it ended before, or did not get ready within ``seconds``.
        """
        # A process that was started and not noted would be left behind.
        with self._log.open("ab") as output, signals.held(*INTERRUPTS):
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
        """End it as a crash would."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def stop(self) -> None:
        """Ask it to end and wait; one that does not is killed."""
        if self._child is None:
            return
        self._child.terminate()
        try:
            self._child.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def log_tail(self, lines: int = 15) -> str:
        """The end of its log."""
        if not self._log.exists():
            return ""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])


@contextlib.contextmanager
def ended(process: Process) -> Iterator[Process]:
    """Stop the process when the block ends, however it ends."""
    try:
        yield process
    finally:
        process.stop()
