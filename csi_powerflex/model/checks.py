"""The results of checks of an installation, on the controller's side and on the node's."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from csi_powerflex.observability.log import Log

log = Log(__name__)


class Level(enum.StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    """It works now, but not in each case, or not for long."""
    FAULT = "fault"
    """Something does not work."""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check.

    Attributes:
        name: which check it is, and the title of its section in docs/doctor.md.
        subject: what was checked, such as a system, an endpoint or a pool.
        level: how it ended.
        found: what was found.
        remedy: what to do; empty if the level is OK.
    """

    name: str
    subject: str
    level: Level
    found: str
    remedy: str = ""

    @property
    def page(self) -> str:
        """The page and section that explain the check."""
        return f"docs/doctor.md#{self.name.replace(' ', '-')}"


def ok(name: str, subject: str, found: str) -> Check:
    """The result of a check that found no problem."""
    return Check(name, subject, Level.OK, found)


def warning(name: str, subject: str, found: str, remedy: str) -> Check:
    """The result of a check that found something to look at."""
    return Check(name, subject, Level.WARNING, found, remedy)


def fault(name: str, subject: str, found: str, remedy: str) -> Check:
    """The result of a check that found something that does not work."""
    return Check(name, subject, Level.FAULT, found, remedy)


def guarded(subject: str, step: Callable[[], Iterable[Check]]) -> list[Check]:
    """The checks of ``step``. If it ends in an unexpected error, a fault says so after them."""
    checks: list[Check] = []
    try:
        for check in step():
            checks.append(check)  # noqa: PERF402 - those before the error are kept
    except Exception as error:  # noqa: BLE001 - other checks must be made all the same
        log.unexpected("checks not ended", error, subject=subject)
        checks.append(
            fault(
                "unexpected error",
                subject,
                f"an unexpected {type(error).__name__} ended these checks",
                "report it with the stack, which is on standard error",
            )
        )
    return checks
