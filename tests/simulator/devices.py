"""Arrays with simulated hosts, and the devices that appear on them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from csi_powerflex.simulator.hosts import loop
from csi_powerflex.simulator.hosts.files import FolderPlane
from csi_powerflex.simulator.simulator import Simulator, SystemPlan
from tests.simulator.client import Array


@contextmanager
def simulated(folder: Path, version: str = "4.5") -> Iterator[Array]:
    """An array with the hosts a and b; afterwards nothing of it is left in the kernel."""
    with Simulator([SystemPlan(version)], folder=folder, hosts=("a", "b")) as simulator:
        yield Array(simulator)
    nothing_is_left(folder)


def nothing_is_left(folder: Path) -> None:
    """Neither mounts nor loop devices of files below the folder.

    A device goes with its last user, and other runs on this machine may be that for a moment: with a copy of
    all mounts, from which they then take what is not theirs, or by a look at every block device.
    """
    assert not any(str(folder) in line for line in Path("/proc/self/mountinfo").read_text().splitlines())
    until(lambda: loop.under(folder) == {})


def until(condition: Callable[[], bool], *, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen within {seconds:.0f} seconds"
        time.sleep(0.001)


def link(array: Array, host: str, volume_id: str) -> Path:
    return array.simulator.hosts[host].by_id / f"emc-vol-{array.system_id}-{volume_id}"


def mapped(array: Array, volume_id: str, host: str = "a", **body: object) -> Path:
    array.map(volume_id, host, **body)
    device = link(array, host, volume_id)
    until(device.exists)
    return device


def devices_over_volumes(array: Array) -> dict[Path, Path]:
    plane = array.gateway.array.plane
    assert isinstance(plane, FolderPlane)
    return loop.under(plane.folder)


def write(device: Path, data: bytes) -> None:
    """Write to the beginning of a device, through to its file.

    Closing it alone would do that only if nobody else, such as a probing udev, has it open at that moment.
    """
    with device.open("r+b") as opened:
        opened.write(data.ljust(4096))
        opened.flush()
        os.fsync(opened.fileno())


def size_of(device: Path) -> int:
    with device.open("rb") as opened:
        return opened.seek(0, os.SEEK_END)
