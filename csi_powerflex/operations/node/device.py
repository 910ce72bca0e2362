"""The one place where the node's operations look up the device of a volume.

The transport finds the device and waits for it, see ``transport.sdc.transport``.

A device has a raw part, which the transport provides, and a top, which filesystems and pods use. Today both
are the same. A layer between them, such as encryption, changes only this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.errors import FailedPrecondition, Unavailable
from csi_powerflex.host import mountinfo
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.publish_context import PublishContext
from csi_powerflex.model.transport import PathCount, Transports


@dataclass(frozen=True, slots=True)
class Device:
    """The block device of a volume.

    Attributes:
        raw: the device of the transport.
        top: the device that is formatted, mounted and published.
    """

    raw: Path
    top: Path


class Devices:
    """The devices of this node's volumes."""

    def __init__(self, transports: Transports) -> None:
        self._transports = transports

    def attach(self, publish_context: PublishContext) -> Device:
        """Wait for the volume's device.

        Raises:
            FailedPrecondition: this node does not have the transport, or the device is another volume's.
            Unavailable: the device did not appear in time.
        """
        return _device(self._transports.serving(publish_context).attach(publish_context))

    def published(self, publish_context: PublishContext) -> Device:
        """The volume's device if it is here now, without waiting.

        Raises:
            FailedPrecondition: this node does not have the transport.
            Unavailable: the device is not here.
        """
        raw = self._transports.serving(publish_context).find(publish_context.handle)
        if raw is None:
            raise _missing(publish_context.handle)
        return _device(raw)

    def find(self, handle: VolumeHandle) -> Device | None:
        """The volume's device if it is here now, without waiting."""
        located = self._transports.locate(handle)
        return None if located is None else _device(located[1])

    def paths(self, handle: VolumeHandle) -> PathCount | None:
        """The paths to the volume; None if it is not here, or its transport does not show its paths."""
        return self._transports.paths(handle)

    def has(self, number: str) -> bool:
        """Whether the block device ``major:minor`` is the device of any volume that is here now."""
        return any(mountinfo.device_number(device) == number for device in self._transports.devices())

    def require_own(self, handle: VolumeHandle | None, mounted: mountinfo.Mount) -> None:
        """Check that ``mounted`` is not the mount of another volume. ``handle`` is None for an invalid id.

        A mount of a device that no volume has, such as one that was lost, is accepted.

        Raises:
            FailedPrecondition: it is another volume's.
        """
        number = mountinfo.number_behind(mounted)
        if handle is None or number is None or not self.has(number):
            return
        own = self.find(handle)
        if own is None or mountinfo.device_number(own.top) != number:
            raise FailedPrecondition(
                f"{mounted.point} has {mounted.source} mounted, which is another volume than {handle}; it "
                "was not unmounted: correct the volume id or the path"
            )

    def require(self, handle: VolumeHandle) -> Device:
        """The volume's device if it is here now, without waiting.

        Raises:
            Unavailable: it is not here.
        """
        device = self.find(handle)
        if device is None:
            raise _missing(handle)
        return device

    def wait_for_size(self, handle: VolumeHandle, size: int) -> Device:
        """Wait until the volume's device, which is here, has at least ``size`` bytes.

        Raises:
            Unavailable: it is not here, or did not get that size in time.
            FailedPrecondition: the device is another volume's.
        """
        located = self._transports.locate(handle)
        if located is None:
            raise _missing(handle)
        return _device(located[0].wait_for_size(handle, size))


def _device(raw: Path) -> Device:
    return Device(raw=raw, top=raw)


def _missing(handle: VolumeHandle) -> Unavailable:
    return Unavailable(
        f"this host has no device for volume {handle}: the volume is not mapped to this host, or the "
        "transport has lost it"
    )
