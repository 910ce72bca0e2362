"""A time limit for calls that a filesystem or device without answer could block.

A thread that waits in the kernel cannot be ended, so it is abandoned. While a call about a subject is under
way, later callers wait for its answer, and no second call is made. So the number of abandoned threads is at
most the number of subjects that do not answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from typing import Any, TypeVar

from csi_powerflex import call_context, units
from csi_powerflex.errors import DeadlineExceeded

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class _Call:
    """A call under way: when it began, by ``time.monotonic()``, and its answer."""

    began: float = field(default_factory=time.monotonic)
    answer: Future[Any] = field(default_factory=Future)


class TimeLimit:
    """Makes calls that may take at most ``seconds`` each, within the deadline of the current RPC."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._guard = threading.Lock()
        self._calls: dict[tuple[str, str], _Call] = {}

    def call(self, question: str, subject: str, function: Callable[[], _Answer]) -> _Answer:
        """What ``function`` returns or raises.

        Args:
            question: what is asked, such as "usage". Callers with the same question and subject share an
                answer.
            subject: what is asked, such as a path.

        Raises:
            DeadlineExceeded: ``function`` did not end in time.
        """
        limit = call_context.remaining(self._seconds)
        call = self._under_way((question, subject), function)
        age = time.monotonic() - call.began
        if age > self._seconds:
            raise DeadlineExceeded(f"{subject} does not answer, and has not for {units.at_least(age)}")
        try:
            answer: _Answer = call.answer.result(timeout=min(limit, self._seconds - age))
        except FutureTimeout:
            if call.answer.done():
                raise call.answer.exception() or DeadlineExceeded(f"{subject} answered too late") from None
            waited = time.monotonic() - call.began
            raise DeadlineExceeded(f"{subject} did not answer within {units.seconds(waited)}") from None
        return answer

    def _under_way(self, key: tuple[str, str], function: Callable[[], _Answer]) -> _Call:
        with self._guard:
            call = self._calls.get(key)
            if call is None:
                call = self._calls[key] = _Call()
                threading.Thread(
                    target=self._run, args=(key, function, call.answer), name="time-limit", daemon=True
                ).start()
            return call

    def _run(self, key: tuple[str, str], function: Callable[[], _Answer], answer: Future[_Answer]) -> None:
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 - the callers get it, of any kind
            self._ended(key)
            answer.set_exception(error)
        else:
            self._ended(key)
            answer.set_result(result)

    def _ended(self, key: tuple[str, str]) -> None:
        with self._guard:
            del self._calls[key]
