"""The size in bytes that a filesystem takes its device to have, from its superblock or its own ioctl.

statvfs(3) cannot tell it: its answer leaves out what the filesystem keeps for itself.
"""

from __future__ import annotations

import struct
from pathlib import Path

from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.host import blockdev
from csi_powerflex.host.syscalls import ioctl

# Documentation/filesystems/ext4/super.rst
_EXT4_SUPERBLOCK, _EXT4_SUPERBLOCK_LENGTH = 1024, 1024
EXT4_MAGIC = _EXT4_SUPERBLOCK + 0x38, b"\x53\xef"
"""Where ext4 has its magic number, in bytes from the start of the device, and that number."""
_EXT4_FEATURE_64BIT = 0x80
# linux/fs/xfs/libxfs/xfs_fs.h: XFS_IOC_FSGEOMETRY_V1, _IOR('X', 100, 112 bytes)
_XFS_GEOMETRY = 0x80705864
# linux/btrfs.h: BTRFS_IOC_DEV_INFO, _IOWR(0x94, 30, 4096 bytes)
_BTRFS_DEV_INFO = 0xD000941E


def ext4(device: Path) -> int:
    """The size of the ext4 on ``device``, whether it is mounted or not.

    Raises:
        FailedPrecondition: there is no ext4.
        Unavailable: ``device`` cannot be read.
    """
    raw = blockdev.read_cached(device, offset=_EXT4_SUPERBLOCK, length=_EXT4_SUPERBLOCK_LENGTH)
    offset, magic = EXT4_MAGIC
    if len(raw) < _EXT4_SUPERBLOCK_LENGTH or not raw.startswith(magic, offset - _EXT4_SUPERBLOCK):
        raise FailedPrecondition(f"{device} has no ext4 superblock")
    blocks_low, log_block = struct.unpack_from("<I", raw, 0x4)[0], struct.unpack_from("<I", raw, 0x18)[0]
    incompatible = struct.unpack_from("<I", raw, 0x60)[0]
    blocks_high = struct.unpack_from("<I", raw, 0x150)[0] if incompatible & _EXT4_FEATURE_64BIT else 0
    return int((blocks_high << 32 | blocks_low) * (1024 << log_block))


def xfs(point: Path) -> int:
    """The size of the XFS that is mounted at ``point``.

    Raises:
        Unavailable: the filesystem does not answer.
    """
    raw = ioctl(point, _XFS_GEOMETRY, bytes(112), kind="filesystem at")
    block, blocks = struct.unpack_from("=I28xQ", raw)
    return int(block * blocks)


def btrfs(point: Path) -> int:
    """The size of the btrfs that is mounted at ``point``, on its first device: a volume has only one.

    Raises:
        Unavailable: the filesystem does not answer.
    """
    argument = struct.pack("=Q", 1).ljust(4096, b"\0")
    raw = ioctl(point, _BTRFS_DEV_INFO, argument, kind="filesystem at")
    return int(struct.unpack_from("=Q", raw, 32)[0])
