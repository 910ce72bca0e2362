"""Mounting and unmounting.

A filesystem is mounted by mount(8), a process of its own that a dead device can hang without hanging the
plugin. A bind mount needs no device; it is made by system calls, because only those put it in place with all
its attributes in one step: a read-only publish is never writable, not even for a moment or after a crash.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Sequence
from pathlib import Path

from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.host.run import Completed, run

_LIBC = ctypes.CDLL(None, use_errno=True)
# The same numbers on every architecture since Linux 5.2 (mount_setattr: 5.12).
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442
_AT_FDCWD, _AT_EMPTY_PATH = -100, 0x1000
_AT_SYMLINK_NOFOLLOW = 0x100
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_MOUNT_ATTR_RDONLY = 0x1
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
# It writes what is not on the device yet, so it may take as long as the call.
_UNMOUNT_SECONDS = 60.0


class _MountAttributes(ctypes.Structure):
    _fields_ = [
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    ]


def mount(device: Path, point: Path, *, filesystem: str, options: Sequence[str]) -> Completed:
    """Mount the filesystem on ``device`` at ``point``.

    Raises:
        CommandFailed: mount(8) said no.
    """
    arguments = ["-t", filesystem, *(("-o", ",".join(options)) if options else ())]
    return run(["mount", "--internal-only", *arguments, "--", str(device), str(point)])


def bind(source: Path, point: Path, *, read_only: bool) -> None:
    """Make ``source``, a directory or file, also appear at ``point``, which exists and is of the same type.

    Raises:
        FailedPrecondition: the kernel refused.
    """
    tree = -1
    try:
        tree = _call(
            "open_tree", _SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(source),
            _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_SYMLINK_NOFOLLOW,
        )  # fmt: skip
        if read_only:
            attributes = _MountAttributes(attr_set=_MOUNT_ATTR_RDONLY)
            _call(
                "mount_setattr", _SYS_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH,
                ctypes.byref(attributes), ctypes.c_size_t(ctypes.sizeof(attributes)),
            )  # fmt: skip
        _call(
            "move_mount", _SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(point), _MOVE_MOUNT_F_EMPTY_PATH
        )
    except OSError as error:
        raise FailedPrecondition(f"{source} cannot be bound to {point}: {error}") from error
    finally:
        if tree >= 0:
            os.close(tree)


def unmount(point: Path) -> None:
    """Unmount what is mounted at ``point``, the topmost only, and wait until its data are written.

    Raises:
        CommandFailed: umount(8) said no; it is busy, or its device gave an error.
        CommandTimedOut: it did not end.
    """
    run(["umount", "--no-canonicalize", "--internal-only", "--", str(point)], cap=_UNMOUNT_SECONDS)


def detach(point: Path) -> None:
    """Take the mount at ``point`` out of sight at once; the kernel ends it when its last user goes.

    Raises:
        OSError: there is no such mount.
    """
    if _LIBC.umount2(os.fsencode(point), _MNT_DETACH | _UMOUNT_NOFOLLOW) != 0:
        raise _error("umount2")


def _call(name: str, number: int, *arguments: object) -> int:
    result = int(_LIBC.syscall(number, *arguments))
    if result < 0:
        raise _error(name)
    return result


def _error(name: str) -> OSError:
    number = ctypes.get_errno()
    hint = " (this needs Linux 5.12 or newer)" if number == errno.ENOSYS else ""
    return OSError(number, f"{name}: {os.strerror(number)}{hint}")
