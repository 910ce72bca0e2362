"""Disks that the mover reads and writes: block devices, and RAW files next to them.

A block device is opened exclusively for writing. The kernel refuses that while a filesystem of this host is
mounted from it, or another mover has it. Reads and writes pass the page cache where the disk allows it, so a
read shows what is on the device, and a copy does not fill the host's memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.errors import InvalidArgument, Unavailable
from csi_powerflex.mover.outcome import Refused, TargetRefused
from csi_powerflex.units import readable

BLOCK = 4096
"""All offsets and lengths are multiples of it, except at the end of a disk."""
SECTOR = 512

_libc = ctypes.CDLL(None, use_errno=True)
_libc.memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class Buffer:
    """Memory that direct I/O can use: aligned to pages.

    Comparisons happen in libc, without a copy.
    """

    def __init__(self, length: int) -> None:
        self._memory = mmap.mmap(-1, length)
        self._anchor = ctypes.c_char.from_buffer(self._memory)
        self._address = ctypes.addressof(self._anchor)
        self.view = memoryview(self._memory)

    def is_zero(self, begin: int, end: int) -> bool:
        """Whether all bytes from ``begin`` to ``end`` are 0."""
        first = self._address + begin
        # A range is zero if its first byte is, and each other byte equals the one before it.
        return self._memory[begin] == 0 and _libc.memcmp(first, first + 1, end - begin - 1) == 0

    def equals(self, other: Buffer, begin: int, end: int) -> bool:
        """Whether both have the same bytes from ``begin`` to ``end``."""
        return bool(_libc.memcmp(self._address + begin, other._address + begin, end - begin) == 0)

    def clear(self, begin: int, end: int) -> None:
        """Set these bytes to 0."""
        ctypes.memset(self._address + begin, 0, end - begin)


@dataclass(frozen=True, slots=True)
class Extent:
    """A part of a disk, from ``begin`` to ``end`` in bytes."""

    begin: int
    end: int


class Disk:
    """An open block device or RAW file. ``size`` is in bytes, a multiple of a sector."""

    def __init__(self, path: Path, descriptor: int, size: int, *, is_device: bool) -> None:
        self.path = path
        self.size = size
        self.is_device = is_device
        self._descriptor = descriptor

    @classmethod
    def source(cls, path: Path) -> Disk:
        """Open a block device or a RAW file to read it.

        Raises:
            InvalidArgument: it is neither.
            Refused: its size is 0 or not a multiple of a sector.
            Unavailable: it cannot be opened.
        """
        disk = cls.file(path)
        if disk.size == 0 or disk.size % SECTOR:
            disk.close()
            raise Refused(
                f"{path} has {disk.size} bytes, and a disk has one or more whole sectors of {SECTOR} bytes; "
                "the file may be truncated, or not be a RAW image"
            )
        return disk

    @classmethod
    def file(cls, path: Path) -> Disk:
        """Open a file of any length, or a block device, to read it.

        Raises:
            InvalidArgument: it is neither.
            Unavailable: it cannot be opened.
        """
        return cls._of(path, _opened(path, os.O_RDONLY))

    @classmethod
    def target(cls, path: Path) -> Disk:
        """Open a block device to write it, exclusively.

        Raises:
            InvalidArgument: it is no block device.
            TargetRefused: it is in use on this host.
            Unavailable: it cannot be opened.
        """
        try:
            descriptor = _opened(path, os.O_RDWR | os.O_EXCL)
        except Unavailable as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno == errno.EBUSY:
                raise TargetRefused(
                    f"{path} is in use on this host: a filesystem is mounted from it, or another process "
                    "writes to it; end that use, then start the job again"
                ) from error
            raise
        disk = cls._of(path, descriptor)
        if not disk.is_device:
            disk.close()
            raise InvalidArgument(f"the target {path} is not a block device; give the volume as a device")
        return disk

    @classmethod
    def new_file(cls, path: Path, size: int) -> Disk:
        """Create a sparse RAW file of ``size`` bytes.

        Raises:
            Unavailable: it exists, or cannot be created.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(f"{path} cannot be created: {error.strerror}") from error
        # A filesystem without direct I/O refuses an open with it, but has created the file by then.
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_DIRECT)
        try:
            os.ftruncate(descriptor, size)
        except OSError as error:
            os.close(descriptor)
            raise Unavailable(f"{path} cannot be made {readable(size)} long: {error.strerror}") from error
        return cls(path, descriptor, size, is_device=False)

    @classmethod
    def _of(cls, path: Path, descriptor: int) -> Disk:
        mode = os.fstat(descriptor).st_mode
        if not (stat.S_ISBLK(mode) or stat.S_ISREG(mode)):
            os.close(descriptor)
            raise InvalidArgument(f"{path} is neither a block device nor a regular file")
        size = os.lseek(descriptor, 0, os.SEEK_END)
        return cls(path, descriptor, size, is_device=stat.S_ISBLK(mode))

    def is_same_as(self, other: Disk) -> bool:
        """Whether both are the same device, or the same file."""
        mine, its = os.fstat(self._descriptor), os.fstat(other._descriptor)
        if self.is_device and other.is_device:
            return mine.st_rdev == its.st_rdev
        return (mine.st_dev, mine.st_ino) == (its.st_dev, its.st_ino)

    def read(self, buffer: Buffer, offset: int, length: int) -> None:
        """Read ``length`` bytes from ``offset`` to the begin of ``buffer``.

        Raises:
            Unavailable: a part could not be read.
        """
        done = 0
        while done < length:
            try:
                count = os.preadv(self._descriptor, [buffer.view[done:length]], offset + done)
            except OSError as error:
                if error.errno == errno.EINVAL and self._without_direct():
                    continue
                raise self._failed(f"reading {length} bytes at {offset}", error) from error
            if count == 0:
                raise Unavailable(
                    f"{self.path} ended at {offset + done}, before its {self.size} bytes were read"
                )
            done += count

    def write(self, buffer: Buffer, begin: int, end: int, offset: int) -> None:
        """Write the bytes of ``buffer`` from ``begin`` to ``end`` to ``offset``.

        Raises:
            Unavailable: a part could not be written.
        """
        while begin < end:
            try:
                count = os.pwritev(self._descriptor, [buffer.view[begin:end]], offset)
            except OSError as error:
                if error.errno == errno.EINVAL and self._without_direct():
                    continue
                raise self._failed(f"writing {end - begin} bytes at {offset}", error) from error
            begin += count
            offset += count

    def flush(self) -> None:
        """Make all that was written durable.

        Raises:
            Unavailable: it could not be.
        """
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise self._failed("flushing it", error) from error

    def next_data(self, offset: int) -> Extent:
        """The next part of the disk that may have data, at or after ``offset``.

        A sparse file says where it has holes. Of a device, all that is left may have data. At the end, the
        part is empty.
        """
        if self.is_device:
            return Extent(offset, self.size)
        try:
            begin = os.lseek(self._descriptor, offset, os.SEEK_DATA)
            return Extent(
                max(begin // BLOCK * BLOCK, offset), os.lseek(self._descriptor, begin, os.SEEK_HOLE)
            )
        except OSError as error:
            if error.errno == errno.ENXIO:
                return Extent(self.size, self.size)
            raise self._failed(f"looking for data after {offset}", error) from error

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)

    def __enter__(self) -> Disk:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _without_direct(self) -> bool:
        """Turn off direct I/O, for a disk or a last part without it; returns whether it was on."""
        flags = fcntl.fcntl(self._descriptor, fcntl.F_GETFL)
        if not flags & os.O_DIRECT:
            return False
        fcntl.fcntl(self._descriptor, fcntl.F_SETFL, flags & ~os.O_DIRECT)
        return True

    def _failed(self, action: str, error: OSError) -> Unavailable:
        return Unavailable(f"{self.path} does not answer: {action} ended in {error.strerror}")


def _opened(path: Path, flags: int) -> int:
    """Open with direct I/O where the filesystem of a file has it."""
    try:
        return os.open(path, flags | os.O_DIRECT | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return os.open(path, flags | os.O_CLOEXEC)
        raise Unavailable(f"{path} cannot be opened: {error.strerror}") from error
