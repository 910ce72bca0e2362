"""What the owner of a volume should know although no call failed.

The text of a failed call reaches the owner through the CSI sidecars and the kubelet. These facts would be in
the controller's log only.
"""

from __future__ import annotations

import enum
from typing import Protocol

from csi_powerflex.ids import VolumeHandle


class Notice(enum.StrEnum):
    """A kind of fact. The value is the reason of a Kubernetes Event."""

    HOST_NOT_CONNECTED = "HostNotConnected"
    """The volume is mapped to a host that the array is not connected to. Pods wait for its device."""
    LIMITS_NOT_APPLIED = "LimitsNotApplied"
    """The volume's class has changed, and the array did not take the limits of the new class."""
    VOLUME_MOVING = "VolumeMoving"
    """The array moves the volume to another pool."""
    VOLUME_MOVE_PAUSED = "VolumeMovePaused"
    """The array has paused the move of the volume to another pool."""
    VOLUME_MOVED = "VolumeMoved"
    """The volume is in the pool that its class names."""
    STALE_MAPPING_REMOVED = "StaleMappingRemoved"
    """The mapping to a host that is no node any more was removed."""


class Notices(Protocol):
    """Where notices go."""

    def tell(self, handle: VolumeHandle, notice: Notice, text: str) -> None:
        """Tell the owner of the volume. It takes no time, raises no error, and the notice may be lost.

        Args:
            handle: the volume.
            notice: the kind of fact.
            text: whole sentences for people.
        """
        ...


class NoNotices:
    """Notices that no one reads: where there is no Kubernetes, or the operator wants no events."""

    def tell(self, handle: VolumeHandle, notice: Notice, text: str) -> None:
        """Do nothing."""
