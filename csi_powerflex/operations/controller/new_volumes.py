"""The volumes that this process has just created, so that their first publication needs no look at them.

A new volume is not mapped, is not in the trash, is no snapshot and can be mapped with any access. What was
known is used once, and for a minute at most. After that, and in another process, the volume is read.
"""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable

from csi_powerflex.ids import VolumeHandle

# A volume that is not remembered costs one more request when it is published first.
_MAX_REMEMBERED = 16384
_REMEMBERED_SECONDS = 60.0


class NewVolumes:
    """The sizes of new volumes; safe to share between threads.

    Args:
        max_remembered: the most volumes that are remembered.
        clock: returns seconds, such as ``time.monotonic``.
    """

    def __init__(
        self, *, max_remembered: int = _MAX_REMEMBERED, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_remembered = max_remembered
        self._clock = clock
        self._lock = threading.Lock()
        # The size of each volume, and the time until which it is remembered.
        self._sizes: collections.OrderedDict[VolumeHandle, tuple[int, float]] = collections.OrderedDict()

    def add(self, handle: VolumeHandle, size: int) -> None:
        """Remember a volume that was created with ``size`` bytes. No call has used it yet."""
        with self._lock:
            self._sizes[handle] = size, self._clock() + _REMEMBERED_SECONDS
            self._sizes.move_to_end(handle)
            if len(self._sizes) > self._max_remembered:
                self._sizes.popitem(last=False)

    def take(self, handle: VolumeHandle) -> int | None:
        """The size of the volume in bytes, which is then forgotten; None if it is not known as new."""
        with self._lock:
            size, until = self._sizes.pop(handle, (0, 0.0))
        return size if self._clock() < until else None

    def forget(self, handle: VolumeHandle) -> None:
        """Forget a volume that a call is about to change, or that may have been used."""
        with self._lock:
            self._sizes.pop(handle, None)
