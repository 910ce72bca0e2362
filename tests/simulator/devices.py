"""Arrays with simulated hosts, and the devices of these hosts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from csi_powerflex.simulator.hosts import loop
from csi_powerflex.simulator.hosts.files import FolderPlane
from csi_powerflex.simulator.simulator import Simulator, SystemPlan
from tests.controller.eventually import eventually
from tests.simulator.client import Array


@contextmanager
def simulated(folder: Path, version: str = "4.5") -> Iterator[Array]:
    """An array with the hosts a and b. Afterwards it must have left nothing in the kernel."""
    with Simulator([SystemPlan(version)], folder=folder, hosts=("a", "b")) as simulator:
        yield Array(simulator)
    nothing_is_left(folder)


def nothing_is_left(folder: Path) -> None:
    """There are no mounts and no loop devices of files below the folder.

    A device ends with its last user. Another test run on this machine can be this user for a short time,
    because it copies all mounts or opens every block device.
    """
    assert not any(str(folder) in line for line in Path("/proc/self/mountinfo").read_text().splitlines())
    eventually(lambda: loop.under(folder) == {})


def link(array: Array, host: str, volume_id: str) -> Path:
    return array.simulator.hosts[host].by_id / f"emc-vol-{array.system_id}-{volume_id}"


def mapped(array: Array, volume_id: str, host: str = "a", **body: object) -> Path:
    array.map(volume_id, host, **body)
    device = link(array, host, volume_id)
    eventually(device.exists)
    return device


def devices_over_volumes(array: Array) -> dict[Path, Path]:
    plane = array.gateway.array.plane
    assert isinstance(plane, FolderPlane)
    return loop.under(plane.folder)


def write(device: Path, data: bytes) -> None:
    """Write to the beginning of a device and flush it to its file.

    Without the flush, the data could stay in memory, because another process such as udev has the device
    open.
    """
    with device.open("r+b") as opened:
        opened.write(data.ljust(4096))
        opened.flush()
        os.fsync(opened.fileno())


def size_of(device: Path) -> int:
    with device.open("rb") as opened:
        return opened.seek(0, os.SEEK_END)
