"""Waiting for what happens in another thread, for as long as it may take on a busy machine and no longer."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_SECONDS = 15.0


def eventually(holds: Callable[[], bool]) -> None:
    """Return as soon as ``holds`` does; fail when it does not in time."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.01)
