"""What is wrong with a volume as this host sees it, and with the host's way to its storage."""

from __future__ import annotations

import enum
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.errors import DeadlineExceeded, DriverError, FailedPrecondition
from csi_powerflex.host import blockdev, filesystem, mountinfo
from csi_powerflex.host.time_limit import TimeLimit
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.node import NodeTransport
from csi_powerflex.operations.node import target_paths
from csi_powerflex.units import KIB


class Severity(enum.Enum):
    """How bad it is, under the names of CSI's VolumeHealthErrorType."""

    DEGRADED = enum.auto()
    INACCESSIBLE = enum.auto()


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that is wrong. ``reason`` is one word in CamelCase that stays the same as long as
    it lasts."""

    severity: Severity
    reason: str
    message: str


# Since Linux 6.14 ext4 has a word of its own for it.
_READ_ONLY = frozenset({"ro", "emergency_ro"})


class Health:
    """Looks at volumes and at the transport."""

    def __init__(self, transport: NodeTransport, roots: Sequence[Path], time_limit: TimeLimit) -> None:
        self._transport = transport
        self._roots = roots
        self._time_limit = time_limit

    def of_volume(self, handle: VolumeHandle) -> tuple[Condition, ...]:
        """What is wrong with the volume; nothing for a healthy one."""
        device = self._transport.find(handle)
        if device is None:
            return (
                Condition(
                    Severity.INACCESSIBLE,
                    "DeviceMissing",
                    f"this host has no device for volume {handle}; it is not mapped here, or the SDC lost it",
                ),
            )
        return (*self._of_device(handle, device), *self._of_filesystem(handle, device))

    def _of_device(self, handle: VolumeHandle, device: Path) -> Iterator[Condition]:
        try:
            self._time_limit.call(str(device), lambda: blockdev.read(device, offset=0, length=4 * KIB))
        except DeadlineExceeded as error:
            yield Condition(Severity.INACCESSIBLE, "DeviceHangs", f"volume {handle}: {error}")
        except DriverError as error:
            yield Condition(Severity.INACCESSIBLE, "DeviceErrors", f"volume {handle}: {error}")

    def _of_filesystem(self, handle: VolumeHandle, device: Path) -> Iterator[Condition]:
        mounts = [
            mount
            for mount in mountinfo.of_device(device)
            if not mount.of_device_file and target_paths.inside(mount, self._roots)
        ]
        if not mounts:
            return
        # All of them show the same filesystem, so one is enough to look at.
        mount = mounts[0]
        if mount.super_options & _READ_ONLY and "ro" not in mount.options:
            yield Condition(
                Severity.DEGRADED,
                "FilesystemReadOnly",
                f"the {mount.filesystem} filesystem of volume {handle} was made read-only by the "
                f"kernel after an error",
            )
        errors = filesystem.recorded_errors(device, mount.filesystem)
        if errors:
            yield Condition(
                Severity.DEGRADED,
                "FilesystemErrors",
                f"the {mount.filesystem} filesystem of volume {handle} has recorded errors: {errors}",
            )
        yield from self._of_mount(handle, mount)

    def _of_mount(self, handle: VolumeHandle, mount: mountinfo.Mount) -> Iterator[Condition]:
        where = f"the {mount.filesystem} filesystem of volume {handle} at {mount.point}"
        try:
            self._time_limit.call(mount.point, lambda: os.listdir(mount.point))  # noqa: PTH208 - a dead path, no objects
        except DeadlineExceeded as error:
            yield Condition(Severity.INACCESSIBLE, "FilesystemHangs", f"{where}: {error}")
        except OSError as error:
            yield Condition(
                Severity.INACCESSIBLE, "FilesystemDead", f"{where} gives no access: {error.strerror}"
            )

    def of_storage(self) -> tuple[Condition, ...]:
        """What is wrong with this host's way to its storage; nothing where it is well."""
        try:
            self._transport.identity()
            systems = self._transport.systems()
        except FailedPrecondition as error:
            return (Condition(Severity.INACCESSIBLE, "SdcMissing", str(error)),)
        except DriverError as error:
            return (Condition(Severity.INACCESSIBLE, "SdcSilent", str(error)),)
        if not systems:
            message = "the SDC of this host is not connected to any PowerFlex system"
            return (Condition(Severity.INACCESSIBLE, "SdcNotConnected", message),)
        return ()
