"""Mounting a filesystem that is mounted already, perhaps where this process does not see it.

The kernel has one filesystem for a device, however often it is mounted. So a further mount shows the same
content. Through it this process can write the data, thaw the filesystem and make it read-only. The filesystem
must not be checked meanwhile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from csi_powerflex.host import mounts
from csi_powerflex.host.run import CommandFailed


def mount(device: Path, point: Path, *, filesystem: str, options: Sequence[str], read_only: bool) -> bool:
    """Mount the filesystem on ``device``, which is in use, at ``point``. Returns whether that was possible.

    The kernel refuses it where a program, mkfs or a stacked device uses the device.

    Args:
        options: without ``ro`` and ``rw``. The kernel allows only the mode that the filesystem has now.
        read_only: whether only a read-only filesystem will do.

    Raises:
        CommandTimedOut: mount(8) did not end.
    """
    for mode in ("ro",) if read_only else ("ro", "rw"):
        with contextlib.suppress(CommandFailed):
            mounts.mount(device, point, filesystem=filesystem, options=[mode, *options])
            return True
    return False
