"""The health of a volume as this host sees it, and of the host's connection to its storage."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from csi_powerflex.errors import DeadlineExceeded, DriverError, FailedPrecondition
from csi_powerflex.host import blockdev, filesystem, mountinfo
from csi_powerflex.host.time_limit import TimeLimit
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.health import HealthIssue, HealthStatus, VolumeHealth
from csi_powerflex.model.transport import Transports
from csi_powerflex.operations.node import target_paths
from csi_powerflex.operations.node.device import Devices
from csi_powerflex.units import KIB

# Since Linux 6.14, ext4 reports emergency_ro.
_READ_ONLY = frozenset({"ro", "emergency_ro"})


class Health:
    """Checks volumes and transports."""

    def __init__(
        self, transports: Transports, devices: Devices, roots: Sequence[Path], time_limit: TimeLimit
    ) -> None:
        self._transports = transports
        self._devices = devices
        self._roots = roots
        self._time_limit = time_limit

    def of_volume(self, handle: VolumeHandle) -> VolumeHealth:
        """The issues of the volume."""
        device = self._devices.find(handle)
        if device is None:
            message = (
                f"this host has no device for volume {handle}: the volume is not mapped to this host, or the "
                "transport has lost it"
            )
            return VolumeHealth(handle, (HealthIssue(HealthStatus.INACCESSIBLE, "DeviceMissing", message),))
        issues = (*self._of_device(handle, device.top), *self._of_filesystem(handle, device.top))
        return VolumeHealth(handle, issues)

    def _of_device(self, handle: VolumeHandle, device: Path) -> Iterator[HealthIssue]:
        try:
            self._time_limit.call(str(device), lambda: blockdev.read(device, offset=0, length=4 * KIB))
        except DeadlineExceeded as error:
            yield HealthIssue(HealthStatus.INACCESSIBLE, "DeviceHangs", f"volume {handle}: {error}")
        except DriverError as error:
            yield HealthIssue(HealthStatus.INACCESSIBLE, "DeviceErrors", f"volume {handle}: {error}")

    def _of_filesystem(self, handle: VolumeHandle, device: Path) -> Iterator[HealthIssue]:
        mounts = [
            mount
            for mount in mountinfo.of_device(device)
            if not mount.of_device_file and target_paths.inside(mount, self._roots)
        ]
        if not mounts:
            return
        # All of them show the same filesystem, so one is enough.
        mount = mounts[0]
        if mount.super_options & _READ_ONLY and "ro" not in mount.options:
            yield HealthIssue(
                HealthStatus.DEGRADED,
                "FilesystemReadOnly",
                f"the kernel made the {mount.filesystem} filesystem of volume {handle} read-only after an "
                "error",
            )
        errors = filesystem.recorded_errors(device, mount.filesystem)
        if errors:
            yield HealthIssue(
                HealthStatus.DEGRADED,
                "FilesystemErrors",
                f"the {mount.filesystem} filesystem of volume {handle} has recorded errors: {errors}",
            )
        yield from self._of_mount(handle, mount)

    def _of_mount(self, handle: VolumeHandle, mount: mountinfo.Mount) -> Iterator[HealthIssue]:
        where = f"the {mount.filesystem} filesystem of volume {handle} at {mount.point}"
        try:
            self._time_limit.call(mount.point, lambda: os.listdir(mount.point))  # noqa: PTH208 - a path that may not answer, no objects
        except DeadlineExceeded as error:
            yield HealthIssue(HealthStatus.INACCESSIBLE, "FilesystemHangs", f"{where}: {error}")
        except OSError as error:
            yield HealthIssue(
                HealthStatus.INACCESSIBLE,
                "FilesystemInaccessible",
                f"{where} cannot be accessed: {error.strerror}",
            )

    def of_storage(self) -> tuple[HealthIssue, ...]:
        """The issues of this host's connection to its storage."""
        try:
            self._transports.identity()
            systems = self._transports.systems()
        except FailedPrecondition as error:
            return (HealthIssue(HealthStatus.INACCESSIBLE, "TransportMissing", str(error)),)
        except DriverError as error:
            return (HealthIssue(HealthStatus.INACCESSIBLE, "TransportDoesNotAnswer", str(error)),)
        if not systems:
            message = "this host is not connected to any PowerFlex system"
            return (HealthIssue(HealthStatus.INACCESSIBLE, "NotConnected", message),)
        return ()
