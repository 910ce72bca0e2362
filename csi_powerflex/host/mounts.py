"""Mounting and unmounting.

A filesystem is mounted by mount(8) in its own process: a device that does not answer blocks that process and
not the plugin. A bind mount is made by system calls, because only they attach it with all its attributes in
one step. So a read-only bind mount is never writable, not even for a short time or after a crash.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.host import kernel_log
from csi_powerflex.host.run import CommandFailed, Completed, run
from csi_powerflex.host.syscalls import LIBC, last_error

# The same numbers on every architecture since Linux 5.2 (mount_setattr: 5.12).
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442
_AT_FDCWD, _AT_EMPTY_PATH = -100, 0x1000
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_MOUNT_ATTR_RDONLY = 0x1
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8


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
        CommandFailed, CommandTimedOut: mount(8) failed or did not end.
    """
    arguments = ["-t", filesystem, *(("-o", ",".join(options)) if options else ())]
    return _run_on(
        device, ["mount", "--internal-only", "--make-shared", *arguments, "--", str(device), str(point)]
    )


def remount(device: Path, point: Path, *, options: Sequence[str], seconds: float = 60.0) -> None:
    """Change the options of the filesystem on ``device``, for all its mounts, and those of ``point``.

    With the option "ro", the kernel writes all data of the filesystem first.

    Raises:
        CommandFailed: mount(8) failed. With "ro", a file may be open for writing.
        CommandTimedOut: mount(8) did not end within ``seconds``.
    """
    option_list = ",".join(["remount", *options])
    command = ["mount", "--internal-only", "-o", option_list, "--", str(device), str(point)]
    _run_on(device, command, cap=seconds)


def thaw(point: Path, *, seconds: float = 60.0) -> bool:
    """End the freeze of the filesystem mounted at ``point``. Returns whether it was frozen.

    Raises:
        CommandFailed: the filesystem gives errors.
        CommandTimedOut: fsfreeze(8) did not end within ``seconds``.
    """
    try:
        run(["fsfreeze", "--unfreeze", str(point)], cap=seconds)
    except CommandFailed as error:
        if os.strerror(errno.EINVAL) in error.stderr:
            return False
        raise
    return True


def bind(
    source: Path, point: Path, *, read_only: bool, check: Callable[[int], None] = lambda _descriptor: None
) -> None:
    """Bind ``source``, a directory or file, to ``point``, which exists and is of the same type.

    Args:
        check: gets a descriptor of what ``source`` leads to, and raises an error if that is wrong. What it
            has seen is bound, even if another process changes the path meanwhile.

    Raises:
        FailedPrecondition: the kernel refuses it.
    """
    tree = opened = -1
    try:
        opened = os.open(source, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        check(opened)
        tree = _call(
            "open_tree", _SYS_OPEN_TREE, opened, b"",
            _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_EMPTY_PATH,
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
        hint = " (this needs Linux 5.12 or newer)" if error.errno == errno.ENOSYS else ""
        raise FailedPrecondition(f"{source} cannot be bound to {point}: {error.strerror}{hint}") from error
    finally:
        for descriptor in (tree, opened):
            if descriptor >= 0:
                os.close(descriptor)


def unmount(point: Path, *, seconds: float = 60.0) -> None:
    """Unmount the topmost mount at ``point`` and wait until its data are written, at most ``seconds``.

    Raises:
        CommandFailed: umount(8) failed: the mount is in use, or its device gave an error.
        CommandTimedOut: umount(8) did not end.
    """
    run(["umount", "--no-canonicalize", "--internal-only", "--", str(point)], cap=seconds)


def detach(point: Path) -> None:
    """Detach the mount at ``point`` at once. The kernel ends it when nothing uses it any more.

    Raises:
        OSError: there is no such mount.
    """
    if LIBC.umount2(os.fsencode(point), _MNT_DETACH | _UMOUNT_NOFOLLOW) != 0:
        raise last_error("umount2")


def _run_on(device: Path, command: Sequence[str], *, cap: float = 60.0) -> Completed:
    """As ``run``. If the command fails, the error has what the kernel said about ``device``."""
    with kernel_log.lines_about(device) as kernel_lines:
        try:
            return run(command, cap=cap)
        except CommandFailed as error:
            raise error.with_kernel_lines(kernel_lines()) from error


def _call(name: str, number: int, *arguments: object) -> int:
    result = int(LIBC.syscall(number, *arguments))
    if result < 0:
        raise last_error(name)
    return result
