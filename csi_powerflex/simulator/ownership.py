"""The owner of a folder: at most one simulator uses it, and temporary folders of killed ones are removed.

A simulator locks a file in its folder. The kernel releases this lock when the process ends, even if it is
killed, and never before. So a process that gets the lock knows that the owner is dead.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from csi_powerflex.simulator.hosts import btrfs, loop
from csi_powerflex.simulator.hosts.agent import detach_orphans, wait_until_detached

log = logging.getLogger(__name__)

_PREFIX = "powerflex-sim-"
_LOCK = "lock"
_TEMPORARY = b"temporary\n"
_KEPT = b"kept\n"


class InUse(Exception):
    """Another simulator uses the folder."""


class StillMounted(Exception):
    """Another filesystem is mounted below the folder, so nothing in it was removed."""


class FolderLock:
    """The lock of a folder, held until :meth:`release` or the end of the process."""

    def __init__(self, folder: Path, descriptor: int) -> None:
        self.folder = folder
        self._descriptor = descriptor

    @classmethod
    def of(cls, folder: Path) -> FolderLock:
        """Lock a permanent folder. Create it if it is missing.

        Raises:
            InUse: another simulator uses it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        return cls._locked(folder, _KEPT)

    @classmethod
    def of_temporary(cls) -> FolderLock:
        """Create and lock a temporary folder. It may be removed when its owner is dead."""
        return cls._locked(Path(tempfile.mkdtemp(prefix=_PREFIX)).resolve(), _TEMPORARY)

    @classmethod
    def _locked(cls, folder: Path, content: bytes) -> FolderLock:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        lock = cls(folder, descriptor)
        if not _lock(descriptor):
            lock.release()
            raise InUse(f"{folder} is in use by another simulator")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, content, 0)  # with the lock held: clear_orphans ignores an empty file
        return lock

    def release(self) -> None:
        """Release the lock. A second call has no effect."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def remove(folder: Path) -> None:
    """Delete a temporary folder.

    Raises:
        StillMounted: something is mounted below it, so its deletion could delete data of another filesystem.
    """
    _refuse_mounted(folder, _mounted_below(folder))
    shutil.rmtree(folder)


def _refuse_mounted(folder: Path, mountpoints: Iterable[Path]) -> None:
    paths = ", ".join(map(str, mountpoints))
    if paths:
        raise StillMounted(
            f"{folder} was not removed: {paths} is still mounted; unmount it and remove {folder}"
        )


def clear_orphans() -> list[Path]:
    """Remove the temporary folders of killed simulators of this user, with their mounts and loop devices.

    A folder stays if its lock is held, or if it may belong to another user. Returns the removed folders.
    """
    return [folder for folder in sorted(Path(tempfile.gettempdir()).glob(f"{_PREFIX}*")) if _cleared(folder)]


def _cleared(folder: Path) -> bool:
    with _orphan(folder) as is_orphan:
        if not is_orphan:
            return False
        try:
            _clear(folder.resolve())
        except (OSError, StillMounted) as error:
            log.warning("the folder of a killed simulator was not removed: %s", error)
            return False
    return True


@contextlib.contextmanager
def _orphan(folder: Path) -> Iterator[bool]:
    """Whether the folder is temporary and its owner is dead. If so, this process owns it during the block."""
    try:
        if not _is_private(folder):
            yield False
            return
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # another process removed it, it has no lock file, or this process may not open it
        yield False
        return
    try:
        # The first check keeps the lock of a new folder free for its owner. The last one is final: nothing
        # can change while the lock is held.
        yield _is_temporary(descriptor) and _lock(descriptor) and _is_unchanged(folder, descriptor)
    finally:
        os.close(descriptor)


def _is_private(folder: Path) -> bool:
    """Whether this user created the folder and no other user can write to it."""
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077


def _is_temporary(descriptor: int) -> bool:
    return os.pread(descriptor, len(_TEMPORARY) + 1, 0) == _TEMPORARY


def _is_unchanged(folder: Path, descriptor: int) -> bool:
    """Whether the locked file is still the folder's lock file and marks a temporary folder.

    Another process may have removed the folder, or started to use it, before this one got the lock.
    """
    try:
        status = (folder / _LOCK).lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(status, os.fstat(descriptor)) and _is_temporary(descriptor)


def _clear(folder: Path) -> None:
    """Remove the volumes' devices, then the pools' filesystems, then the files."""
    mountpoints = _mounted_below(folder)
    pools = [mountpoint for mountpoint in mountpoints if _is_pool(folder, mountpoint)]
    _refuse_mounted(folder, [mountpoint for mountpoint in mountpoints if mountpoint not in pools])
    images = {folder / "systems" / pool.parent.name / "pool.img" for pool in pools}
    known = loop.under(folder) if loop.why_unavailable() is None else {}
    detach_orphans({device: file for device, file in known.items() if file not in images}, set())
    for pool in pools:
        btrfs.unmount(pool)
    if known:
        wait_until_detached(folder)
    remove(folder)


def _is_pool(folder: Path, mountpoint: Path) -> bool:
    return mountpoint.name == "pool" and mountpoint.parent.parent == folder / "systems"


def _mounted_below(folder: Path) -> list[Path]:
    # Only a newline ends a line. Other characters that splitlines() takes for an end can be part of a path.
    lines = os.fsdecode(Path("/proc/self/mountinfo").read_bytes()).split("\n")
    mountpoints = (Path(_unescaped(line.split(" ")[4])) for line in lines if line)
    return [mountpoint for mountpoint in mountpoints if mountpoint.is_relative_to(folder)]


def _unescaped(text: str) -> str:
    """``text`` without the octal escapes that the kernel writes for space, tab, newline and backslash."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
