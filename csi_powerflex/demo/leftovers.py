"""Finds and removes the mounts and loop devices that a broken demo can leave.

After a good run there are none. Only those below the demo's own folder are removed.
"""

from __future__ import annotations

import errno
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.demo import mountinfo


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Mount points and loop devices that belong to a folder."""

    mounts: tuple[str, ...]
    loops: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.mounts or self.loops)

    def __str__(self) -> str:
        return f"mounts: {', '.join(self.mounts) or 'none'}; loop devices: {', '.join(self.loops) or 'none'}"


def below(folder: Path) -> Leftovers:
    """The mounts below ``folder``, and the loop devices over files below it, as the kernel shows them."""
    prefix = f"{folder}/"
    mounts = [mount.point for mount in mountinfo.read() if mount.point.startswith(prefix)]
    loops = [
        f"/dev/{entry.parent.parent.name}"
        for entry in Path("/sys/block").glob("loop*/loop/backing_file")
        if _text(entry).startswith(prefix)
    ]
    # An inner mount must be unmounted before the outer one.
    return Leftovers(mounts=tuple(sorted(mounts, reverse=True)), loops=tuple(sorted(loops)))


def _text(entry: Path) -> str:
    """The content of a sysfs file; empty if its device was detached in the meantime."""
    try:
        return os.fsdecode(entry.read_bytes())
    except OSError as error:
        if error.errno not in (errno.ENODEV, errno.ENXIO, errno.ENOENT):
            raise
        return ""


def take_away(found: Leftovers) -> None:
    """Unmount and detach what a broken run left.

    Raises:
        subprocess.CalledProcessError: a command failed. Its message is on standard error.
    """
    for mount in found.mounts:
        subprocess.run(["umount", mount], check=True)
    for loop in found.loops:
        subprocess.run(["losetup", "--detach", loop], check=True)
