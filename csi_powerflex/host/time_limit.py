"""Calls that a dead filesystem or device could hang, made in threads that can be given up.

A thread that waits in the kernel cannot be ended. It is left behind, once for each subject: while it hangs,
nobody asks the same again, so the number of threads that are lost is the number of things that are dead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, TimeoutError as FutureTimeout
from typing import TypeVar

from csi_powerflex import call_context
from csi_powerflex.errors import DeadlineExceeded

_Answer = TypeVar("_Answer")


class TimeLimit:
    """Makes calls with a limit of ``seconds`` each, and of the deadline of the call being served."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._guard = threading.Lock()
        self._hanging: set[str] = set()

    def call(self, subject: str, ask: Callable[[], _Answer]) -> _Answer:
        """What ``ask`` returns or raises; ``subject`` names what is asked, such as a path.

        Raises:
            DeadlineExceeded: no answer came in time, or an earlier one is still awaited.
        """
        limit = call_context.remaining(self._seconds)
        with self._guard:
            if subject in self._hanging:
                raise DeadlineExceeded(f"{subject} does not answer, and has not since an earlier call")
            self._hanging.add(subject)
        answer: Future[_Answer] = Future()
        threading.Thread(target=self._make, args=(subject, ask, answer), name="bounded", daemon=True).start()
        try:
            return answer.result(timeout=limit)
        except FutureTimeout:
            raise DeadlineExceeded(f"{subject} did not answer within {limit:.1f} s") from None

    def _make(self, subject: str, ask: Callable[[], _Answer], answer: Future[_Answer]) -> None:
        try:
            result = ask()
        except BaseException as error:  # noqa: BLE001 - handed over to the caller, whatever it is
            self._answered(subject)
            answer.set_exception(error)
        else:
            self._answered(subject)
            answer.set_result(result)

    def _answered(self, subject: str) -> None:
        with self._guard:
            self._hanging.discard(subject)
