"""What clients asked of a gateway, for tests to count and people to read."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase

_KEPT = 200_000


@dataclass(slots=True)
class Entry:
    """One request. ``status`` is 0 while it is being handled and when no answer was sent.

    ``started`` is seconds since the epoch, ``seconds`` how long it took, ``route`` a name such as
    ``Volume.addMappedSdc``, ``trouble`` the kinds of fault that were done to it.
    """

    number: int
    started: float
    method: str
    path: str
    route: str
    connection: str
    status: int = 0
    seconds: float = 0.0
    faults: tuple[str, ...] = ()


class RequestLog:
    """The requests of one gateway, the oldest forgotten first."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=_KEPT)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def add(self, *, started: float, method: str, path: str, route: str, connection: str) -> Entry:
        """Note a request that has arrived; the caller fills in how it ended."""
        with self._lock:
            entry = Entry(next(self._numbers), started, method, path, route, connection)
            self._entries.append(entry)
        return entry

    @property
    def last(self) -> int:
        """The number of the newest request; 0 when there is none."""
        with self._lock:
            return self._entries[-1].number if self._entries else 0

    def clear(self) -> None:
        """Forget all requests; the numbers go on."""
        with self._lock:
            self._entries.clear()

    def find(
        self,
        *,
        since: int = 0,
        method: str = "*",
        path: str = "*",
        route: str = "*",
        status: int | None = None,
    ) -> list[Entry]:
        """The requests after number ``since`` that match; ``*`` stands for anything in the patterns."""
        with self._lock:
            newest = list(itertools.takewhile(lambda entry: entry.number > since, reversed(self._entries)))
        return [
            entry
            for entry in reversed(newest)
            if fnmatchcase(entry.method, method)
            and fnmatchcase(entry.path, path)
            and fnmatchcase(entry.route, route)
            and status in (None, entry.status)
        ]

    @contextmanager
    def watching(self) -> Iterator[list[Entry]]:
        """The requests made within the block: the list is filled when it ends."""
        since = self.last
        seen: list[Entry] = []
        try:
            yield seen
        finally:
            seen += self.find(since=since)
