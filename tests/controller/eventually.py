"""Waiting for the effects of other threads."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_SECONDS = 15.0


def eventually(holds: Callable[[], bool]) -> None:
    """Return when ``holds`` returns true; fail after ``PATIENCE_SECONDS``."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < end, "the condition was not met in time"
        time.sleep(0.01)
