"""One read of a kind at a time, for all callers.

The list of all volumes of a large array takes hundreds of megabytes while it is decoded. Several at once
could exceed the memory of the process. And when a cache is empty, a hundred calls at the same time need its
content. One read is enough for all of them.
"""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from csi_powerflex import call_context
from csi_powerflex.errors import DeadlineExceeded

T = TypeVar("T")

_LONGEST_PAUSE = 0.25


class SharedRead(Generic[T]):
    """Calls ``read`` for all callers, once at a time.

    A caller never gets the result of a read that began before its call: it could miss what the caller has
    just created. So a caller that comes during a read waits for the next one, which all such callers share.

    Args:
        read: the read. Its result must not be changed, because several callers get it.
        seconds: the longest wait for the read of another caller.
        pause: before a read begins, callers may join it for this share of the time that the last one took.
            Callers that come at the same time then need one read instead of two.
    """

    def __init__(self, read: Callable[[], T], *, seconds: float, pause: float = 0.0) -> None:
        self._read = read
        self._seconds = seconds
        self._pause = pause
        self._took = 0.0
        self._lock = threading.Lock()
        self._running: concurrent.futures.Future[T] | None = None
        self._next: concurrent.futures.Future[T] | None = None

    def get(self) -> T:
        """The result of a read that begins after this call.

        Raises:
            DeadlineExceeded: the time of the current call is over.
            DriverError: the error of the read.
        """
        return self._get(running_will_do=False)

    def get_unless(self, kept: Callable[[], T | None]) -> T:
        """What ``kept`` returns, now or after the read under way has ended. A new read if that is None.

        It is for a cache that the read fills, so that callers which find it empty need one read and not two.

        Args:
            kept: returns the content of the cache, or None if it does not answer this caller. It must not
                wait for a lock, because it is also called while no read can begin.

        Raises:
            DeadlineExceeded, DriverError: as ``get``.
        """
        found = kept()
        if found is not None:
            return found
        own: concurrent.futures.Future[T] | None = None
        with self._lock:
            under_way = self._running or self._next
            if under_way is None:
                # A read may have ended since the first look.
                found = kept()
                if found is None:
                    own = self._next = concurrent.futures.Future()
        if own is not None:
            return self._lead(own, None)
        if under_way is not None:
            _wait(under_way, call_context.remaining(self._seconds))
            found = kept()
        return self._get(running_will_do=True) if found is None else found

    def _get(self, *, running_will_do: bool) -> T:
        """The result of the next read, or of the one that runs if it began after the call."""
        while True:
            with self._lock:
                running = self._running
                others = running if running_will_do and running is not None else self._next
                shared = others or concurrent.futures.Future()
                if others is None:
                    self._next = shared
            if others is None:
                return self._lead(shared, running)
            try:
                return shared.result(timeout=call_context.remaining(2 * self._seconds))
            except concurrent.futures.TimeoutError as error:
                raise _too_long() from error
            except DeadlineExceeded:
                # The deadline of the call that reads has passed. The deadline of this call may be later.
                call_context.remaining(self._seconds)

    def _lead(self, own: concurrent.futures.Future[T], running: concurrent.futures.Future[T] | None) -> T:
        """Read for this caller and all that wait for ``own``, after ``running`` has ended."""
        try:
            if running is not None:
                _wait(running, call_context.remaining(self._seconds))
            if self._pause and self._took:
                time.sleep(call_context.remaining(min(self._pause * self._took, _LONGEST_PAUSE)))
            with self._lock:
                self._running, self._next = own, None
            began = time.monotonic()
            result = self._read()
            self._took = time.monotonic() - began
        except BaseException as error:
            self._end(own)
            own.set_exception(error)
            raise
        self._end(own)
        own.set_result(result)
        return result

    def _end(self, own: concurrent.futures.Future[T]) -> None:
        with self._lock:
            if self._next is own:
                self._next = None
            if self._running is own:
                self._running = None


def _wait(running: concurrent.futures.Future[T], seconds: float) -> None:
    """Wait until the read has ended, however it ends.

    Raises:
        DeadlineExceeded: it has not ended in time.
    """
    concurrent.futures.wait([running], timeout=seconds)
    if not running.done():
        raise _too_long()


def _too_long() -> DeadlineExceeded:
    return DeadlineExceeded("the list of another call took too long; repeat the call")
