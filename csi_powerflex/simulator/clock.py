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

    def advance(self, seconds: float) -> None:
        """Put the clock forward, at once."""


class SystemClock:
    """The machine's clock, which can be put forward."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self._ahead

    def advance(self, seconds: float) -> None:
        """Be ``seconds`` further ahead from now on: tokens expire, migrations proceed."""
        self._ahead += seconds

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

    def advance(self, seconds: float) -> None:
        """Move on by ``seconds``."""
        self._now += seconds
