"""Pages of lists that several callers read at the same time: each page becomes a message once.

Callers that come at the same time page through one list of the array together. To make the messages takes
most of the time of a list.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from csi_powerflex.operations.controller.pagination import Page

Item = TypeVar("Item")
Answer = TypeVar("Answer", bound=Message)

# The message of a page of 4,000 volumes has about 3 MiB. Callers of one list are at about the same page.
_MOST_PAGES = 4


class _Entry(Generic[Answer]):
    """A page that is made, or is to be made by the first that holds the lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.answer: Answer | None = None


class SharedPages:
    """The pages that were read last; safe to share between threads.

    Args:
        most: how many pages are kept.
    """

    def __init__(self, most: int = _MOST_PAGES) -> None:
        self._most = most
        self._lock = threading.Lock()
        # By the key of the page, in the order of their last use. A key is of one kind of list.
        self._entries: collections.OrderedDict[str, _Entry[Any]] = collections.OrderedDict()

    def answer(self, page: Page[Item], make: Callable[[Page[Item]], Answer]) -> Answer:
        """The message of ``page``, made by ``make`` if no other caller had it made. It must not be changed.

        A page stays the same as long as its list is kept, so its message does not become old.
        """
        if not page.key:
            return make(page)
        entry: _Entry[Answer] = self._entry(page.key)
        with entry.lock:
            if entry.answer is None:
                entry.answer = make(page)
            return entry.answer

    def _entry(self, key: str) -> _Entry[Any]:
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            if len(self._entries) > self._most:
                self._entries.popitem(last=False)
            return entry
