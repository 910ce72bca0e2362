"""NVMe namespaces: a volume as one NVMe host sees it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.hosts.plane import DataPlane
from csi_powerflex.simulator.model import NO_ACCESS, NVME, READ_ONLY, Volume

BLOCK = 512
"""The size of a logical block in bytes."""

_SYSTEM_DIGITS = 10
_OUI = "64b94e"


def nguid(volume_id: str, system_id: str) -> str:
    """The identity of a volume as an NVMe namespace: 32 lower-case hexadecimal digits."""
    return f"{volume_id}{_OUI}{system_id[-_SYSTEM_DIGITS:]}".lower()


class Unmapped(Exception):
    """The namespace was taken from the host."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a host sees of a namespace. ``size`` is in bytes."""

    nguid: str
    size: int
    read_only: bool


class Namespace:
    """One volume for one host. The volume's file is open between the first I/O and the end of the mapping."""

    def __init__(self, volume_id: str, number: int, shape: Shape, plane: DataPlane) -> None:
        self.volume_id = volume_id
        self.number = number
        self.shape = shape
        self._plane = plane
        self._condition = threading.Condition()
        self._descriptor: int | None = None
        self._users = 0
        self._paused = False
        self._retired = False

    @contextlib.contextmanager
    def opened(self) -> Iterator[int]:
        """The volume's file for one I/O. The end of the mapping waits until the block has ended.

        Raises:
            Unmapped: the mapping has ended.
        """
        with self._condition:
            self._condition.wait_for(lambda: self._retired or not self._paused)
            if self._retired:
                raise Unmapped
            if self._descriptor is None:
                path = self._plane.file(self.volume_id, self.shape.size)
                self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            self._users += 1
            descriptor = self._descriptor
        try:
            yield descriptor
        finally:
            with self._condition:
                self._users -= 1
                self._condition.notify_all()

    def pause(self) -> None:
        """Let I/O wait, and return when none works on the file and the file has all of it."""
        with self._condition:
            self._paused = True
            self._condition.wait_for(lambda: self._users == 0)
            if self._descriptor is not None:
                os.fdatasync(self._descriptor)

    def go_on(self) -> None:
        """Let I/O continue."""
        with self._condition:
            self._paused = False
            self._condition.notify_all()

    def retire(self) -> None:
        """Refuse further I/O, and wait until no I/O works on the file. Then close it."""
        with self._condition:
            self._retired = True
            self._condition.notify_all()
            self._condition.wait_for(lambda: self._users == 0)
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None


Changed = Callable[[str, int], None]
"""What learns of a change: it gets the id of the host and the number of the namespace."""

_NONE: Mapping[int, Namespace] = {}


class Namespaces:
    """The namespaces of all NVMe hosts of a system, as the mappings say.

    ``refresh`` and ``refresh_all`` need the array's lock. All other methods work without it.
    """

    def __init__(self, array: Array, changed: Changed) -> None:
        self._array = array
        self._changed = changed
        self._by_host: dict[str, dict[int, Namespace]] = {}
        self._hosts_by_volume: dict[str, set[str]] = {}

    def of_host(self, host_id: str) -> Mapping[int, Namespace]:
        """The namespaces of a host by their numbers. The result does not change."""
        return self._by_host.get(host_id, _NONE)

    def refresh_all(self) -> None:
        """Follow all mappings to NVMe hosts."""
        mapped = {
            volume_id
            for host in self._array.hosts.values()
            if host.type == NVME
            for volume_id in self._array.volume_ids_by_host.get(host.id, ())
        }
        for volume_id in mapped | set(self._hosts_by_volume):
            self.refresh(volume_id)

    def refresh(self, volume_id: str) -> None:
        """Follow the mappings of one volume. When this returns, unmapped hosts have no I/O on it any more."""
        volume = self._array.volumes.get(volume_id)
        wanted = _shapes(self._array, volume) if volume is not None and volume.nsid else {}
        for host_id in self._hosts_by_volume.get(volume_id, set()) - set(wanted):
            self._remove(host_id, volume_id)
        for host_id, shape in wanted.items():
            if volume is not None:
                self._set(host_id, volume, shape)
        if wanted:
            self._hosts_by_volume[volume_id] = set(wanted)
        else:
            self._hosts_by_volume.pop(volume_id, None)

    @contextlib.contextmanager
    def paused(self, volume_ids: Collection[str]) -> Iterator[None]:
        """Let the I/O of all hosts on some volumes wait for the block. No other change runs meanwhile."""
        found = [
            namespace
            for namespaces in self._by_host.values()
            for namespace in namespaces.values()
            if namespace.volume_id in volume_ids
        ]
        try:
            for namespace in found:
                namespace.pause()
            yield
        finally:
            for namespace in found:
                namespace.go_on()

    def close(self) -> None:
        """Close all files."""
        for namespaces in self._by_host.values():
            for namespace in namespaces.values():
                namespace.retire()
        self._by_host = {}
        self._hosts_by_volume = {}

    def _set(self, host_id: str, volume: Volume, shape: Shape) -> None:
        known = self.of_host(host_id).get(volume.nsid)
        if known is not None and known.shape == shape:
            return
        if known is not None:
            known.shape = shape
        else:
            new = Namespace(volume.id, volume.nsid, shape, self._array.plane)
            self._by_host[host_id] = {**self.of_host(host_id), volume.nsid: new}
        self._changed(host_id, volume.nsid)

    def _remove(self, host_id: str, volume_id: str) -> None:
        left = dict(self.of_host(host_id))
        (removed,) = [each for each in left.values() if each.volume_id == volume_id]
        del left[removed.number]
        self._by_host[host_id] = left
        removed.retire()
        self._changed(host_id, removed.number)


def _is_nvme(array: Array, host_id: str) -> bool:
    host = array.hosts.get(host_id)
    return host is not None and host.type == NVME


def _shapes(array: Array, volume: Volume) -> dict[str, Shape]:
    """What each NVMe host should see of a volume, by the host's id."""
    return {
        mapping.host_id: Shape(
            nguid(volume.id, array.system.id), volume.size_kb * 1024, mapping.access_mode == READ_ONLY
        )
        for mapping in volume.mappings
        if mapping.access_mode != NO_ACCESS and _is_nvme(array, mapping.host_id)
    }
