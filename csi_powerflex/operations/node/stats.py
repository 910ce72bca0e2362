"""How full a volume is. A volume that hangs blocks only the call that asks for it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.errors import NotFound, Unavailable
from csi_powerflex.host import blockdev, mountinfo
from csi_powerflex.host.time_limit import TimeLimit
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.operations.node import target_paths
from csi_powerflex.operations.node.device import Devices


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount of bytes or inodes. ``available`` is what a user without privileges can still use."""

    total: int
    used: int
    available: int


@dataclass(frozen=True, slots=True)
class Usage:
    """The usage of a filesystem; ``inodes`` is None where it has no fixed number of them."""

    capacity: Amount
    inodes: Amount | None


@dataclass(frozen=True, slots=True)
class DeviceSize:
    """The size of a block volume in bytes. Only its user knows how much of it is used."""

    total: int


class Stats:
    """Measures volumes."""

    def __init__(self, devices: Devices, roots: Sequence[Path], time_limit: TimeLimit) -> None:
        self._devices = devices
        self._roots = roots
        self._time_limit = time_limit

    def usage(self, handle: VolumeHandle, path: str) -> Usage | DeviceSize:
        """How full the volume at ``path`` is.

        Raises:
            NotFound: the volume is not at the path.
            Unavailable: its device is missing or its filesystem returns errors.
            DeadlineExceeded: it does not answer in time.
        """
        point = next(iter(target_paths.known((path,), self._roots)), None)
        mounted = mountinfo.at(point) if point else None
        if point is None or mounted is None:
            raise NotFound(f"volume {handle} is not at {path!r}: nothing is mounted there")
        device = self._devices.require(handle).top
        if not mountinfo.is_of(mounted, device):
            raise NotFound(f"volume {handle} is not at {path!r}: {mounted.source} is mounted there")
        if mounted.of_device_file:
            return DeviceSize(self._time_limit.call("size", str(device), lambda: blockdev.size(device)))
        try:
            return _usage(self._time_limit.call("usage", str(point), lambda: os.statvfs(point)))
        except OSError as error:
            raise Unavailable(f"volume {handle} at {path} does not answer: {error.strerror}") from error


def _usage(found: os.statvfs_result) -> Usage:
    return Usage(
        capacity=Amount(
            total=found.f_blocks * found.f_frsize,
            used=(found.f_blocks - found.f_bfree) * found.f_frsize,
            available=found.f_bavail * found.f_frsize,
        ),
        # btrfs creates inodes when they are needed, and reports 0.
        inodes=Amount(found.f_files, found.f_files - found.f_ffree, found.f_favail)
        if found.f_files
        else None,
    )
