"""The errors of the mover, the exit status of each, and progress while it works."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from csi_powerflex.errors import (
    DriverError,
    FailedPrecondition,
    InvalidArgument,
    Unavailable,
)
from csi_powerflex.model.mover import Exit, Phase, Progress

_PAUSE_SECONDS = 1.0


class Refused(InvalidArgument):
    """The source is not acceptable: the same source never will be."""


class TargetRefused(FailedPrecondition):
    """The target is too small, in use, or has content that this job did not write."""


class Different(FailedPrecondition):
    """What was written is not what was read."""


class Stopped(Unavailable):
    """SIGTERM asked the mover to end. The same job continues later."""


_EXITS: tuple[tuple[type[DriverError], Exit], ...] = (
    (Refused, Exit.REFUSED),
    (TargetRefused, Exit.TARGET),
    (Different, Exit.DIFFERENT),
    (Stopped, Exit.STOPPED),
    (InvalidArgument, Exit.USAGE),
    (FailedPrecondition, Exit.USAGE),
)


def exit_of(error: DriverError) -> Exit:
    """The exit status for an error. One that is not listed may pass by itself."""
    return next((status for kind, status in _EXITS if isinstance(error, kind)), Exit.UNAVAILABLE)


@dataclass
class Work:
    """The work of this process: it reports progress, and stops where it can continue later.

    Attributes:
        write: takes each line of progress.
        clock: the time in seconds.
        stop: set by SIGTERM.
    """

    write: Callable[[str], None] = lambda _line: None
    clock: Callable[[], float] = time.monotonic
    stop: threading.Event = field(default_factory=threading.Event)
    _phase: Phase = Phase.CHECKING
    _total: int | None = None
    _first: int = 0
    _began: float = 0.0
    _wrote: float = 0.0

    def begin(self, phase: Phase, total: int | None, *, at: int = 0) -> None:
        """Begin a phase.

        Args:
            phase: its name.
            total: its length in bytes, None if it is not known.
            at: how far an earlier process came.

        Raises:
            Stopped: the process has to end.
        """
        self._phase, self._total, self._first = phase, total, at
        self._began = self.clock()
        self._report(at, self._began)
        self.check()

    def at(self, position: int) -> None:
        """Say how far this phase is, in bytes. A line is written once each second.

        Raises:
            Stopped: the process has to end.
        """
        now = self.clock()
        if now - self._wrote >= _PAUSE_SECONDS:
            self._report(position, now)
        self.check()

    def end(self, position: int) -> None:
        """Say that the phase ended, with its length in bytes."""
        self._report(position, self.clock())

    def check(self) -> None:
        """Stop here if the process has to end.

        Raises:
            Stopped: it has to.
        """
        if self.stop.is_set():
            raise Stopped("SIGTERM ended the mover before the job was done; start the same job again")

    def _report(self, position: int, now: float) -> None:
        self._wrote = now
        took = now - self._began
        speed = int((position - self._first) / took) if took > 0 else 0
        self.write(Progress(self._phase, position, self._total, max(speed, 0)).line())
