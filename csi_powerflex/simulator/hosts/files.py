"""Volumes as sparse files in a folder.

Where the filesystem can share blocks between files (btrfs, xfs), a snapshot of one volume is consistent. On
other filesystems, and for several volumes, the files are copied one after the other. Such a snapshot is not
consistent if a process writes to the volumes during the copy.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from csi_powerflex.simulator.hosts import sparse

_CACHE_SECONDS = 1.0


class FolderPlane:
    """The data plane over an ordinary folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.description = f"sparse files in {folder}: snapshots of several volumes in use are not consistent"
        self._allocated: dict[str, int] = {}
        self._allocated_at = float("-inf")

    def _path(self, volume_id: str) -> Path:
        return self.folder / volume_id

    def file(self, volume_id: str, size: int) -> Path:
        """The file of a volume. It is created or grown to ``size`` bytes if needed."""
        path = self._path(volume_id)
        with sparse.opened(path, os.O_RDWR | os.O_CREAT) as descriptor:
            if os.fstat(descriptor).st_size < size:
                os.truncate(descriptor, size)
        return path

    def snapshot(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Copy the sources one after the other. A source without a file has no data."""
        for source, new in pairs:
            if self._path(source).exists():
                self.copy_whole(self._path(source), self._path(new))

    def copy_whole(self, source: Path, target: Path) -> None:
        """Copy a file under a temporary name, then rename it. An interrupted copy is never a volume."""
        partial = target.with_name(f".{target.name}.partial")
        partial.unlink(missing_ok=True)
        sparse.copy(source, partial)
        partial.rename(target)

    def overwrite(self, source: str, target: str) -> None:
        """Copy the bytes of ``source`` into the file of ``target``, so that existing devices show them."""
        if not self._path(source).exists() and not self._path(target).exists():
            return
        size = max(path.stat().st_size for path in (self._path(source), self._path(target)) if path.exists())
        sparse.copy(self.file(source, size), self.file(target, size))

    def remove(self, volume_id: str) -> None:
        """Delete the file of a volume, if it has one."""
        self._path(volume_id).unlink(missing_ok=True)

    def keep_only(self, volume_ids: set[str]) -> None:
        """Delete the files of all other volumes. An interrupted change can leave them."""
        for entry in list(os.scandir(self.folder)):
            if entry.is_file(follow_symlinks=False) and entry.name not in volume_ids:
                (self.folder / entry.name).unlink()

    def allocated(self) -> Mapping[str, int]:
        """The bytes that each file takes on disk. The figures are at most one second old."""
        now = time.monotonic()
        if now - self._allocated_at > _CACHE_SECONDS:
            self._allocated_at = now
            self._allocated = {
                entry.name: entry.stat().st_blocks * 512
                for entry in os.scandir(self.folder)
                if entry.is_file(follow_symlinks=False)
            }
        return self._allocated

    def close(self) -> None:
        """Nothing to close."""
