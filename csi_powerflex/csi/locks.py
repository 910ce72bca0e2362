"""Locks by key that are taken at once or refused, never waited for.

A second call for a volume whose first call still runs gets ABORTED and comes back later (specification,
"Secrets, errors, concurrency": an operation pending for the volume), so nothing queues behind a hung one.
They hold within this process; across replicas the sidecars' leader election and the array's unique names do.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator

from csi_powerflex.errors import Busy


class Locks:
    """The keys in use right now."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._holders: dict[str, str] = {}

    @contextlib.contextmanager
    def holding(self, keys: Iterable[str], holder: str) -> Iterator[None]:
        """Hold all ``keys`` for the block, on behalf of ``holder`` (named to whoever is refused).

        Raises:
            Busy: one of them is held; none was taken.
        """
        wanted = frozenset(keys)
        with self._guard:
            for key in wanted:
                if key in self._holders:
                    raise Busy(f"{self._holders[key]} is still under way for {key}; try again later")
            self._holders.update(dict.fromkeys(wanted, holder))
        try:
            yield
        finally:
            with self._guard:
                for key in wanted:
                    del self._holders[key]
