"""The trash: volumes that Kubernetes has deleted and the array keeps for some time under another name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from csi_powerflex.ids import VolumeHandle

DELETE_AFTER = "deleteAfter"
"""The class parameter that says how long a deleted volume is kept."""


@dataclass(frozen=True, slots=True)
class TrashRules:
    """How one system keeps deleted volumes.

    Attributes:
        keep: for how many seconds; 0 to remove them at once.
        max_bytes: the most bytes of the volumes in the trash; None for no limit.
    """

    keep: int
    max_bytes: int | None


class VolumeNeeds(Protocol):
    """What PersistentVolumes say about volumes, as far as it is known without a request."""

    def delete_after(self, handle: VolumeHandle, /) -> int | None:
        """For how many seconds the volume is kept after its deletion; None as the system says.

        Raises:
            Unavailable: it is not known now.
        """
        ...

    def is_needed(self, handle: VolumeHandle, /) -> bool:
        """Whether a PersistentVolume has the volume.

        Raises:
            Unavailable: it is not known now.
        """
        ...


class UnknownNeeds:
    """The needs where there are no PersistentVolumes: none."""

    def delete_after(self, _handle: VolumeHandle) -> int | None:
        """None."""
        return None

    def is_needed(self, _handle: VolumeHandle) -> bool:
        """False."""
        return False
