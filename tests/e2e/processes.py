"""The processes of the cluster. Each writes a log, and is stopped by its process id."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_END_SECONDS = 10.0


class NotReady(Exception):
    """Something did not become ready in time. The message has the end of its log."""


def await_true(ready: Callable[[], bool], *, what: str, seconds: float = 120, every: float = 0.1) -> None:
    """Wait until ``ready``.

    Raises:
        NotReady: it was not within ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise NotReady(f"{what} was not so within {seconds:.0f} s")
        time.sleep(every)


class Daemon:
    """A process that runs until it is stopped. The command ``inside`` runs it in another namespace."""

    def __init__(
        self, name: str, command: Sequence[str | Path], logs: Path, *, inside: Sequence[str] = ()
    ) -> None:
        self.name = name
        self.log = logs / f"{name}.log"
        self._command = [*inside, *map(str, command)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, environment: dict[str, str] | None = None) -> None:
        """Start it."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    def start_until(self, ready: Callable[[], bool], *, seconds: float = 120) -> None:
        """Start it and wait until ``ready``.

        Raises:
            NotReady: it ended before, or took longer.
        """
        self.start()
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running or time.monotonic() > deadline:
                end = "\n".join(self.log.read_text(errors="replace").splitlines()[-25:])
                raise NotReady(f"{self.name} did not become ready within {seconds:.0f} s:\n{end}")
            time.sleep(0.1)

    def kill(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self, seconds: float = _END_SECONDS) -> None:
        """Send SIGTERM and wait. Kill it if it does not end."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
