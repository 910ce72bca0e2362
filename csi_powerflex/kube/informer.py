"""Following all objects of one resource, by a list and then by watches that resume one another.

It calls back on each change. So its user needs no request to know the present state of the cluster, and still
knows it while the API does not answer.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Generic

from csi_powerflex import call_context
from csi_powerflex.background import Loop
from csi_powerflex.errors import DriverError, Expired, Unavailable
from csi_powerflex.kube.client import Client, T, Watch
from csi_powerflex.observability.log import Log

log = Log(__name__)

# Random, so that informers that began at the same time do not ask again at the same time.
_WATCH_SECONDS = (240.0, 300.0)
# A watch that ends sooner does not work: it is repeated with pauses.
_SHORT_WATCH_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
# The API may refuse a version in other ways than with 410, for example after etcd was restored from a backup.
_FAILURES_BEFORE_LIST = 5
_SYNC_SECONDS = 30.0
_MAX_WAITING = 8
_STOP_SECONDS = 5.0

Changed = Callable[[T | None, T | None], None]
"""Called with an object before and after a change: None before it was added, None after it was removed."""


class Informer(Generic[T]):
    """Follows the objects of a resource from ``start`` to ``close``, in a thread of its own.

    Args:
        client: how to reach the cluster.
        resource: the path of the resource, such as ``/api/v1/persistentvolumes``.
        kind: the type to decode objects as.
        changed: called on each change, from one thread. After an unexpected error it is called again for the
            same change.
        relevant: objects for which this is False are treated as if they did not exist.
        first_pause: seconds to wait after the first of several failures; the pause doubles each time.
    """

    def __init__(
        self,
        client: Client,
        resource: str,
        kind: type[T],
        changed: Changed[T],
        *,
        relevant: Callable[[T], bool] = lambda _: True,
        first_pause: float = 0.5,
    ) -> None:
        self._client = client
        self._resource = resource
        self._kind = kind
        self._changed = changed
        self._relevant = relevant
        self._first_pause = first_pause
        self._name = resource.rpartition("/")[2]
        self._objects: dict[tuple[str, str], T] = {}
        # Where the next watch resumes; empty before a list.
        self._version = ""
        self._synced = threading.Event()
        self._waiting = threading.Semaphore(_MAX_WAITING)
        self._failures = 0
        self._error: DriverError | None = None
        self._watch: Watch[T] | None = None
        self._loop = Loop(f"informer {self._name}", self.step)

    def start(self) -> None:
        """Begin to follow."""
        self._loop.start()

    def close(self) -> None:
        """Stop following, and wait for the thread. If a request hangs, the thread is left behind."""
        self._loop.request_stop()
        # The thread sets it and then looks whether it has to stop. So a watch is interrupted or never begins.
        if (watch := self._watch) is not None:
            watch.interrupt()
        self._loop.stop(_STOP_SECONDS)

    def wait_until_synced(self, seconds: float = _SYNC_SECONDS) -> None:
        """Wait for the first list, at most ``seconds`` and within the time of the current call.

        Raises:
            Unavailable: it is not there in time, or enough other calls wait for it.
            DeadlineExceeded: no time is left for the current call.
        """
        if self._synced.is_set():
            return
        # A call that waits holds a worker. The others are repeated by their callers.
        if self._waiting.acquire(blocking=False):
            try:
                if self._synced.wait(call_context.remaining(seconds)):
                    return
            finally:
                self._waiting.release()
        raise Unavailable(
            f"the Kubernetes API has not listed its {self._name} yet: {self._error or 'no answer'}"
        )

    def step(self) -> float:
        """List if necessary, then watch until the watch ends. Returns the seconds until the next call."""
        try:
            if not self._version:
                self._list()
            seconds = self._follow()
        except Expired as error:
            log.info("Kubernetes objects are listed again", resource=self._resource, reason=error)
            self._version = ""
            return self._pause()
        except DriverError as error:
            self._report(error)
            if self._failures >= _FAILURES_BEFORE_LIST:
                self._version = ""
            return self._pause()
        if seconds < _SHORT_WATCH_SECONDS:
            return self._pause()
        self._failures = 0
        return 0.0

    def _list(self) -> None:
        """Call back for each difference between the objects as they are known and as they are."""
        listing = self._client.list(self._resource, self._kind)
        self._report(None)
        found = {_key(item): item for item in listing.items if self._relevant(item)}
        for key in [*self._objects.keys() - found.keys(), *found]:
            self._take(key, found.get(key))
        self._version = listing.resource_version
        self._synced.set()

    def _follow(self) -> float:
        """Watch once. Returns how many seconds the watch took."""
        began = time.monotonic()
        seconds = random.uniform(*_WATCH_SECONDS)  # noqa: S311 - spreads load, hides nothing
        with self._client.watch(self._resource, self._kind, self._version, seconds=seconds) as watch:
            self._report(None)
            self._watch = watch
            try:
                self._take_events(watch)
            finally:
                self._watch = None
        return time.monotonic() - began

    def _take_events(self, watch: Watch[T]) -> None:
        if self._is_stopping():
            return
        for event in watch:
            if self._is_stopping():
                return
            if event.object is not None:
                present = not event.removed and self._relevant(event.object)
                self._take(_key(event.object), event.object if present else None)
            self._version = event.resource_version or self._version

    def _is_stopping(self) -> bool:
        return self._loop.stopping

    def _take(self, key: tuple[str, str], after: T | None) -> None:
        """Call back if the object has changed, then keep it as it is now."""
        before = self._objects.get(key)
        if before is not None and after is not None and before.metadata.uid != after.metadata.uid:
            # It was removed, and another one of the same name was added.
            self._changed(before, None)
            del self._objects[key]
            before = None
        if before != after:
            self._changed(before, after)
        if after is None:
            self._objects.pop(key, None)
        else:
            self._objects[key] = after

    def _pause(self) -> float:
        pause = min(self._first_pause * 2.0 ** min(self._failures, 32), _LONGEST_PAUSE_SECONDS)
        self._failures += 1
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, hides nothing

    def _report(self, error: DriverError | None) -> None:
        """Log the first of several failures of a kind, and the first success after them."""
        if error is not None and type(error) is not type(self._error):
            log.warning("Kubernetes API request failed", resource=self._resource, reason=error)
        elif error is None and self._error is not None:
            log.info("Kubernetes API works again", resource=self._resource)
        self._error = error


def _key(item: T) -> tuple[str, str]:
    return item.metadata.namespace, item.metadata.name
