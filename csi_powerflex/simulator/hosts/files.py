"""Volumes as sparse files in a folder.

A snapshot of one volume is one moment where the filesystem can share blocks between files (btrfs, xfs).
Elsewhere, and for several volumes at once, the files are copied one after the other: a cut of volumes
that are being written is not one moment then.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from csi_powerflex.simulator.hosts import sparse

_REMEMBERED_SECONDS = 1.0


class FolderPlane:
    """The data plane over an ordinary folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.description = f"sparse files in {folder}; snapshots of several busy volumes are not one moment"
        self._allocated: dict[str, int] = {}
        self._looked_at = float("-inf")

    def _path(self, volume_id: str) -> Path:
        return self.folder / volume_id

    def file(self, volume_id: str, size: int) -> Path:
        """The file of a volume, made or grown to ``size`` bytes when need be."""
        path = self._path(volume_id)
        with sparse.opened(path, os.O_RDWR | os.O_CREAT) as descriptor:
            if os.fstat(descriptor).st_size < size:
                os.truncate(descriptor, size)
        return path

    def snapshot(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Copy the sources one after the other; sources without a file have nothing to copy."""
        for source, new in pairs:
            if self._path(source).exists():
                self.copy_whole(self._path(source), self._path(new))

    def copy_whole(self, source: Path, target: Path) -> None:
        """Copy under another name first, so that an interrupted copy is never taken for a volume."""
        partial = target.with_name(f".{target.name}.partial")
        partial.unlink(missing_ok=True)
        sparse.copy(source, partial)
        partial.rename(target)

    def overwrite(self, source: str, target: str) -> None:
        """Give ``target`` the bytes of ``source`` in place, so that devices on it see them."""
        if not self._path(source).exists() and not self._path(target).exists():
            return
        size = max(path.stat().st_size for path in (self._path(source), self._path(target)) if path.exists())
        sparse.copy(self.file(source, size), self.file(target, size))

    def remove(self, volume_id: str) -> None:
        """Delete the file of a volume, if it ever had one."""
        self._path(volume_id).unlink(missing_ok=True)

    def keep_only(self, volume_ids: set[str]) -> None:
        """Delete the files of all other volumes: leftovers of an interrupted change."""
        for entry in list(os.scandir(self.folder)):
            if entry.is_file(follow_symlinks=False) and entry.name not in volume_ids:
                (self.folder / entry.name).unlink()

    def allocated(self) -> Mapping[str, int]:
        """Bytes that each file takes, at most a second old."""
        now = time.monotonic()
        if now - self._looked_at > _REMEMBERED_SECONDS:
            self._looked_at = now
            self._allocated = {
                entry.name: entry.stat().st_blocks * 512
                for entry in os.scandir(self.folder)
                if entry.is_file(follow_symlinks=False)
            }
        return self._allocated

    def close(self) -> None:
        """Nothing is held."""
