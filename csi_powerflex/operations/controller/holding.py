"""Volumes that someone holds for some time, see ``model.hold``."""

from __future__ import annotations

from csi_powerflex.errors import Busy, FailedPrecondition
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.hold import Holds


class Holding:
    """What the holds mean for calls."""

    def __init__(self, holds: Holds) -> None:
        self._holds = holds

    def require_resizable(self, handle: VolumeHandle) -> None:
        """Check that no one holds the volume, whose size must stay meanwhile.

        Raises:
            Busy: it is held. An earlier attempt of the call may have expanded it, so the error is not final.
            Unavailable: it is not known now.
        """
        hold = self._holds.hold_on(handle)
        if hold:
            raise Busy(
                f"volume {handle} is held and is not expanded: {hold}. The call is repeated until the hold "
                "ends"
            )

    def require_not_held(self, handle: VolumeHandle) -> None:
        """Check that no one holds the volume, so that it may be published.

        Raises:
            FailedPrecondition: it is held. The text says who holds it and why.
            Unavailable: it is not known now.
        """
        hold = self._holds.hold_on(handle)
        if hold:
            raise FailedPrecondition(
                f"volume {handle} is held and is not published: {hold}. The pod waits until the hold ends. "
                "If no one works on the volume any more, remove the annotation that ends with /hold from its "
                "PersistentVolume"
            )
