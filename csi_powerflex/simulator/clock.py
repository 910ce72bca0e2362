"""Time, so that tests can move it: token lifetimes, migrations and retention all read it here."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where the simulator reads the time."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        time.sleep(seconds)


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, start: float = 1_760_000_000.0) -> None:
        self._now = start

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Move on by ``seconds``."""
        self._now += seconds
