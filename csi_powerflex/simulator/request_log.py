"""The log of the requests to a gateway, for tests and for people."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase

_MAX_ENTRIES = 200_000


@dataclass(slots=True)
class Entry:
    """One request.

    ``status`` is 0 until the answer is ready, and stays 0 if there is no answer. ``started`` is seconds
    since the epoch. ``seconds`` is the duration. ``route`` is a name such as ``Volume.addMappedSdc``.
    ``faults`` are the kinds of the faults that struck the request.
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
    """The latest 200,000 requests of one gateway."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=_MAX_ENTRIES)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def add(self, *, started: float, method: str, path: str, route: str, connection: str) -> Entry:
        """Add a new request. The caller sets the other fields of the entry later."""
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
        """Remove all requests. Numbers are not used again."""
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
        """The requests after number ``since`` that match. Patterns may contain ``*``."""
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
        """The requests during the block. The list is filled when the block ends."""
        since = self.last
        seen: list[Entry] = []
        try:
            yield seen
        finally:
            seen += self.find(since=since)
