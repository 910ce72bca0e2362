"""Applying QoS limits again after Kubernetes shows that a volume's VolumeAttributesClass has changed.

One of several controllers gets the call that changes the class. Another one may map the volume at the same
time and still use the old class. Each controller sees the change in the end, so each one applies the limits
again.
"""

from __future__ import annotations

import collections
import threading

from csi_powerflex import call_context
from csi_powerflex.background import FIRST_PAUSE_SECONDS, Loop
from csi_powerflex.errors import DeadlineExceeded, DriverError, NotFound, Unavailable
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.notices import Notice, Notices
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.qos import Qos

log = Log(__name__)

_NAME = "qos_sync"
_TIMEOUT_SECONDS = 30.0
# The volume may be seen before its class is, and an array may be down for a while.
_MAX_ATTEMPTS = 5
_RETRY_SECONDS = 2.0
_IDLE_SECONDS = 3600.0


class QosSync:
    """Applies the limits of volumes whose class has changed, one volume after another, in the background."""

    def __init__(
        self,
        qos: Qos,
        notices: Notices,
        *,
        retry_seconds: float = _RETRY_SECONDS,
        first_pause: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self._qos = qos
        self._notices = notices
        self._retry_seconds = retry_seconds
        self._lock = threading.Lock()
        # By volume the attempts that are left. A volume that changes again while it waits is in it once.
        self._waiting: collections.OrderedDict[VolumeHandle, int] = collections.OrderedDict()
        self._loop = Loop(_NAME, self._step, first_pause=first_pause)

    def start(self) -> None:
        """Begin to apply limits."""
        self._loop.start()

    def stop(self) -> None:
        """Begin with no further volume. One that is being worked on is finished."""
        self._loop.request_stop()

    def changed(self, handle: VolumeHandle) -> None:
        """The volume has another class now."""
        with self._lock:
            self._waiting[handle] = _MAX_ATTEMPTS
        self._loop.wake()

    def _step(self) -> float:
        """Apply the limits of one volume. Returns the seconds until the next one."""
        with self._lock:
            if not self._waiting:
                return _IDLE_SECONDS
            handle, attempts = self._waiting.popitem(last=False)
        done = False
        try:
            done = self._apply(handle, last=attempts == 1)
        finally:
            if not done and attempts > 1:
                with self._lock:
                    self._waiting.setdefault(handle, attempts - 1)
        return 0.0 if done else self._retry_seconds

    def _apply(self, handle: VolumeHandle, *, last: bool) -> bool:
        """Whether there is nothing more to do for the volume."""
        with call_context.background(_NAME, seconds=_TIMEOUT_SECONDS):
            try:
                self._qos.apply_current(handle)
            except DriverError as error:
                if isinstance(error, Unavailable | DeadlineExceeded) and not last:
                    return False
                # The call that changed the class has set the limits, and the next mapping sets them again.
                log.warning("limits not applied after a change of class", volume=handle, reason=error)
                self._tell(handle, error)
        return True

    def _tell(self, handle: VolumeHandle, error: DriverError) -> None:
        if isinstance(error, NotFound):
            return  # the volume was deleted
        self._notices.tell(
            handle,
            Notice.LIMITS_NOT_APPLIED,
            "The VolumeAttributesClass of the volume has changed, and its QoS limits could not be set on the "
            f"array: {error}. They are set when the volume is attached the next time.",
        )
