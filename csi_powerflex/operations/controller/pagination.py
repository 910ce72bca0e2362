"""Lists returned page by page, all pages from one request to the array.

A list is kept for some minutes, or until newer lists need its memory. So all its pages are of one time: no
item is missed or returned twice while volumes are created and deleted.
"""

from __future__ import annotations

import bisect
import collections
import itertools
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

from csi_powerflex import units
from csi_powerflex.errors import Expired, InvalidArgument

Item = TypeVar("Item")

# Lists of three times, of the largest array. Callers that come at the same time share one of them.
_MAX_KEPT_ITEMS = 3 * 131_072
# A call that comes during a list gets the next one, so callers at the same time have two.
_LEAST_KEPT = 2
_KEPT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items of a list.

    Attributes:
        whole: the list.
        places: where its items of this page are.
        next_token: the token for the page that follows; empty on the last page.
        key: the same only for the same page of the same list; empty for a list that has this page only.
    """

    whole: Sequence[Item]
    places: range
    next_token: str
    key: str

    def __iter__(self) -> Iterator[Item]:
        """The items, one after another: a ``LazyList`` makes each when it is its turn."""
        return map(self.whole.__getitem__, self.places)


class LazyList(Sequence[Item]):
    """Items that are made each time they are read: as objects, all of them would need much memory.

    Args:
        source: what the items are made from. Lists of one source share its memory.
        parts: the positions of the items in a part of the source, and the function that makes one.
    """

    def __init__(self, source: Sized, parts: Sequence[tuple[Sequence[int], Callable[[int], Item]]]) -> None:
        self.source = source
        self._parts = parts
        self._ends = list(itertools.accumulate(len(positions) for positions, _ in parts))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        places = range(len(self))[index]
        return self._make(places) if isinstance(places, int) else [self._make(place) for place in places]

    def _make(self, place: int) -> Item:
        number = bisect.bisect_right(self._ends, place)
        positions, make = self._parts[number]
        return make(positions[place - self._ends[number]])


@dataclass(slots=True)
class _Kept:
    """A list, until when it is kept, and what it needs memory for."""

    items: Sequence[Any]
    until: float
    source: Sized


class KeptLists:
    """The lists whose next pages may still be asked for; safe to share between threads.

    Args:
        clock: a monotonic clock in seconds.
        max_kept_items: how many items the sources of all lists may have. The source that was not used for
            the longest time is dropped first; the two that were used last stay in any case.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, max_kept_items: int = _MAX_KEPT_ITEMS
    ) -> None:
        self._clock = clock
        self._max_kept_items = max_kept_items
        self._lock = threading.Lock()
        # By name, in the order of their last use.
        self._lists: collections.OrderedDict[str, _Kept] = collections.OrderedDict()

    def keep(self, kind: str, items: Sequence[Any]) -> str:
        """Keep a list; returns its name, which begins with ``kind``. A list that is kept already has one."""
        source = items.source if isinstance(items, LazyList) else items
        until = self._clock() + _KEPT_SECONDS
        with self._lock:
            self._drop_expired()
            known = (name for name, kept in self._lists.items() if kept.items is items)
            name = next(known, None) or f"{kind}{secrets.token_hex(8)}"
            self._lists[name] = _Kept(items, until, source)
            self._lists.move_to_end(name)
            while self._needs_memory():
                self._drop_oldest()
        return name

    def find(self, name: str) -> Sequence[Any] | None:
        """The list of this name, if it is still kept."""
        with self._lock:
            self._drop_expired()
            kept = self._lists.get(name)
            if kept is None:
                return None
            self._lists.move_to_end(name)
            return kept.items

    def _needs_memory(self) -> bool:
        sources = {id(kept.source): kept.source for kept in self._lists.values()}
        return len(sources) > _LEAST_KEPT and sum(map(len, sources.values())) > self._max_kept_items

    def _drop_oldest(self) -> None:
        """Drop the lists of the source that was not used for the longest time."""
        last_use = {id(kept.source): number for number, kept in enumerate(self._lists.values())}
        oldest = min(last_use, key=last_use.__getitem__)
        for name in [name for name, kept in self._lists.items() if id(kept.source) == oldest]:
            del self._lists[name]

    def _drop_expired(self) -> None:
        now = self._clock()
        for name in [name for name, kept in self._lists.items() if kept.until <= now]:
            del self._lists[name]


class Paginator(Generic[Item]):
    """The pages of one kind of list.

    Args:
        kept: where lists are kept until their last page.
        kind: a letter that tells these lists from others there. A token of another kind is not known.
    """

    def __init__(self, kept: KeptLists, kind: str) -> None:
        self._kept = kept
        self._kind = kind

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
            name, start, items = self._found(token)
        else:
            name, start, items = "", 0, read()
        end = len(items) if max_entries == 0 else min(start + max_entries, len(items))
        if end < len(items) and not name:
            name = self._kept.keep(self._kind, items)
        return Page(
            items,
            range(start, end),
            next_token=f"{name}.{end}" if end < len(items) else "",
            key=f"{name}.{start}-{end}" if name else "",
        )

    def _found(self, token: str) -> tuple[str, int, Sequence[Item]]:
        name, _, position = token.partition(".")
        items = self._kept.find(name) if name.startswith(self._kind) else None
        start = units.whole_number(position, digits=9)
        if items is None or start is None:
            raise Expired("the list of this token is no longer kept; start the list again without a token")
        return name, min(start, len(items)), items
