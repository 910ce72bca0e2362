"""The clock for token lifetimes, migrations, retention and snapshot policies. Tests can move it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """The source of the time."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""

    def advance(self, seconds: float) -> None:
        """Put the clock forward without waiting."""


class SystemClock:
    """The clock of this machine. It can be put forward."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self._ahead

    def advance(self, seconds: float) -> None:
        """Put the clock forward without waiting, so that tokens expire and migrations proceed."""
        self._ahead += seconds

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        time.sleep(seconds)


class OwnClock:
    """The clock of one system. It follows ``base``, and can be put forward without moving ``base``."""

    def __init__(self, base: Clock) -> None:
        self._base = base
        self._ahead = 0.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._base.now() + self._ahead

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        self._base.sleep(seconds)

    def advance(self, seconds: float) -> None:
        """Put this clock forward without waiting."""
        self._ahead += seconds

    def reset(self) -> None:
        """Show the time of ``base`` again."""
        self._ahead = 0.0


class ManualClock:
    """A clock that moves only when it is told to."""

    def __init__(self, start: float = 1_760_000_000.0) -> None:
        self._now = start

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Put the clock forward without waiting."""
        self._now += seconds

    def advance(self, seconds: float) -> None:
        """Put the clock forward without waiting."""
        self._now += seconds
