"""Facts about block devices, raw reads and writes, and a lock on a device.

The facts come from the kernel, by ioctl or sysfs. This module does not know what is on a device.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from csi_powerflex.errors import Busy, FailedPrecondition, Unavailable
from csi_powerflex.host.mountinfo import device_number
from csi_powerflex.host.syscalls import ioctl
from csi_powerflex.units import KIB

# linux/fs.h
_BLKROSET = 0x125D
_BLKROGET = 0x125E
_BLKGETSIZE64 = 0x80081272

_SYSFS = Path("/sys/dev/block")

# Reads of this size are the fastest, and their memory is small enough to be used again.
_BLOCK = 256 * KIB
_ZEROS = bytes(_BLOCK)


def size(device: Path) -> int:
    """The size of ``device`` in bytes.

    Raises:
        Unavailable: the device does not answer.
    """
    return int(struct.unpack("=Q", ioctl(device, _BLKGETSIZE64, bytes(8), kind="block device"))[0])


def is_read_only(device: Path) -> bool:
    """Whether the kernel refuses every write to ``device``.

    Raises:
        Unavailable: the device does not answer.
    """
    return bool(struct.unpack("=i", ioctl(device, _BLKROGET, bytes(4), kind="block device"))[0])


def set_read_only(device: Path, *, read_only: bool) -> None:
    """Make the kernel refuse every write to ``device``, or allow writes again, until the device disappears.

    Raises:
        Unavailable: the device does not answer.
    """
    ioctl(device, _BLKROSET, struct.pack("=i", read_only), kind="block device")


def exists(number: str) -> bool:
    """Whether the kernel has a block device with the number ``major:minor``.

    A device of size 0 does not count: it was removed while in use, and fails every request.
    """
    try:
        return int((_SYSFS / number / "size").read_text()) > 0
    except (OSError, ValueError):
        return False


def numbers(device: Path) -> tuple[str, ...]:
    """The ``major:minor`` of ``device`` and of its partitions."""
    own = device_number(device)
    folder = f"{_SYSFS}/{own}"
    names = _listed(folder)
    # The folder is a link to one with the name of the disk, and the name of a partition begins with that.
    disk = os.path.basename(os.readlink(folder)) if names else ""  # noqa: PTH115, PTH119
    parts = [Path(folder, name) for name in names if name.startswith(disk)]
    return own, *((part / "dev").read_text().strip() for part in parts if (part / "partition").exists())


def holders(device: Path) -> list[str]:
    """The names of the devices stacked on ``device`` or its partitions, such as dm-0 of a multipath map."""
    return stacked_on(numbers(device))


def stacked_on(numbers_below: Iterable[str]) -> list[str]:
    """The names of the devices stacked on the devices with these numbers, see ``holders``."""
    return sorted(name for number in numbers_below for name in _listed(f"{_SYSFS}/{number}/holders"))


def _listed(folder: str) -> list[str]:
    """The names in a folder; none if it is missing."""
    try:
        return os.listdir(folder)  # noqa: PTH208
    except FileNotFoundError:
        return []


def require_unused(device: Path) -> None:
    """Make sure that nothing mounts or holds ``device``, in any mount namespace.

    Raises:
        FailedPrecondition: other devices are stacked on it.
        Busy: something else holds it.
        Unavailable: the device does not answer.
    """
    if not is_claimed(device):
        return
    stacked = ", ".join(holders(device))
    if stacked:
        raise FailedPrecondition(
            f"{device} must be unused for this, but is held by the devices {stacked} on top of it "
            "(is multipathd told to leave scini devices alone?); end that use, then try again"
        )
    # The use may end without any action: an mkfs or fsck outlives the driver that started it.
    raise Busy(
        f"{device} must be unused for this, but is held by something that this process does not see: "
        "a program, or another mount namespace; end that use, or wait for its end, then try again"
    )


def is_claimed(device: Path) -> bool:
    """Whether a filesystem, a stacked device or a program claims ``device``, in any mount namespace.

    Raises:
        Unavailable: the device does not answer.
    """
    try:
        # O_EXCL on a block device fails while a filesystem or a stacked device claims it (open(2)).
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise _unanswered(device, error, "opening it") from error
        return True
    return False


@contextlib.contextmanager
def locked(device: Path) -> Iterator[int]:
    """Lock ``device`` against changes by any process of this driver.

    Yields a file descriptor that carries the lock. A command that inherits the descriptor keeps the device
    locked until the command ends, even when this process is killed. So an mkfs or fsck that outlives its
    plugin never runs together with a second one. The lock is on the device's directory in sysfs, because
    tools lock the device file themselves.

    Raises:
        Busy: the device is locked.
        Unavailable: the device does not exist any more.
    """
    try:
        descriptor = os.open(_SYSFS / device_number(device), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _unanswered(device, error, "locking it") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(
                f"a command that was started earlier still works on {device}; try again when it has ended"
            ) from None
        yield descriptor
    finally:
        os.close(descriptor)


class Reader:
    """Reads a device, and not a cache of it; see ``opened``. Offsets and lengths are multiples of 4096."""

    def __init__(self, device: Path, descriptor: int, memory: mmap.mmap) -> None:
        self._device = device
        self._descriptor = descriptor
        self._memory = memory

    def read(self, *, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``.

        Raises:
            Unavailable: a part could not be read.
        """
        return b"".join(self._blocks(offset, length))

    def is_zero(self, *, offset: int, length: int) -> bool:
        """Whether the ``length`` bytes from ``offset`` are all zero. It reads up to the first that is not.

        Raises:
            Unavailable: a part could not be read.
        """
        return all(block == _ZEROS[: len(block)] for block in self._blocks(offset, length))

    def _blocks(self, offset: int, length: int) -> Iterator[bytes]:
        for begin in range(offset, offset + length, _BLOCK):
            size = min(_BLOCK, offset + length - begin)
            with memoryview(self._memory) as memory, memory[:size] as part:
                try:
                    count = os.preadv(self._descriptor, [part], begin)
                except OSError as error:
                    raise _unanswered(self._device, error, f"reading {size} bytes at {begin}") from error
                if count != size:
                    short = OSError(errno.EIO, f"{count} of {size} bytes")
                    raise _unanswered(self._device, short, f"reading {size} bytes at {begin}")
                yield bytes(part)


