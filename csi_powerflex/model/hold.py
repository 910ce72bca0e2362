"""The hold on a volume: an annotation of its PersistentVolume, which says who works on the volume and why.

While a volume is held, ControllerPublishVolume refuses it, so no pod begins to use it, and
ControllerExpandVolume waits. A volume that is attached already stays attached. Any tool or person may set and
remove the annotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.cluster import PersistentVolume

SUFFIX = "/hold"
"""How the name of the annotation ends, after the name of the driver."""


def annotation(driver_name: str) -> str:
    """The name of the annotation. Kubernetes wants the part before the slash in lower case."""
    return f"{driver_name.lower()}{SUFFIX}"


class Holds(Protocol):
    """The holds on volumes, as far as they are known without a request."""

    def hold_on(self, handle: VolumeHandle, /) -> str:
        """Who holds the volume and why, in words; empty if it is not held.

        Raises:
            Unavailable: it is not known now.
        """
        ...


class NoHolds:
    """The holds where there are no PersistentVolumes: none."""

    def hold_on(self, _handle: VolumeHandle) -> str:
        """Nothing."""
        return ""


class Custody(Protocol):
    """What a command needs of the cluster to have a volume for itself.

    Besides the errors that they name, the methods may raise NotFound (the PersistentVolume was deleted),
    Unavailable, DeadlineExceeded, Unauthenticated and PermissionDenied.
    """

    def users(self, volume: PersistentVolume) -> Sequence[str]:
        """What uses the volume or waits for it, a sentence for each: VolumeAttachments and pods."""
        ...

    def hold_of(self, volume: PersistentVolume) -> str:
        """The text of the hold now; empty if there is none."""
        ...

    def take(self, volume: PersistentVolume, text: str, *, instead_of: str) -> None:
        """Set the hold.

        Args:
            volume: the PersistentVolume.
            text: who holds it and why.
            instead_of: the hold that it must have before; empty for none.

        Raises:
            FailedPrecondition: it has another hold, which is named, or has changed in the meantime.
        """
        ...

    def release(self, volume: PersistentVolume, text: str) -> None:
        """Remove the hold. Returns without error if the text of the hold is another one, or there is none."""
        ...
