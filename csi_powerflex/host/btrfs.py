"""Other devices of this host that carry the same btrfs: a copy has the ids of its source.

The kernel knows a btrfs by its ids and not by its device. Since Linux 6.7 a second one is mounted under an id
of its own; before, it is refused, or the first device is mounted in place of the one that was named.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from csi_powerflex.errors import Unavailable

_SYSFS = Path("/sys/fs/btrfs")
# btrfs's on-disk format: the superblock is at 64 KiB, and has the filesystem's id after a checksum.
_SUPERBLOCK, _ID_AT, _MAGIC_AT = 64 * 1024, 32, 64
_MAGIC = b"_BHRfS_M"


def mounted(device: Path) -> list[str]:
    """The other devices that are mounted under the id of the btrfs on ``device``.

    Raises:
        Unavailable: it cannot be read.
    """
    identifier = _identifier(device)
    if identifier is None:
        return []
    folder = _SYSFS / identifier / "devices"
    names = {link.name for link in folder.iterdir()} if folder.is_dir() else set()
    return sorted(f"/dev/{name}" for name in names - {device.name})


def _identifier(device: Path) -> str | None:
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
        try:
            raw = os.pread(descriptor, 128, _SUPERBLOCK)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Unavailable(f"the superblock of {device} cannot be read: {error.strerror}") from error
    if raw[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] != _MAGIC:
        return None
    return str(uuid.UUID(bytes=raw[_ID_AT : _ID_AT + 16]))
