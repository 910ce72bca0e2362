"""The loop devices of a run: those over files below its folder, and those over such a device.

The kubelet makes a loop device over each raw block volume that a pod uses. If it ends before the pod, that
device stays, and keeps the volume's device from being detached.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.simulator.hosts import loop
from tests.commands import output_of

_SYSFS = Path("/sys/block")
_GET_STATUS64 = 0x4C05
_INFO_SIZE = 232
# lo_rdevice of struct loop_info64: the number of the backing device, where a device is below.
_BELOW_AT = 16
_SECONDS = 10.0


class StillInUse(Exception):
    """A loop device cannot be detached. The message names it."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop device: its path, what the kernel shows below it, and the number of the device below it."""

    device: Path
    backing: str
    below: int

    @property
    def number(self) -> int:
        """The number of the device itself."""
        return self.device.stat().st_rdev

    def mounted(self, sources: set[str]) -> bool:
        """Whether it is among the sources of mounts."""
        return str(self.device) in sources

    def __str__(self) -> str:
        return f"{self.device} {self.backing}"


def of(folder: Path) -> list[Loop]:
    """The loop devices over files below ``folder``, and all above them, each one before those below it.

    A device over a file of a mount that this process does not see is not found.
    """
    rest = list(_attached())
    first = [each for each in rest if Path(each.backing).is_relative_to(folder)]
    # Over files of a filesystem that is on another one of them.
    sources = {source for source, _ in _mounts()}
    layers = [[each for each in first if each.mounted(sources) == mounted] for mounted in (True, False)]
    while layers[-1]:
        rest = [each for each in rest if each not in layers[-1]]
        numbers = {each.number for each in layers[-1]}
        layers.append([each for each in rest if each.below in numbers])
    return [each for layer in reversed(layers) for each in layer]


def remove_above_devices(folder: Path) -> None:
    """Detach those of ``of(folder)`` that are over another device and not over a file: the kubelet's."""
    _detach([each for each in of(folder) if not Path(each.backing).is_relative_to(folder)])


def remove(folder: Path) -> list[str]:
    """Detach all of ``of(folder)``, and unmount what is mounted below ``folder``; returns what it found.

    Raises:
        StillInUse: one of them was still in use some seconds later.
    """
    found = of(folder)
    sources = {source for source, _ in _mounts()}
    _detach([each for each in found if not each.mounted(sources)])
    for _, target in reversed(_mounts()):
        if Path(target).is_relative_to(folder):
            output_of(["umount", target])
    _detach([each for each in found if each.mounted(sources)])
    return [str(each) for each in found]


def _detach(found: list[Loop]) -> None:
    deadline = time.monotonic() + _SECONDS
    for each in found:
        with contextlib.suppress(OSError):  # it was detached meanwhile
            loop.detach_when_unused(each.device)
        while str(loop.backing_file(each.device)) == each.backing:
            if time.monotonic() > deadline:
                raise StillInUse(f"loop device {each} is still in use")
            time.sleep(0.05)


def _mounts() -> list[tuple[str, str]]:
    """The source and target of each mount of this process, in their order."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [(line.split()[0], line.split()[1]) for line in lines]


def _attached() -> Iterator[Loop]:
    for entry in _SYSFS.glob("loop*"):
        device = Path("/dev") / entry.name
        backing = loop.backing_file(device)
        if backing is not None and device.exists():
            yield Loop(device, str(backing), _below(device))


def _below(device: Path) -> int:
    """The number of the device below; 0 if the loop device was detached meanwhile."""
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        info = fcntl.ioctl(descriptor, _GET_STATUS64, bytes(_INFO_SIZE))
    except OSError:
        return 0
    finally:
        os.close(descriptor)
    (number,) = struct.unpack_from("<Q", info, _BELOW_AT)
    return int(number)
