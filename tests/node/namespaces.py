"""A mount namespace for each test, so that its mounts are removed whenever and however it ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

from csi_powerflex.host import mountinfo

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNS, _CLONE_FS = 0x00020000, 0x00000200
_MNT_DETACH = 2
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000


@contextlib.contextmanager
def own_mounts() -> Iterator[None]:
    """Run the block in a private copy of the mount namespace.

    Only the calling thread enters it, and the threads and processes that it starts there. The mounts of the
    block are detached at the end. The kernel removes the copy when the last of them ends.
    """
    before = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    folder = Path.cwd()
    try:
        _check(_LIBC.unshare(_CLONE_NEWNS))
        _check(_LIBC.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))
        _leave_loop_mounts(folder)
        there = {mount.point for mount in mountinfo.read()}
        try:
            yield
        finally:
            # A thread of gRPC may still run after the test and keep its namespace, so remove the mounts here.
            for mount in reversed(mountinfo.read()):
                if mount.point not in there:
                    umount(mount.point)
    finally:
        # A thread that shares its working directory with others cannot change its mount namespace.
        _check(_LIBC.unshare(_CLONE_FS))
        _check(_LIBC.setns(before, _CLONE_NEWNS))
        os.close(before)
        os.chdir(folder)


def _leave_loop_mounts(needed: Path) -> None:
    """Detach the mounts of loop devices that other runs on this machine have, only in this namespace.

    Otherwise the copies would keep those devices in use.
    """
    for mount in reversed(mountinfo.read()):
        of_loop = mount.source.startswith("/dev/loop") or (mount.of_device_file and "/loop" in mount.root)
        if of_loop and not needed.is_relative_to(mount.point):
            _LIBC.umount2(os.fsencode(mount.point), _MNT_DETACH)  # its owner may have removed it


def umount(point: str) -> None:
    """Detach the mount at ``point``."""
    _check(_LIBC.umount2(os.fsencode(point), _MNT_DETACH))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
