"""Lists handed out page by page, from one look at the array.

A list is kept until its time is over or too many newer ones came, so its pages are of one moment: nothing is
missed or doubled while volumes come and go.
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

# Together: a list of all that the largest array holds, with room for some of ordinary length.
_KEPT_ITEMS = 200_000
_KEPT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items, and the token for those that follow, empty at the end."""

    items: Sequence[Item]
    next_token: str


class Paginator(Generic[Item]):
    """The lists whose pages are still being asked for; safe to share between threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._lists: collections.OrderedDict[str, tuple[float, Sequence[Item]]] = collections.OrderedDict()

    def page(self, read: Callable[[], Sequence[Item]], *, token: str, max_entries: int) -> Page[Item]:
        """The page that ``token`` names, or the first one of what ``read`` returns; at most ``most`` items.

        ``most`` 0 means no limit (specification, ListVolumes).

        Raises:
            InvalidArgument: ``most`` is negative.
            Expired: the token is not one of ours, or its list is no longer kept.
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
            self._drop_old()
            self._lists[name] = (self._clock() + _KEPT_SECONDS, items)
            while len(self._lists) > 1 and sum(len(kept) for _, kept in self._lists.values()) > _KEPT_ITEMS:
                self._lists.popitem(last=False)
        return name

    def _kept(self, token: str) -> tuple[str, int, Sequence[Item]]:
        name, _, candidate = token.partition(".")
        with self._lock:
            self._drop_old()
            kept = self._lists.get(name)
        start = units.whole_number(candidate, digits=9)
        if kept is None or start is None:
            raise Expired("the token's list is not kept, or not any more; start again without a token")
        return name, min(start, len(kept[1])), kept[1]

    def _drop_old(self) -> None:
        now = self._clock()
        for name in [name for name, (until, _) in self._lists.items() if until <= now]:
            del self._lists[name]
