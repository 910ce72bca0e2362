"""What a demo could leave behind, and taking it away: mounts, loop devices, files.

In a good run there is nothing to take away. Only what lies below the demo's own folder is touched.
"""

from __future__ import annotations

import errno
import subprocess
from dataclasses import dataclass
from pathlib import Path


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
    """The mounts at, and loop devices over, files below ``folder``, as the kernel tells them."""
    prefix = f"{folder}/"
    mounts = [
        # Fields of mountinfo (proc(5)): the fifth is the mount point, with octal escapes for blanks.
        line.split()[4].encode().decode("unicode_escape")
        for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    ]
    loops = [
        f"/dev/{entry.parent.parent.name}"
        for entry in Path("/sys/block").glob("loop*/loop/backing_file")
        if _text(entry).startswith(prefix)
    ]
    # Innermost first, as they have to be unmounted.
    return Leftovers(
        mounts=tuple(sorted((mount for mount in mounts if mount.startswith(prefix)), reverse=True)),
        loops=tuple(sorted(loops)),
    )


def _text(entry: Path) -> str:
    """What the kernel shows there; nothing of a device that somebody else let go while we looked."""
    try:
        return entry.read_text(encoding="utf-8")
    except OSError as error:
        if error.errno not in (errno.ENODEV, errno.ENXIO, errno.ENOENT):
            raise
        return ""


def take_away(found: Leftovers) -> None:
    """Unmount and detach what a broken run left.

    Raises:
        subprocess.CalledProcessError: something does not let go; its words are on standard error.
    """
    for mount in found.mounts:
        subprocess.run(["umount", mount], check=True)
    for loop in found.loops:
        subprocess.run(["losetup", "--detach", loop], check=True)
