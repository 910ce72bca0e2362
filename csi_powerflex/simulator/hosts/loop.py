"""Loop devices by ioctl, as with ``losetup``, but without starting a process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

_CONTROL = Path("/dev/loop-control")
_SYSFS = Path("/sys/block")
_MAJOR = 7

_CTL_GET_FREE = 0x4C82
_SET_STATUS64 = 0x4C04
_GET_STATUS64 = 0x4C05
_CLR_FD = 0x4C01
_SET_CAPACITY = 0x4C07
_CONFIGURE = 0x4C0A
_BLKROSET = 0x125D
_BLKFLSBUF = 0x1261

_DIRECT_IO = 16
_INFO_SIZE = 232
_SIZE_LIMIT_AT = 32
_FLAGS_AT = 52


def why_unavailable() -> str | None:
    """The reason why this process cannot make loop devices; None if it can."""
    if os.geteuid() != 0:
        return "block devices need root, and this process does not run as root"
    try:
        os.close(os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"block devices need {_CONTROL}, and this process cannot open it: {error.strerror}"
    return None


@contextlib.contextmanager
def _opened(path: Path, flags: int = os.O_RDWR) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def attach(file: Path, *, read_only: bool) -> Path:
    """Make a loop device over ``file``, with direct I/O if the filesystem supports it. Returns its path."""
    with _opened(file) as backing:
        while True:
            with _opened(_CONTROL) as control:
                device = _node(fcntl.ioctl(control, _CTL_GET_FREE))
            if _configured(device, backing):
                break
    set_read_only(device, read_only=read_only)  # the kernel keeps this flag from the last use of the device
    return device


def _node(number: int) -> Path:
    device = Path(f"/dev/loop{number}")
    if not device.exists():
        with contextlib.suppress(FileExistsError):
            os.mknod(device, stat.S_IFBLK | 0o660, os.makedev(_MAJOR, number))
    return device


def _configured(device: Path, backing: int) -> bool:
    """Attach the device. False when another process took it first."""
    for flags in (_DIRECT_IO, 0):
        info = bytearray(_INFO_SIZE)
        struct.pack_into("<I", info, _FLAGS_AT, flags)
        config = struct.pack("<II", backing, 0) + bytes(info) + bytes(64)
        try:
            with _opened(device) as descriptor:
                fcntl.ioctl(descriptor, _CONFIGURE, config)
        except OSError as error:
            if error.errno == errno.EBUSY:
                return False
            if error.errno != errno.EINVAL or not flags:
                raise
        else:
            return True
    return False


def set_read_only(device: Path, *, read_only: bool) -> None:
    """Make the device refuse or accept writes."""
    with _opened(device, os.O_RDONLY) as descriptor:
        fcntl.ioctl(descriptor, _BLKROSET, struct.pack("i", read_only))


def grow(device: Path) -> None:
    """Set the size of the device to the size of its file."""
    with _opened(device, os.O_RDONLY) as descriptor:
        fcntl.ioctl(descriptor, _SET_CAPACITY, 0)


def forget_cached(device: Path) -> None:
    """Drop the kernel's cache of the device. Call it after its file was changed."""
    with _opened(device, os.O_RDONLY) as descriptor:
        fcntl.ioctl(descriptor, _BLKFLSBUF, 0)


def detach(device: Path, file: Path) -> None:
    """Detach the device from ``file``. Processes that have it open get I/O errors.

    A device that is over another file belongs to another process and is not changed.
    """
    if not is_over(device, file):
        return
    with _opened(device, os.O_RDONLY) as descriptor:
        # Until it was open, another process could have taken it. Now no other process can.
        if not is_over(device, file):
            return
        fcntl.ioctl(descriptor, _BLKROSET, struct.pack("i", 0))
        fcntl.ioctl(descriptor, _CLR_FD, 0)
        try:
            info = bytearray(fcntl.ioctl(descriptor, _GET_STATUS64, bytes(_INFO_SIZE)))
        except OSError as error:
            if error.errno == errno.ENXIO:  # no other process has it open: it ends when this one closes it
                return
            raise
        # One byte is less than a sector, so the device is now empty. A change of its offset would not be
        # safe: I/O in progress would go to the new offset.
        struct.pack_into("<Q", info, _SIZE_LIMIT_AT, 1)
        fcntl.ioctl(descriptor, _SET_STATUS64, bytes(info))


def detach_when_unused(device: Path) -> None:
    """Detach the device as soon as no process has it open or mounted."""
    with _opened(device, os.O_RDONLY) as descriptor:
        fcntl.ioctl(descriptor, _CLR_FD, 0)


@contextlib.contextmanager
def shared(file: Path) -> Iterator[Path]:
    """A device over ``file`` for the block. After the block it stays as long as it is mounted anywhere.

    If ``file`` already has a device, this is used. Two devices over one file would be two independent
    mounts of one filesystem, which destroys it. The other mount may be in another mount namespace.
    """
    for device in _over(file):
        with _opened(device, os.O_RDONLY):
            if is_over(device, file):
                yield device
                return
    device = attach(file, read_only=False)
    try:
        yield device
    finally:
        detach_when_unused(device)


def is_over(device: Path, file: Path) -> bool:
    """Whether the loop device is over ``file``, by its path or by its inode.

    The kernel shows the path in the mount namespace where the device was made. The same file can have
    another path here, for example after the end of a container.
    """
    found = backing_file(device)
    return found == file or (found is not None and _is_same(device, found, file))


def _is_same(device: Path, shown: Path, file: Path) -> bool:
    """Whether the device is over ``file``, although the kernel shows the path ``shown`` for it.

    The device is opened only if that path does not exist here. While this process has it open, its owner
    cannot detach it.
    """
    if shown.name != file.name:
        return False
    try:
        if shown.exists():
            return shown.samefile(file)
        status = file.stat()
        with _opened(device, os.O_RDONLY) as descriptor:
            info = fcntl.ioctl(descriptor, _GET_STATUS64, bytes(_INFO_SIZE))
    except OSError:
        return False
    return struct.unpack_from("<QQ", info) == (status.st_dev, status.st_ino)


def _over(file: Path) -> list[Path]:
    devices = [Path("/dev") / entry.name for entry in _SYSFS.glob("loop*") if not _is_empty(entry)]
    return [device for device in devices if is_over(device, file)]


def backing_file(device: Path) -> Path | None:
    """The file under a loop device, by the path that the kernel shows; None when it has none."""
    try:
        text = os.fsdecode((_SYSFS / device.name / "loop" / "backing_file").read_bytes()).rstrip("\n")
    except OSError:
        return None
    return Path(text.removesuffix(" (deleted)"))


def under(folder: Path) -> dict[Path, Path]:
    """The loop devices over files below ``folder``: device to file.

    A device whose path is from another mount namespace is found only if its file is directly in ``folder``.
    """
    found = {}
    for entry in _SYSFS.glob("loop*"):
        device = Path("/dev") / entry.name
        file = backing_file(device)
        if file is None or _is_empty(entry):
            continue
        if file.is_relative_to(folder):
            found[device] = file
        elif _is_same(device, file, folder / file.name):
            found[device] = folder / file.name
    return found


def _is_empty(entry: Path) -> bool:
    """Whether the device was detached while it was open, see ``detach``."""
    return (entry / "size").read_text().strip() == "0"
