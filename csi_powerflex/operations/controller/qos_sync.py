"""Bringing mappings in line when the cluster shows that a volume's class of service has changed.

A change comes as a call to one controller of several; another one that maps the volume at that very moment
may still know the old class. As each sees the change in the end, each looks once more.
"""

from __future__ import annotations

import queue
import threading

from csi_powerflex import call_context
from csi_powerflex.errors import DeadlineExceeded, DriverError, Unavailable
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.qos import Qos

log = Log(__name__)

_PATIENCE_SECONDS = 30.0
# The volume may be seen before its class is, and an array may be away for a while.
_TRIES = 5
_AGAIN_SECONDS = 2.0


class QosSync:
    """Looks at volumes whose class has changed, one after another, in a thread of its own."""

    def __init__(self, qos: Qos) -> None:
        self._qos = qos
        # None ends the thread.
        self._changed: queue.SimpleQueue[VolumeHandle | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="quality", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look at nothing more; a look under way ends by itself."""
        self._stopping.set()
        self._changed.put(None)

    def changed(self, handle: VolumeHandle) -> None:
        """The volume has another class now."""
        self._changed.put(handle)

    def _watch(self) -> None:
        while (handle := self._changed.get()) is not None:
            for left in reversed(range(_TRIES)):
                if self._look_at(handle, last=not left) or self._stopping.wait(_AGAIN_SECONDS):
                    break

    def _look_at(self, handle: VolumeHandle, *, last: bool) -> bool:
        """Whether there is nothing more to do for the volume."""
        with call_context.background("qos_sync", _PATIENCE_SECONDS):
            try:
                self._qos.follow(handle)
            except DriverError as error:
                if isinstance(error, Unavailable | DeadlineExceeded) and not last:
                    return False
                # The call that changed the class has set the limits, and so does the next mapping.
                log.warning("limits not looked at after a change of class", volume=handle, reason=error)
        return True
