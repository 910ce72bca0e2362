"""Two btrfs filesystems with the same id: a copy of a volume carries the ids of its source.

The kernel identifies a btrfs by its ids and not by its device. Since Linux 6.7 it mounts a second one under a
temporary id. Before, it refuses the second mount, or mounts the first device instead of the named one.
``operations.node.staging`` checks what was mounted, and names the devices found here in its error.
"""

from __future__ import annotations

import uuid
from pathlib import Path

from csi_powerflex.host import blockdev

_SYSFS = Path("/sys/fs/btrfs")
# btrfs's on-disk format: the superblock is at 64 KiB, and has the filesystem's id after a checksum.
_SUPERBLOCK, _ID_AT = 64 * 1024, 32
MAGIC = _SUPERBLOCK + 64, b"_BHRfS_M"
"""Where btrfs has its magic number, in bytes from the start of the device, and that number."""


def mounted_with_same_id(device: Path) -> list[str]:
    """The other devices of this host that are mounted with the id of the btrfs on ``device``.

    Raises:
        Unavailable: ``device`` cannot be read.
    """
    identifier = _identifier(device)
    if identifier is None:
        return []
    folder = _SYSFS / identifier / "devices"
    names = {link.name for link in folder.iterdir()} if folder.is_dir() else set()
    return sorted(f"/dev/{name}" for name in names - {device.name})


def _identifier(device: Path) -> str | None:
    raw = blockdev.read_cached(device, offset=_SUPERBLOCK, length=128)
    offset, magic = MAGIC
    if not raw.startswith(magic, offset - _SUPERBLOCK):
        return None
    return str(uuid.UUID(bytes=raw[_ID_AT : _ID_AT + 16]))
