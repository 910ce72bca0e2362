"""A mount namespace for each test, so that whatever it mounts is gone when it ends, however it ends."""

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
    """Run the block in a copy of the mount namespace that nothing leaves.

    Only the calling thread changes over, with the threads and processes that it starts from then on. Its
    mounts are detached at the end, and the copy vanishes when the last of them is gone.
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
            # Some thread of gRPC may outlive the test and keep its namespace: take the mounts away before.
            for mount in reversed(mountinfo.read()):
                if mount.point not in there:
                    umount(mount.point)
    finally:
        # A thread that shares its working directory with others may not change its mount namespace.
        _check(_LIBC.unshare(_CLONE_FS))
        _check(_LIBC.setns(before, _CLONE_NEWNS))
        os.close(before)
        os.chdir(folder)


def _leave_loop_mounts(needed: Path) -> None:
    """Detach, in this namespace alone, what other runs on this machine have mounted from loop devices.

    The copies would hold those devices, and vanish when their owner removes the folder below.
    """
    for mount in reversed(mountinfo.read()):
        of_loop = mount.source.startswith("/dev/loop") or (mount.of_device_file and "/loop" in mount.root)
        if of_loop and not needed.is_relative_to(mount.point):
            _LIBC.umount2(os.fsencode(mount.point), _MNT_DETACH)  # it may have gone by itself


def umount(point: str) -> None:
    """Take the mount at ``point`` out of sight."""
    _check(_LIBC.umount2(os.fsencode(point), _MNT_DETACH))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
