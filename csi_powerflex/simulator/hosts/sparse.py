"""Copying sparse files: by reference where the filesystem can, else only the parts that hold data."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

_FICLONE = 0x40049409
_CANNOT_CLONE = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EXDEV)
_PUNCH_HOLE = 0x02 | 0x01  # and keep the size


def share(source: int, target: int) -> bool:
    """Make ``target`` an exact copy that shares the blocks of ``source``; False where that cannot be had.

    Both are open files; what ``target`` held is gone.
    """
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno in _CANNOT_CLONE:
            return False
        raise
    return True


def copy(source: Path, target: Path) -> None:
    """Give ``target`` (made when missing) the bytes of ``source``, holes staying holes."""
    with source.open("rb") as reader, target.open("r+b" if target.exists() else "x+b") as writer:
        if share(reader.fileno(), writer.fileno()):
            return
        size = os.fstat(reader.fileno()).st_size
        os.fsync(reader.fileno())
        _clear(writer.fileno())
        os.truncate(writer.fileno(), size)
        for start, end in _data(reader.fileno(), size):
            _copy_range(reader.fileno(), writer.fileno(), start, end)


def _clear(descriptor: int) -> None:
    """Free all blocks but keep the size: devices on the file must not see it shrink."""
    size = os.fstat(descriptor).st_size
    for start, end in _data(descriptor, size):
        fallocate(descriptor, start, end - start)


def fallocate(descriptor: int, start: int, length: int) -> None:
    """Punch a hole: the range reads as zeros and takes no space."""
    import ctypes  # noqa: PLC0415 - only machines without shared blocks need it

    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.fallocate(descriptor, _PUNCH_HOLE, ctypes.c_longlong(start), ctypes.c_longlong(length))
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _data(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """The ranges that hold data."""
    position = 0
    while position < size:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        position = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, position


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    while start < end:
        copied = os.copy_file_range(source, target, end - start, start, start)
        if copied == 0:
            return
        start += copied


@contextlib.contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    """A file descriptor that is closed at the end."""
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
