"""Volumes as files on btrfs, where a snapshot of several volumes is consistent.

The filesystem is in a sparse image that is mounted below the simulator's folder. A snapshot of several
volumes is one btrfs snapshot of the subvolume that contains their files. The new volumes then share the
blocks of these files, so no data is copied. Loop devices over the files must use direct I/O. Else,
acknowledged writes could still be in memory at the time of the snapshot.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from csi_powerflex.simulator.hosts import loop
from csi_powerflex.simulator.hosts.files import FolderPlane

_SUBVOLUME_CREATE = 0x5000940E
_SNAPSHOT_DESTROY = 0x5000940F
_SNAPSHOT_CREATE = 0x50009417
_NAME_V1 = 4088
_NAME_V2 = 4040
_IMAGE_SIZE = 8 << 40
_UNMOUNT_DETACHED = 2
_NO_ACCESS_TIMES = 1024
_SNAPSHOT_PREFIX = "snapshot-"


class CannotMount(Exception):
    """The pool's filesystem cannot be created or mounted. The message says why."""


class BtrfsPlane(FolderPlane):
    """The data plane over a btrfs image: ``folder``/pool.img, mounted at ``folder``/pool."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.image = folder / "pool.img"
        self.mountpoint = folder / "pool"
        self._mount()
        volumes = self.mountpoint / "volumes"
        try:
            if not volumes.exists():
                _command(self.mountpoint, _SUBVOLUME_CREATE, struct.pack(f"<q{_NAME_V1}s", 0, b"volumes"))
            super().__init__(volumes)
            self._drop_snapshots()
        except BaseException:
            self.close()
            raise
        self.description = f"btrfs in {self.image}: snapshots of several volumes are consistent"

    def snapshot(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Take one btrfs snapshot of all sources, then copy the new files from it."""
        written = [(source, new) for source, new in pairs if self._path(source).exists()]
        if len(written) < 2:  # the copy of one file is consistent without a snapshot
            super().snapshot(written)
            return
        name = f"{_SNAPSHOT_PREFIX}{written[0][1]}"
        with _folder(self.folder) as volumes:
            arguments = struct.pack(f"<qQQ4Q{_NAME_V2}s", volumes, 0, 0, 0, 0, 0, 0, name.encode())
            _command(self.mountpoint, _SNAPSHOT_CREATE, arguments)
        try:
            for source, new in written:
                self.copy_whole(self.mountpoint / name / source, self._path(new))
        finally:
            self._drop(name)

    def close(self) -> None:
        """Unmount the filesystem. The image keeps the data."""
        unmount(self.mountpoint)

    # --- the filesystem ----------------------------------------------------------------------------

    def _mount(self) -> None:
        self.mountpoint.mkdir(exist_ok=True)
        if self.mountpoint.is_mount():  # by a run that was killed
            return
        if not self.image.exists():
            _make_image(self.image)
        with loop.shared(self.image) as device:
            _mount(device, self.mountpoint)

    def _drop(self, name: str) -> None:
        _command(self.mountpoint, _SNAPSHOT_DESTROY, struct.pack(f"<q{_NAME_V1}s", 0, name.encode()))

    def _drop_snapshots(self) -> None:
        """Remove btrfs snapshots that an interrupted run left."""
        for entry in self.mountpoint.glob(f"{_SNAPSHOT_PREFIX}*"):
            self._drop(entry.name)


def why_unavailable() -> str | None:
    """The reason why this machine cannot have such a filesystem; None if there is no known reason."""
    if shutil.which("mkfs.btrfs") is None:
        return "mkfs.btrfs is not installed (Debian package btrfs-progs)"
    if (reason := loop.why_unavailable()) is not None:
        return reason
    return None if _kernel_has_btrfs() else "this kernel has no btrfs"


def _kernel_has_btrfs() -> bool:
    """Try to mount a device that does not exist. This makes the kernel load its btrfs module, if any."""
    _libc.mount(b"no-such-device", os.fsencode(tempfile.gettempdir()), b"btrfs", ctypes.c_ulong(0), None)
    return ctypes.get_errno() != errno.ENODEV


def _make_image(image: Path) -> None:
    partial = image.with_name(f".{image.name}.partial")
    partial.unlink(missing_ok=True)
    with partial.open("xb") as opened:
        opened.truncate(_IMAGE_SIZE)
    made = subprocess.run(  # noqa: S603 - no argument comes from outside
        ["mkfs.btrfs", "--quiet", "--nodiscard", str(partial)],  # noqa: S607 - from PATH, as administrators expect
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        partial.unlink()
        raise CannotMount(f"mkfs.btrfs {partial} failed: {made.stderr.strip()}")
    partial.rename(image)


_libc = ctypes.CDLL(None, use_errno=True)


def _mount(device: Path, mountpoint: Path) -> None:
    arguments = (
        os.fsencode(device),
        os.fsencode(mountpoint),
        b"btrfs",
        ctypes.c_ulong(_NO_ACCESS_TIMES),
        b"nodiscard",
    )
    if _libc.mount(*arguments):
        number = ctypes.get_errno()
        raise CannotMount(f"mounting {device} at {mountpoint} failed: {os.strerror(number)}")


def unmount(mountpoint: Path) -> None:
    """Unmount. If a process has a file open there, the filesystem stays in use until the file is closed."""
    if not mountpoint.is_mount():
        return
    if _libc.umount2(os.fsencode(mountpoint), 0) and _libc.umount2(
        os.fsencode(mountpoint), _UNMOUNT_DETACHED
    ):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(mountpoint))


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _command(folder: Path, number: int, argument: bytes) -> None:
    with _folder(folder) as descriptor:
        fcntl.ioctl(
            descriptor, number, bytearray(argument)
        )  # Python limits bytes, but not a bytearray, to 1 KiB
