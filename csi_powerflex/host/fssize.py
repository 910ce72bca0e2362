"""How large a filesystem believes its device is, in bytes: from its superblock or by its own ioctl.

statvfs is no help here: it leaves out what the filesystem keeps for itself.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

from csi_powerflex.errors import FailedPrecondition, Unavailable

_EXT4_MAGIC = 0xEF53
_EXT4_FEATURE_64BIT = 0x80
# linux/fs/xfs/libxfs/xfs_fs.h: XFS_IOC_FSGEOMETRY_V1, _IOR('X', 100, 112 bytes)
_XFS_GEOMETRY = 0x80705864
# linux/btrfs.h: BTRFS_IOC_DEV_INFO, _IOWR(0x94, 30, 4096 bytes)
_BTRFS_DEV_INFO = 0xD000941E


def ext4(device: Path) -> int:
    """From the superblock on ``device``; right whether it is mounted or not, since ext4 keeps it in the
    page cache.

    Raises:
        FailedPrecondition: there is no ext4.
        Unavailable: it could not be read.
    """
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
        try:
            raw = os.pread(descriptor, 1024, 1024)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Unavailable(f"the superblock of {device} cannot be read: {error.strerror}") from error
    if len(raw) < 1024 or struct.unpack_from("<H", raw, 0x38)[0] != _EXT4_MAGIC:
        raise FailedPrecondition(f"{device} has no ext4 superblock")
    blocks_low, log_block = struct.unpack_from("<I", raw, 0x4)[0], struct.unpack_from("<I", raw, 0x18)[0]
    incompatible = struct.unpack_from("<I", raw, 0x60)[0]
    blocks_high = struct.unpack_from("<I", raw, 0x150)[0] if incompatible & _EXT4_FEATURE_64BIT else 0
    return int((blocks_high << 32 | blocks_low) * (1024 << log_block))


def xfs(point: Path) -> int:
    """Of the XFS mounted at ``point``.

    Raises:
        Unavailable: it does not answer.
    """
    raw = _asked(point, _XFS_GEOMETRY, bytes(112))
    block, blocks = struct.unpack_from("=I28xQ", raw)
    return int(block * blocks)


def btrfs(point: Path) -> int:
    """Of the first device of the btrfs mounted at ``point``; volumes have one.

    Raises:
        Unavailable: it does not answer.
    """
    raw = _asked(point, _BTRFS_DEV_INFO, struct.pack("=Q", 1).ljust(4096, b"\0"))
    return int(struct.unpack_from("=Q", raw, 32)[0])


def _asked(point: Path, request: int, argument: bytes) -> bytes:
    try:
        descriptor = os.open(point, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            buffer = bytearray(argument)  # larger than 1024 bytes, ioctl only changes it in place
            fcntl.ioctl(descriptor, request, buffer)
            return bytes(buffer)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Unavailable(f"the filesystem at {point} does not answer: {error.strerror}") from error
