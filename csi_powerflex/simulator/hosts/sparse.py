"""Copies of sparse files. They share blocks where the filesystem can do this, else only data is copied."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

_FICLONE = 0x40049409
_CANNOT_CLONE = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EXDEV)
_PUNCH_HOLE = 0x02 | 0x01  # with the flag to keep the size


def share(source: int, target: int) -> bool:
    """Make ``target`` a copy that shares the blocks of ``source``. False where the filesystem cannot do this.

    Both are descriptors of open files. The old content of ``target`` is lost.
    """
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno in _CANNOT_CLONE:
            return False
        raise
    return True


def copy(source: Path, target: Path) -> None:
    """Copy ``source`` to ``target``, which is created if missing. Holes stay holes."""
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
    """Free all blocks but keep the size, because devices over the file must not see it shrink."""
    size = os.fstat(descriptor).st_size
    for start, end in _data(descriptor, size):
        punch_hole(descriptor, start, end - start)


def punch_hole(descriptor: int, start: int, length: int) -> None:
    """Make a range a hole: it reads as zeros and takes no disk space."""
    import ctypes  # noqa: PLC0415 - only machines without shared blocks need it

    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.fallocate(descriptor, _PUNCH_HOLE, ctypes.c_longlong(start), ctypes.c_longlong(length))
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _data(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """The ranges that are not holes, as (start, end)."""
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
    """A file descriptor for the block."""
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
