"""Which background tasks fail now, as ``/healthz`` reports it."""

from __future__ import annotations

import threading

_lock = threading.Lock()
_failing: dict[str, str] = {}


def report_failure(task: str, reason: str) -> None:
    """Note that the last run of a task failed."""
    with _lock:
        _failing[task] = reason


def report_success(task: str) -> None:
    """Note that a task works, or has ended."""
    with _lock:
        _failing.pop(task, None)


def failing() -> dict[str, str]:
    """The tasks whose last run failed, each with the reason."""
    with _lock:
        return dict(_failing)
