"""One job of the mover as a process: progress on standard output, and the outcome as its last line.

The outcome is also the termination message of the container. No message has a secret, because
``mover.web.Server`` shows a URL without its query.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from csi_powerflex.errors import DriverError
from csi_powerflex.model.mover import Exit, Outcome
from csi_powerflex.mover.outcome import Work, exit_of
from csi_powerflex.observability.log import Log

log = Log(__name__)


def run_job(
    action: Callable[[Work], Outcome], *, termination: Path | None, show: Callable[[str], None]
) -> Exit:
    """Run a job to its end; returns the exit status.

    SIGTERM ends it at the next step at which the same job can continue.

    Args:
        action: the job; its outcome has no time and speed yet.
        termination: the file for the termination message; None for none.
        show: takes each line of progress, and the outcome.
    """
    work = Work(write=show)

    def stop(_number: int, _frame: FrameType | None) -> None:
        work.stop.set()

    before = signal.signal(signal.SIGTERM, stop)
    began = time.monotonic()
    try:
        outcome = _ended(action, work)
    finally:
        signal.signal(signal.SIGTERM, before)
    seconds = time.monotonic() - began
    speed = int(outcome.size / seconds) if outcome.exit is Exit.DONE and seconds > 0 else 0
    text = Outcome(
        outcome.exit,
        outcome.message,
        size=outcome.size,
        written=outcome.written,
        seconds=int(seconds),
        speed=speed,
        format=outcome.format,
        digest=outcome.digest,
    ).text()
    show(text)
    _tell(termination, text)
    return outcome.exit


def _ended(action: Callable[[Work], Outcome], work: Work) -> Outcome:
    try:
        return action(work)
    except DriverError as error:
        return Outcome(exit_of(error), str(error))
    except Exception as error:  # noqa: BLE001 - the outcome is told in any case, with the stack in the log
        log.unexpected("job failed", error)
        return Outcome(Exit.FAILED, f"an unexpected error, which is a defect of the mover: {error!r}")


def _tell(termination: Path | None, text: str) -> None:
    if termination is None:
        return
    try:
        termination.write_text(text)
    except OSError as error:
        # The job is done or not, whatever the message is. The last line of the output has the outcome too.
        log.warning("termination message was not written", file=str(termination), error=error)
