"""Waiting for the effects of other threads."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_SECONDS = 15.0


def eventually(holds: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Return when ``holds`` returns something true; fail after so many seconds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "the condition was not met in time"
        time.sleep(0.01)
