"""The log of the requests to a gateway, for tests and for people."""

from __future__ import annotations

import itertools
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase

# An entry, its numbers and its place in the queue, as measured. Names of routes and of faults are shared.
_ENTRY_BYTES = 300


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
    """The latest requests of one gateway, as many as fit into ``max_bytes`` of memory. 0 keeps none."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._last = 0
        self._lock = threading.Lock()

    def add(
        self,
        *,
        started: float,
        method: str,
        path: str,
        route: str,
        connection: str,
        faults: tuple[str, ...] = (),
    ) -> Entry:
        """Add a new request. The caller sets the status and the seconds of the entry later."""
        with self._lock:
            self._last += 1
            entry = Entry(
                self._last,
                started,
                sys.intern(method),
                path,
                sys.intern(route),
                sys.intern(connection),
                faults=faults,
            )
            self._entries.append(entry)
            self._bytes += _size(entry)
            self._forget_oldest()
        return entry

    def _forget_oldest(self) -> None:
        while self._bytes > self._max_bytes and self._entries:
            self._bytes -= _size(self._entries.popleft())

    @property
    def last(self) -> int:
        """The number of the newest request; 0 before the first one."""
        return self._last

    @property
    def max_bytes(self) -> int:
        """The memory that the log may take."""
        return self._max_bytes

    def limit(self, max_bytes: int) -> None:
        """Keep as many requests as fit into ``max_bytes``; 0 turns the log off."""
        with self._lock:
            self._max_bytes = max_bytes
            self._forget_oldest()

    def clear(self) -> None:
        """Remove all requests. Numbers are not used again."""
        with self._lock:
            self._entries.clear()
            self._bytes = 0

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


def _size(entry: Entry) -> int:
    """About how many bytes of memory an entry takes."""
    parts = (entry.path, entry.connection, entry.faults)
    return _ENTRY_BYTES + sum(map(sys.getsizeof, parts))
