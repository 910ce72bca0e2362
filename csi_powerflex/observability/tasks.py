"""Which background tasks fail now, as ``/healthz`` and a metric report it."""

from __future__ import annotations

import threading

from csi_powerflex.observability import metrics

_lock = threading.Lock()
_failing: dict[str, str] = {}


def report_failure(task: str, reason: str) -> None:
    """Note that the last run of a task failed."""
    with _lock:
        _failing[task] = reason
        _count(task)


def report_success(task: str) -> None:
    """Note that a task works, or has ended."""
    with _lock:
        _failing.pop(task, None)
        _count(task)


def failing() -> dict[str, str]:
    """The tasks whose last run failed, each with the reason."""
    with _lock:
        return dict(_failing)


def kind(task: str) -> str:
    """The first word of a task's name. The others name a system or a type of objects."""
    return task.split(maxsplit=1)[0]


def _count(task: str) -> None:
    count = sum(kind(other) == kind(task) for other in _failing)
    metrics.BACKGROUND_TASKS_FAILING.labels(kind(task)).set(count)
