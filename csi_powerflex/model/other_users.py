"""What else in a cluster names a volume or snapshot that shall be deleted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from csi_powerflex.ids import VolumeHandle


class OtherUsers(Protocol):
    """The objects of the cluster that want to keep a volume or snapshot, read after the call began.

    The methods raise Unavailable or DeadlineExceeded if they cannot tell.
    """

    def of_volume(self, handle: VolumeHandle, /) -> Sequence[str]:
        """A description of each PersistentVolume with this handle.

        Empty if each of them is Released and has the reclaim policy Delete.
        """
        ...

    def of_snapshot(self, handle: VolumeHandle, /) -> Sequence[str]:
        """A description of each VolumeSnapshotContent with this handle.

        Empty if each of them is being deleted and has the deletion policy Delete.
        """
        ...


class NoOtherUsers:
    """The users where there is no cluster: none."""

    def of_volume(self, _handle: VolumeHandle) -> Sequence[str]:
        """Nothing."""
        return ()

    def of_snapshot(self, _handle: VolumeHandle) -> Sequence[str]:
        """Nothing."""
        return ()
