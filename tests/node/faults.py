"""Faults of devices and filesystems."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

import pytest

from csi_powerflex.host import blockdev, mountinfo
from tests.node.loophost import Volume

# linux/fs.h: FS_IOC_SHUTDOWN, _IOR('X', 125, __u32). After it the filesystem returns EIO.
_SHUTDOWN = 0x8004587D


def shut_down_filesystem(point: Path) -> None:
    """Do what the loss of its device does to a mounted filesystem."""
    descriptor = os.open(point, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", 2))
    finally:
        os.close(descriptor)


def lose_device(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unmap a volume that is mounted.

    The device of an SDC is then removed from sysfs. A loop device in use is not, so this is simulated.
    """
    lost = mountinfo.device_number(volume.path)
    real = blockdev.exists
    monkeypatch.setattr(blockdev, "exists", lambda number: number != lost and real(number))
    volume.unmap()
