"""A clock that a test sets."""

from __future__ import annotations

import datetime


class Clock:
    """The present time, in whole seconds."""

    def __init__(self, text: str = "2026-11-26T09:00:00") -> None:
        self.now = datetime.datetime.fromisoformat(f"{text}+00:00")

    def __call__(self) -> datetime.datetime:
        return self.now

    def forward(self, **more: float) -> None:
        """Let time pass."""
        self.now += datetime.timedelta(**more)

    def set(self, text: str) -> None:
        self.now = datetime.datetime.fromisoformat(f"{text}+00:00")
