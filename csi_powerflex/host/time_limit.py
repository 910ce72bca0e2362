"""A time limit for calls that a filesystem or device without answer could block.

A thread that waits in the kernel cannot be ended, so it is abandoned. While a call for a subject is blocked,
no second call is made for it. So the number of abandoned threads is at most the number of subjects that do
not answer.
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
    """Makes calls that may take at most ``seconds`` each, within the deadline of the current RPC."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._guard = threading.Lock()
        self._blocked: set[str] = set()

    def call(self, subject: str, function: Callable[[], _Answer]) -> _Answer:
        """What ``function`` returns or raises. ``subject`` is what it asks, such as a path.

        Raises:
            DeadlineExceeded: ``function`` did not end in time, or an earlier call for ``subject`` has not
                ended.
        """
        limit = call_context.remaining(self._seconds)
        with self._guard:
            if subject in self._blocked:
                raise DeadlineExceeded(f"{subject} does not answer, and has not since an earlier call")
            self._blocked.add(subject)
        answer: Future[_Answer] = Future()
        threading.Thread(
            target=self._run, args=(subject, function, answer), name="time-limit", daemon=True
        ).start()
        try:
            return answer.result(timeout=limit)
        except FutureTimeout:
            raise DeadlineExceeded(f"{subject} did not answer within {limit:.1f} s") from None

    def _run(self, subject: str, function: Callable[[], _Answer], answer: Future[_Answer]) -> None:
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 - the caller gets it, of any kind
            self._ended(subject)
            answer.set_exception(error)
        else:
            self._ended(subject)
            answer.set_result(result)

    def _ended(self, subject: str) -> None:
        with self._guard:
            self._blocked.discard(subject)