@contextlib.contextmanager
def opened(device: Path) -> Iterator[Reader]:
    """Open ``device`` for reading during the block.

    One descriptor and one piece of memory serve all reads of the block: many samples are then read several
    times as fast, and no large memory is left behind.

    Raises:
        Unavailable: it cannot be opened.
    """
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError as error:
        raise _unanswered(device, error, "opening it") from error
    try:
        with mmap.mmap(-1, _BLOCK) as memory:  # O_DIRECT needs an aligned buffer
            yield Reader(device, descriptor, memory)
    finally:
        os.close(descriptor)


def read(device: Path, *, offset: int, length: int) -> bytes:
    """``length`` bytes of ``device`` from ``offset``, read from the device and not from a cache.

    Both are multiples of 4096.

    Raises:
        Unavailable: a part could not be read.
    """
    with opened(device) as reader:
        return reader.read(offset=offset, length=length)


def read_cached(device: Path, *, offset: int, length: int) -> bytes:
    """Up to ``length`` bytes of ``device`` from ``offset``, read through the page cache.

    A mounted filesystem writes its superblock to the page cache first. At the end of the device, the answer
    is shorter than ``length``.

    Raises:
        Unavailable: they could not be read.
    """
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _unanswered(device, error, f"reading {length} bytes at {offset}") from error


def write(device: Path, data: bytes, *, offset: int) -> None:
    """Write ``data`` at ``offset`` of ``device``, durably. Length and offset are multiples of 4096.

    Raises:
        Unavailable: a part could not be written.
    """
    try:
        descriptor = os.open(device, os.O_WRONLY | os.O_DIRECT | os.O_SYNC | os.O_CLOEXEC)
        try:
            with mmap.mmap(-1, len(data)) as memory:
                memory[:] = data
                count = os.pwritev(descriptor, [memory], offset)
                if count != len(data):
                    raise OSError(errno.EIO, f"{count} of {len(data)} bytes")
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _unanswered(device, error, f"writing {len(data)} bytes at {offset}") from error


def _unanswered(device: Path, error: OSError, action: str) -> Unavailable:
    return Unavailable(f"the block device {device} does not answer: {action} ended in {error.strerror}")
