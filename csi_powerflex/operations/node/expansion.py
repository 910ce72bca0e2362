"""Expanding a volume on the node: first the device, then the filesystem on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.errors import FailedPrecondition, NotFound, OutOfRange
from csi_powerflex.host import blockdev, mountinfo
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.capability import Filesystem, Use
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.node import filesystem_growth, target_paths
from csi_powerflex.operations.node.device import Devices
from csi_powerflex.units import check_range, readable

log = Log(__name__)


@dataclass(frozen=True, slots=True)
class ExpandRequest:
    """What NodeExpandVolume asks for.

    Attributes:
        required, limit: bytes, 0 where not given.
        use: None where the request does not say.
    """

    handle: VolumeHandle
    path: str
    staging: str
    required: int
    limit: int
    use: Use | None


class Expansion:
    """Grows volumes that are staged on this host."""

    def __init__(self, devices: Devices, roots: Sequence[Path]) -> None:
        self._devices = devices
        self._roots = roots

    def expand(self, request: ExpandRequest) -> int:
        """Grow the volume's filesystem to its device. Returns the size of the device in bytes.

        A filesystem that is large enough is not changed.

        Raises:
            NotFound: the volume is not at the path.
            OutOfRange: it is larger than the limit, or the range contradicts itself.
            FailedPrecondition: it cannot grow as it is mounted.
            Unavailable: the device is missing, or has not got the required size in time.
        """
        check_range(required=request.required, limit=request.limit)
        mounted = self._mounted(request)
        device = self._devices.wait_for_size(request.handle, max(request.required, 1)).top
        size = blockdev.size(device)
        if request.limit and size > request.limit:
            raise OutOfRange(
                f"volume {request.handle} has {readable(size)}, above the limit of {readable(request.limit)}"
            )
        if mounted is not None and not mounted.of_device_file:
            self._grow(request.handle, device, mounted)
        return size

    def _mounted(self, request: ExpandRequest) -> mountinfo.Mount | None:
        """The mount of the volume; None for a block volume.

        Raises:
            NotFound: it is not there.
            Unavailable: the volume has no device.
        """
        device = self._devices.require(request.handle).top
        table = mountinfo.read()
        for path in target_paths.known((request.path, request.staging), self._roots):
            mounted = mountinfo.at(path, table)
            if mounted is not None and mountinfo.is_of(mounted, device):
                return mounted
        if request.use is None or isinstance(request.use, Filesystem):
            raise NotFound(f"volume {request.handle} is not mounted at {request.path}")
        return None

    @staticmethod
    def _grow(handle: VolumeHandle, device: Path, mounted: mountinfo.Mount) -> None:
        if mounted.read_only and "ro" in mounted.super_options:
            raise FailedPrecondition(
                f"volume {handle} is mounted read-only at {mounted.point}, so its filesystem cannot grow"
            )
        with blockdev.locked(device) as lock:
            filesystem_growth.grow_mounted(device, Path(mounted.point), mounted.filesystem, lock)
        log.info("volume expanded", volume=handle, device=device)
