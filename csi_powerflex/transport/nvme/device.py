"""The device file of an NVMe namespace, checked against sysfs while it is open.

The kernel gives names and numbers again when their device has been removed. It cannot do so while the device
is open. So what is compared in that time is true of one device.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from csi_powerflex.transport.nvme.sysfs import NvmeNamespace


def path_of(namespace: NvmeNamespace, dev: Path) -> Path | None:
    """The real path of the device file; None where the file is missing, or is of another device."""
    try:
        path = (dev / namespace.name).resolve(strict=True)
        return path if _number(path.stat()) == namespace.number else None
    except OSError:
        return None


def objection(namespace: NvmeNamespace, path: Path) -> str | None:
    """Why the device file is not to be used for this NVMe namespace, in words; None if it is the right one.

    The NVMe namespace must have a live path: otherwise opening its device could wait without end.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return f"{path} cannot be opened: {error.strerror}"
    try:
        if _number(os.fstat(descriptor)) != namespace.number:
            return f"{path} is not the device {namespace.number} of {namespace.name}"
        if not namespace.is_same_now():
            return f"{namespace.name} belongs to another volume now"
        size = os.lseek(descriptor, 0, os.SEEK_END)
        if size != namespace.size:
            return f"{path} has {size} bytes, and {namespace.size} in sysfs"
    except OSError as error:
        return f"{path} does not answer: {error.strerror}"
    finally:
        os.close(descriptor)
    return None


def _number(status: os.stat_result) -> str | None:
    """The ``major:minor`` of a block device file; None for another kind of file."""
    if not stat.S_ISBLK(status.st_mode):
        return None
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
