"""Locks by key. A lock is taken at once or refused: no call waits for one.

``csi.interceptor`` takes them; ``csi.policy`` says which RPC takes which.

If a call for a volume is still running, a second one gets ABORTED, and the caller repeats it later
(specification, "Error Scheme": "Operation pending for volume"). So no call waits behind one that hangs. The
locks are those of one process. Between replicas, the sidecars' leader election and the unique names on the
array prevent conflicts.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from csi_powerflex.errors import Busy


class Locks:
    """The keys that are held now."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._holders: dict[str, str] = {}

    def take(self, keys: Iterable[str], holder: str) -> frozenset[str]:
        """Hold all ``keys`` until ``release``, which needs what this returns.

        Args:
            keys: what to lock, such as "volume 1-2".
            holder: the name of the RPC, for the errors of the calls that are refused.

        Raises:
            Busy: one of the keys is held. No key was taken.
        """
        wanted = frozenset(keys)
        with self._guard:
            for key in wanted:
                if key in self._holders:
                    raise Busy(f"{self._holders[key]} is still under way for {key}; try again later")
            self._holders.update(dict.fromkeys(wanted, holder))
        return wanted

    def release(self, keys: Iterable[str]) -> None:
        """Release keys that are held."""
        with self._guard:
            for key in keys:
                del self._holders[key]
