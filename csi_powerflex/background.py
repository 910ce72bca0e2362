"""Work in the background: the loop that each background thread of the driver runs.

An error that the work does not handle is logged with its stack and counted, and the work is tried again after
a pause. So one unexpected answer never ends a task, and ``/healthz`` says which task fails.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from csi_powerflex import call_context
from csi_powerflex.observability import metrics, tasks
from csi_powerflex.observability.log import Log

log = Log(__name__)

FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0

Step = Callable[[], float | None]
"""One round of the work. It returns the seconds to wait before the next one, or None to end the loop."""


class Loop:
    """Calls ``step`` in a daemon thread, again and again, from ``start`` to ``stop``.

    Args:
        name: the name of the task, for the thread, the log, the metrics and ``/healthz``.
        step: one round of the work.
        first_pause: seconds to wait after an unexpected error. The pause doubles with each further one.
        longest_pause: the longest of these pauses, in seconds.
    """

    def __init__(
        self,
        name: str,
        step: Step,
        *,
        first_pause: float = FIRST_PAUSE_SECONDS,
        longest_pause: float = _LONGEST_PAUSE_SECONDS,
    ) -> None:
        self.name = name
        self._step = step
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._failures = 0
        self._stopping = False
        self._changed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin with the first round at once."""
        self._thread.start()

    def wake(self) -> None:
        """End the present pause, so that the next round begins now; during a round, one more follows it."""
        self._changed.set()

    def request_stop(self) -> None:
        """Begin no further round."""
        self._stopping = True
        self._changed.set()

    def stop(self, timeout: float | None = None) -> bool:
        """Begin no further round, and wait for the end of the one under way.

        Args:
            timeout: how many seconds to wait at most; None for no limit.

        Returns:
            Whether the loop has ended. A round that hangs is left behind: its thread is a daemon.
        """
        self.request_stop()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self.running

    @property
    def running(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def stopping(self) -> bool:
        """Whether ``stop`` was asked for. A long round looks at it and ends early."""
        return self._stopping

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._changed.clear()
                with call_context.background(self.name):
                    pause = self._round()
                if pause is None:
                    return
                self._wait(pause)
        finally:
            tasks.report_success(self.name)

    def _round(self) -> float | None:
        """One round. Returns the pause after it in seconds, or None to end."""
        try:
            pause = self._step()
        except Exception as error:  # noqa: BLE001 - the task must continue after any error
            self._failures += 1
            metrics.BACKGROUND_ERRORS.labels(tasks.kind(self.name)).inc()
            log.unexpected("background task failed", error, failures=self._failures)
            tasks.report_failure(self.name, f"unexpected {type(error).__name__}")
            return float(min(self._first_pause * 2 ** min(self._failures - 1, 32), self._longest_pause))
        if self._failures:
            log.info("background task works again", failures=self._failures)
            self._failures = 0
        tasks.report_success(self.name)
        return pause

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and (left := until - time.monotonic()) > 0:
            # A wait of more than the platform's limit fails, so a long wait is divided into parts.
            if self._changed.wait(min(left, 3600.0)):
                return
