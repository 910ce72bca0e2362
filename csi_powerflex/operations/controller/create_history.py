"""The results of recent attempts to create volumes, as far as this process knows them.

The history saves requests when a creation is repeated. Where several systems could hold the volume, it also
prevents a second one: names are unique on one system, but not across systems.
"""

from __future__ import annotations

import collections
import threading
from dataclasses import dataclass

# Forgetting an attempt without an answer could lead to a second volume, if the creation is repeated while its
# system is down.
_MAX_CREATED = 16384
_MAX_UNKNOWN = 65536

_Key = tuple[str, str]
"""A system's label, and a name on it."""


@dataclass(frozen=True, slots=True)
class UngrownCopy:
    """A copy that could not be grown and may still exist: its id, and its size in bytes."""

    volume_id: str
    size: int


class CreateHistory:
    """Volumes created recently, and attempts whose result is not known; safe to share between threads."""

    def __init__(self, *, max_created: int = _MAX_CREATED, max_unknown: int = _MAX_UNKNOWN) -> None:
        self._max_created = max_created
        self._max_unknown = max_unknown
        self._lock = threading.Lock()
        self._created: collections.OrderedDict[_Key, str] = collections.OrderedDict()
        self._ungrown: collections.OrderedDict[_Key, UngrownCopy] = collections.OrderedDict()
        self._unknown: collections.OrderedDict[_Key, None] = collections.OrderedDict()

    def record_created(self, label: str, name: str, volume_id: str) -> None:
        """The volume of that name exists on the system."""
        with self._lock:
            self._unknown.pop((label, name), None)
            self._created[(label, name)] = volume_id
            if len(self._created) > self._max_created:
                self._created.popitem(last=False)

    def record_absent(self, label: str, name: str) -> None:
        """The system has no volume of that name."""
        with self._lock:
            self._unknown.pop((label, name), None)
            self._created.pop((label, name), None)

    def record_unknown(self, label: str, name: str) -> None:
        """An attempt on the system ended without an answer: the volume may exist now, or soon."""
        with self._lock:
            self._unknown[(label, name)] = None
            if len(self._unknown) > self._max_unknown:
                self._unknown.popitem(last=False)

    def record_ungrown(self, label: str, name: str, copy: UngrownCopy) -> None:
        """A call has created the copy and could not grow it, and is about to remove it."""
        with self._lock:
            self._ungrown[(label, name)] = copy
            if len(self._ungrown) > self._max_created:
                self._ungrown.popitem(last=False)

    def forget_ungrown(self, label: str, name: str) -> None:
        """The copy was removed, or is of use for another call."""
        with self._lock:
            self._ungrown.pop((label, name), None)

    def ungrown(self, label: str, name: str) -> UngrownCopy | None:
        """The copy that an earlier call could neither grow nor remove; else None."""
        with self._lock:
            return self._ungrown.get((label, name))

    def created_id(self, label: str, name: str) -> str | None:
        """The id of a volume that was created recently, which may have been deleted since; else None."""
        with self._lock:
            return self._created.get((label, name))

    def may_exist(self, label: str, name: str) -> bool:
        """Whether the volume was created on the system, or may have been, and was not found absent since."""
        with self._lock:
            return (label, name) in self._unknown or (label, name) in self._created
