"""What became of the latest attempts to create volumes, as far as this process knows.

It saves requests when a creation is repeated, and where several systems could hold the volume it keeps a
repetition from making a second one. Names on one system are unique; nothing keeps them so across systems.
"""

from __future__ import annotations

import collections
import threading

# Forgetting one could cost a second volume, should its creation be repeated while its system is away.
_REMEMBERED = 16384
_DOUBTFUL = 65536

_Key = tuple[str, str]
"""A system's label, and a name on it."""


class CreateHistory:
    """Volumes made lately, and attempts of which nobody knows whether they made one; shared by threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: collections.OrderedDict[_Key, str] = collections.OrderedDict()
        self._doubts: collections.OrderedDict[_Key, None] = collections.OrderedDict()

    def made(self, label: str, name: str, volume_id: str) -> None:
        """The volume of that name exists on the system."""
        with self._lock:
            self._doubts.pop((label, name), None)
            self._made[(label, name)] = volume_id
            if len(self._made) > _REMEMBERED:
                self._made.popitem(last=False)

    def volume_id(self, label: str, name: str) -> str | None:
        """The id of a volume made lately, which may have been deleted since; None if none is remembered."""
        with self._lock:
            return self._made.get((label, name))

    def absent(self, label: str, name: str) -> None:
        """The system has no volume of that name."""
        with self._lock:
            self._doubts.pop((label, name), None)
            self._made.pop((label, name), None)

    def doubt(self, label: str, name: str) -> None:
        """An attempt on the system ended without an answer: the volume may exist, now or soon."""
        with self._lock:
            self._doubts[(label, name)] = None
            if len(self._doubts) > _DOUBTFUL:
                self._doubts.popitem(last=False)

    def may_hold(self, label: str, name: str) -> bool:
        """Whether the system holds the volume as far as is known, or may.

        It was made there, or an attempt ended without an answer, and nobody has found it absent since.
        """
        with self._lock:
            return (label, name) in self._doubts or (label, name) in self._made
