"""Whose a folder is: one simulator uses it at most, and what a killed one left is cleared if temporary.

A simulator holds a lock on a file in its folder for as long as it lives. The kernel lets go of that lock at
the end of the process, however sudden, and never before: who gets the lock knows that the owner is dead.
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
from collections.abc import Iterator
from pathlib import Path

from csi_powerflex.simulator.hosts import btrfs, loop
from csi_powerflex.simulator.hosts.agent import detach_orphans, wait_until_gone

log = logging.getLogger(__name__)

_PREFIX = "powerflex-sim-"
_LOCK = "lock"
_TEMPORARY = b"temporary\n"
_KEPT = b"kept\n"


class InUse(Exception):
    """Another simulator uses the folder."""


class StillMounted(Exception):
    """Something that is not the simulator's is mounted below the folder, so nothing there was removed."""


class FolderLock:
    """The lock of a folder, held until :meth:`release` or the end of the process."""

    def __init__(self, folder: Path, descriptor: int) -> None:
        self.folder = folder
        self._descriptor = descriptor

    @classmethod
    def of(cls, folder: Path) -> FolderLock:
        """Claim a folder that is to be kept; it is made when missing.

        Raises:
            InUse: another simulator has it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        return cls._locked(folder, _KEPT)

    @classmethod
    def of_temporary(cls) -> FolderLock:
        """Claim a new folder that may be cleared once its owner is dead."""
        return cls._locked(Path(tempfile.mkdtemp(prefix=_PREFIX)).resolve(), _TEMPORARY)

    @classmethod
    def _locked(cls, folder: Path, content: bytes) -> FolderLock:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        claim = cls(folder, descriptor)
        if not _lock(descriptor):
            claim.release()
            raise InUse(f"{folder} is in use by another simulator")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, content, 0)  # after the lock: an empty file says nothing to clear_orphans
        return claim

    def release(self) -> None:
        """Let go; a second time is nothing."""
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
    """Delete a temporary folder, once nothing of another filesystem can be reached through it.

    Raises:
        StillMounted: something is mounted below it.
    """
    mounted = _mounted_below(folder)
    if mounted:
        raise StillMounted(f"{folder} is left: {', '.join(map(str, mounted))} is still mounted")
    shutil.rmtree(folder)


def clear_orphans() -> list[Path]:
    """Clear the temporary folders of this user's simulators that were killed: mounts, loop devices, files.

    Whose lock is held is left alone, and so is every folder that is not surely ours. Returns the folders
    that are gone.
    """
    return [folder for folder in sorted(Path(tempfile.gettempdir()).glob(f"{_PREFIX}*")) if _cleared(folder)]


def _cleared(folder: Path) -> bool:
    with _orphan(folder) as is_orphan:
        if not is_orphan:
            return False
        try:
            _clear(folder.resolve())
        except (OSError, StillMounted) as error:
            log.warning("what a killed simulator left could not be cleared: %s", error)
            return False
    return True


@contextlib.contextmanager
def _orphan(folder: Path) -> Iterator[bool]:
    """Whether the folder is a temporary one whose owner is dead; if so, it is ours within the block."""
    try:
        if not _is_private(folder):
            yield False
            return
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # gone meanwhile, no lock file, or not ours to open
        yield False
        return
    try:
        # Looked at before, so that a folder just being made is not locked; and after, when it cannot change.
        yield _is_temporary(descriptor) and _lock(descriptor) and _is_there(folder, descriptor)
    finally:
        os.close(descriptor)


def _is_private(folder: Path) -> bool:
    """Made by this user, and nobody else can have put anything into it."""
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077


def _is_temporary(descriptor: int) -> bool:
    return os.pread(descriptor, len(_TEMPORARY) + 1, 0) == _TEMPORARY


def _is_there(folder: Path, descriptor: int) -> bool:
    """Whether the locked file still is the folder's, and still says so: another may have been quicker."""
    try:
        status = (folder / _LOCK).lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(status, os.fstat(descriptor)) and _is_temporary(descriptor)


def _clear(folder: Path) -> None:
    """What the end of the simulator would have done: devices, then their filesystems, then the files."""
    pools = [mountpoint for mountpoint in _mounted_below(folder) if _is_pool(folder, mountpoint)]
    foreign = set(_mounted_below(folder)) - set(pools)
    if foreign:
        raise StillMounted(f"{folder} is left: {', '.join(map(str, foreign))} is still mounted")
    images = {folder / "systems" / pool.parent.name / "pool.img" for pool in pools}
    known = loop.under(folder) if loop.why_unavailable() is None else {}
    detach_orphans({device: file for device, file in known.items() if file not in images}, set())
    for pool in pools:
        btrfs.unmount(pool)
    if known:
        wait_until_gone(folder)
    remove(folder)


def _is_pool(folder: Path, mountpoint: Path) -> bool:
    return mountpoint.name == "pool" and mountpoint.parent.parent == folder / "systems"


def _mounted_below(folder: Path) -> list[Path]:
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    mountpoints = (Path(_unescaped(line.split(" ")[4])) for line in lines)
    return [mountpoint for mountpoint in mountpoints if mountpoint.is_relative_to(folder)]


def _unescaped(text: str) -> str:
    """The kernel writes blanks, tabs, newlines and backslashes as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
