"""Lists returned page by page, all pages from one request to the array.

A list is kept for some minutes, or until newer lists need its memory. So all its pages are of one time: no
item is missed or returned twice while volumes are created and deleted.
"""

from __future__ import annotations

import collections
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from csi_powerflex import units
from csi_powerflex.errors import Expired, InvalidArgument

Item = TypeVar("Item")

# Enough for the longest list of the largest array and some ordinary lists.
_MAX_KEPT_ITEMS = 200_000
_KEPT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items, and the token for the page that follows; it is empty on the last page."""

    items: Sequence[Item]
    next_token: str


class Paginator(Generic[Item]):
    """The lists whose next pages may still be asked for; safe to share between threads."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, max_kept_items: int = _MAX_KEPT_ITEMS
    ) -> None:
        self._clock = clock
        self._max_kept_items = max_kept_items
        self._lock = threading.Lock()
        self._lists: collections.OrderedDict[str, tuple[float, Sequence[Item]]] = collections.OrderedDict()

    def page(self, read: Callable[[], Sequence[Item]], *, token: str, max_entries: int) -> Page[Item]:
        """One page.

        Args:
            read: returns the whole list; called where ``token`` is empty.
            token: the page to return; empty for the first page of a new list.
            max_entries: the most items on the page; 0 means no limit (specification, ListVolumes).

        Raises:
            InvalidArgument: ``max_entries`` is negative.
            Expired: the token is not known, or its list is no longer kept.
        """
        if max_entries < 0:
            raise InvalidArgument(f"max_entries cannot be negative: {max_entries}")
        if token:
            name, start, items = self._kept(token)
        else:
            name, start, items = "", 0, read()
        end = len(items) if max_entries == 0 else min(start + max_entries, len(items))
        if end == len(items):
            return Page(items[start:end], "")
        return Page(items[start:end], f"{name or self._keep(items)}.{end}")

    def _keep(self, items: Sequence[Item]) -> str:
        name = secrets.token_hex(8)
        with self._lock:
            self._drop_expired()
            self._lists[name] = (self._clock() + _KEPT_SECONDS, items)
            while len(self._lists) > 1 and self._kept_items() > self._max_kept_items:
                self._lists.popitem(last=False)
        return name

    def _kept_items(self) -> int:
        return sum(len(items) for _, items in self._lists.values())

    def _kept(self, token: str) -> tuple[str, int, Sequence[Item]]:
        name, _, position = token.partition(".")
        with self._lock:
            self._drop_expired()
            kept = self._lists.get(name)
        start = units.whole_number(position, digits=9)
        if kept is None or start is None:
            raise Expired("the list of this token is no longer kept; start the list again without a token")
        return name, min(start, len(kept[1])), kept[1]

    def _drop_expired(self) -> None:
        now = self._clock()
        for name in [name for name, (until, _) in self._lists.items() if until <= now]:
            del self._lists[name]
