"""Volumes that someone holds for some time, see ``model.hold``."""

from __future__ import annotations

from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.hold import Holds


class Holding:
    """What the holds mean for calls."""

    def __init__(self, holds: Holds) -> None:
        self._holds = holds

    def require_not_held(self, handle: VolumeHandle) -> None:
        """Check that no one holds the volume.

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
