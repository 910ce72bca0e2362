"""The health of a volume as this host sees it, and of the host's connection to its storage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from csi_powerflex.errors import DeadlineExceeded, DriverError, FailedPrecondition
from csi_powerflex.host import blockdev, filesystem, mountinfo
from csi_powerflex.host.time_limit import TimeLimit
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.health import HealthIssue, HealthStatus, VolumeHealth
from csi_powerflex.model.transport import PathCount, Transports
from csi_powerflex.operations.node import target_paths
from csi_powerflex.operations.node.device import Devices
from csi_powerflex.operations.node.filesystem_state import Defect, FilesystemState
from csi_powerflex.units import KIB


class Health:
    """Checks volumes and transports."""

    def __init__(
        self,
        transports: Transports,
        devices: Devices,
        roots: Sequence[Path],
        state: FilesystemState,
        time_limit: TimeLimit,
    ) -> None:
        self._transports = transports
        self._devices = devices
        self._roots = roots
        self._state = state
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
        paths = self._devices.paths(handle)
        if paths is not None and not paths.live:
            # Requests wait until a path is back. So the device is not read.
            return VolumeHealth(handle, (_path_issue(handle, paths),))
        lacking = () if paths is None or paths.live >= paths.total else (_path_issue(handle, paths),)
        issues = (*lacking, *self._of_device(handle, device.top), *self._of_filesystem(handle, device.top))
        return VolumeHealth(handle, issues)

    def _of_device(self, handle: VolumeHandle, device: Path) -> Iterator[HealthIssue]:
        try:
            self._time_limit.call(
                "read", str(device), lambda: blockdev.read(device, offset=0, length=4 * KIB)
            )
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
        where = f"the {mount.filesystem} filesystem of volume {handle} at {mount.point}"
        read_only = self._state.read_only(mount)
        if read_only is not None:
            yield HealthIssue(HealthStatus.DEGRADED, "FilesystemReadOnly", f"{where} {read_only.description}")
        errors = filesystem.recorded_errors(device, mount.filesystem)
        if errors:
            yield HealthIssue(
                HealthStatus.DEGRADED,
                "FilesystemErrors",
                f"{where} has recorded errors: {errors}",
            )
        found = self._state.inaccessible(mount)
        if found is not None:
            reason = "FilesystemHangs" if found.defect is Defect.HANGS else "FilesystemInaccessible"
            yield HealthIssue(HealthStatus.INACCESSIBLE, reason, f"{where} {found.description}")

    def of_storage(self) -> tuple[HealthIssue, ...]:
        """The issues of this host's connection to its storage."""
        try:
            self._transports.identity()
            systems = self._transports.reached()
        except FailedPrecondition as error:
            return (HealthIssue(HealthStatus.INACCESSIBLE, "TransportMissing", str(error)),)
        except DriverError as error:
            return (HealthIssue(HealthStatus.INACCESSIBLE, "TransportDoesNotAnswer", str(error)),)
        if not any(systems.values()):
            message = "this host is not connected to any PowerFlex system"
            return (HealthIssue(HealthStatus.INACCESSIBLE, "NotConnected", message),)
        return ()


def _path_issue(handle: VolumeHandle, paths: PathCount) -> HealthIssue:
    """The issue of a volume of which some paths do not serve, or all."""
    lost = f": {'; '.join(paths.lost)}" if paths.lost else ""
    text = f"volume {handle} has {paths.live} of {paths.total} paths{lost}"
    if paths.live:
        return HealthIssue(HealthStatus.DEGRADED, "PathsLost", text)
    return HealthIssue(
        HealthStatus.INACCESSIBLE, "NoPath", f"{text}; its data wait until one of them is back"
    )
