"""The threads that serve calls. One that hangs does not keep the process from ending.

The interpreter waits at its end for every thread of the standard library's pool, and so for a call that waits
for a dead device or array; the orchestrator's only way out is kill -9 then. Threads of this pool are daemons:
what they are in the middle of is cut as a kill would cut it, and repeated after the restart.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

_Work = tuple["Future[Any]", Callable[[], Any]]


class Workers(Executor):
    """At most ``count`` threads, started as they are needed."""

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._guard = threading.Lock()
        self._closed = False
        self._busy = 0
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Have ``fn`` called by a thread, as soon as one is free.

        Raises:
            RuntimeError: the pool is shut down.
        """
        future: Future[_T] = Future()
        with self._guard:
            if self._closed:
                raise RuntimeError("the pool of workers is shut down")
            self._work.put((future, lambda: fn(*args, **kwargs)))
            if not self._idle.acquire(blocking=False) and len(self._threads) < self._count:
                name = f"{self._name}_{len(self._threads)}"
                thread = threading.Thread(target=self._serve, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more work; the threads end when what was taken is done.

        Args:
            wait: for that end.
            cancel_futures: drop what no thread has begun yet.
        """
        with self._guard:
            self._closed = True
            while cancel_futures and not self._work.empty():
                dropped = self._work.get()
                if dropped is not None:
                    dropped[0].cancel()
            for _ in self._threads:
                self._work.put(None)
        for thread in self._threads if wait else ():
            thread.join()

    def busy(self) -> int:
        """How many threads are in the middle of something."""
        with self._guard:
            return self._busy

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            self._count_busy(1)
            _do(*work)
            del work  # a thread that waits keeps nothing of the last call alive
            self._count_busy(-1)
            self._idle.release()

    def _count_busy(self, change: int) -> None:
        with self._guard:
            self._busy += change


def _do(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - handed over to whoever asks the future
        future.set_exception(error)
    else:
        future.set_result(result)
