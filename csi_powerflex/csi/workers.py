"""The threads that serve calls. A call that hangs does not prevent the end of the process.

At its end, Python waits for all threads of the standard library's pool, and so for calls that wait for a dead
device or array. Only SIGKILL would end such a process. The threads of this pool are daemons: the end of the
process interrupts their calls, as SIGKILL does. The orchestrator repeats these calls after the restart.
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
    """A pool of threads, which are started as they are needed.

    Args:
        count: the most threads that are started.
        name: the first part of the names of the threads.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._guard = threading.Lock()
        self._closed = False
        self._busy = 0
        self._threads: list[threading.Thread] = []
        # Threads that wait for work, less the work that waits for them.
        self._idle = 0
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Call ``fn`` in a thread, as soon as one is free.

        Raises:
            RuntimeError: the pool is shut down.
        """
        future: Future[_T] = Future()
        with self._guard:
            if self._closed:
                raise RuntimeError("the pool of workers is shut down")
            self._work.put((future, lambda: fn(*args, **kwargs)))
            if self._idle:
                self._idle -= 1
            elif len(self._threads) < self._count:
                name = f"{self._name}_{len(self._threads)}"
                thread = threading.Thread(target=self._serve, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more work. The threads end when the accepted work is done.

        Args:
            wait: whether to wait for the end of the threads.
            cancel_futures: whether to cancel the work that no thread has begun.
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
        """How many threads work at the present time."""
        with self._guard:
            return self._busy

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            with self._guard:
                self._busy += 1
            _do(*work)
            del work  # otherwise a waiting thread would keep the objects of the last call in memory
            with self._guard:
                self._busy -= 1
                self._idle += 1


def _do(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - the future hands it to the caller
        future.set_exception(error)
    else:
        future.set_result(result)
