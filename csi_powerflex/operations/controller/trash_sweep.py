"""Removing what is due in the trash, in the background.

Each controller does it. No leader is needed: a removal that another controller was faster with does nothing.

A volume is removed only if its name says so when it is read by its id just before, it is not mapped, and no
PersistentVolume has it. A command that undeletes a volume renames it only if it is not due for some minutes.
So the two do not meet, unless a request takes minutes. Where volumes must leave the trash earlier, they first
get a name that is due after these minutes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from csi_powerflex import names
from csi_powerflex.background import Loop
from csi_powerflex.errors import DriverError, InvalidArgument, NotFound, is_final
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.array import NameInUse, Volume
from csi_powerflex.model.ports import Array, Fleet
from csi_powerflex.model.snapshot_policy import NeededHandles
from csi_powerflex.model.trash import VolumeNeeds
from csi_powerflex.observability import metrics
from csi_powerflex.observability.log import Log

log = Log(__name__)

SPARE_SECONDS = 300
"""A volume that is due sooner than this cannot be undeleted any more."""

_NAME = "trash"
_FIRST_SECONDS = 60.0
# Below this share of free capacity, a pool needs the capacity of its trash.
_LEAST_FREE = 0.1


@dataclass(frozen=True, slots=True)
class _Trashed:
    """A volume in the trash, and what its name says."""

    volume: Volume
    name: names.TrashName


class TrashSweep:
    """Removes what is due in the trash of one cluster, on all systems that have one.

    Args:
        fleet: the systems.
        cluster_id: the cluster.
        needs: what PersistentVolumes of this driver need.
        needed: the handles that Kubernetes has, of every driver. It is called at most once in a round, if
            something is due.
        seconds: from one round to the next. A round costs a list of all volumes of each system. The first
            round is at most a minute after the start, so that a controller that is restarted again and again
            asks for no lists.
        now: the time in seconds since 1970.
    """

    def __init__(
        self,
        fleet: Fleet,
        cluster_id: str,
        needs: VolumeNeeds,
        *,
        needed: NeededHandles = frozenset,
        seconds: float = 600.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._fleet = fleet
        self._cluster_id = cluster_id
        self._needs = needs
        self._needed = needed
        self._needed_now: Collection[str] | None = None
        self._seconds = seconds
        self._now = now
        self._begun = False
        self._failed: set[VolumeHandle] = set()
        self._loop = Loop(_NAME, self._begin)

    def start(self) -> None:
        """Begin to sweep."""
        self._loop.start()

    def stop(self) -> None:
        """Begin no further round."""
        self._loop.request_stop()

    def _begin(self) -> float:
        if self._begun:
            return self.step()
        self._begun = True
        return min(self._seconds, _FIRST_SECONDS)

    def step(self) -> float:
        """One round. Returns the seconds until the next one."""
        self._needed_now = None
        for array in self._fleet.arrays():
            rules = array.trash
            if rules is None:
                _show_nothing(array)
                continue
            try:
                self._sweep(array, rules.max_bytes)
            except DriverError as error:
                _show_nothing(array)
                log.warning("trash not swept", system=array.label, reason=error)
        return self._seconds

    def _sweep(self, array: Array, max_bytes: int | None) -> None:
        found = self._found(array)
        now = self._time(array)
        due = [item for item in found if item.name.due <= now]
        kept = [item for item in found if item.name.due > now]
        due.sort(key=lambda item: item.volume.handle in self._failed)
        kept += [item for item in due if not self._removed(array, item)]
        for item in _too_many(kept, max_bytes):
            self._bring_forward(array, item, now)
        for item in self._in_short_pools(array, kept):
            self._bring_forward(array, item, now)
        metrics.TRASH_VOLUMES.show(array.label, {(): len(kept)})
        metrics.TRASH_BYTES.show(array.label, {(): sum(item.volume.size for item in kept)})

    def _time(self, array: Array) -> int:
        """The earlier one of the times here and at the system. A clock that is fast removes nothing early."""
        here, there = self._now(), array.time
        if there is None:
            return round(here)
        if here - there > SPARE_SECONDS:
            log.warning(
                "the clock of this host is ahead of the gateway's, which counts for the trash",
                system=array.label,
                seconds=round(here - there),
            )
        return round(min(here, there))

    def _found(self, array: Array) -> list[_Trashed]:
        """What this cluster has in the trash, the first to be due first."""
        named = ((volume, names.trashed(volume.name)) for volume in array.volumes())
        found = [
            _Trashed(volume, name)
            for volume, name in named
            if name is not None and name.cluster_id == self._cluster_id
        ]
        return sorted(found, key=lambda item: (item.name.due, item.volume.handle.volume_id))

    def _removed(self, array: Array, item: _Trashed) -> bool:
        """As ``_remove``. A volume that the array refuses to remove stays, and the others are removed.

        After another error the round ends. The volume is the last one in the next round, so it does not keep
        the others either.
        """
        try:
            removed = self._remove(array, item)
        except DriverError as error:
            self._failed.add(item.volume.handle)
            if not is_final(error):
                raise
            log.warning("volume in the trash was not removed", volume=item.volume.handle, reason=error)
            return False
        self._failed.discard(item.volume.handle)
        return removed

    def _remove(self, array: Array, item: _Trashed) -> bool:
        """Remove a volume that is due. Returns whether it is removed; False if it has to stay."""
        volume = self._unchanged(array, item)
        if volume is None:
            return True
        reason = f"mapped to {', '.join(map(str, volume.mappings))}" if volume.mappings else ""
        if not reason and self._is_needed(volume.handle):
            reason = "a PersistentVolume has it"
        if reason:
            log.warning("volume in the trash is in use and was kept", volume=volume.handle, reason=reason)
            return False
        with contextlib.suppress(NotFound):
            _leave_policy(array, volume)
            array.remove_volume(volume.handle.volume_id)
            log.info("volume removed from the trash", volume=volume.handle, array_name=volume.name)
        return True

    def _is_needed(self, handle: VolumeHandle) -> bool:
        """Whether a PersistentVolume has the volume, of this driver or another one."""
        if self._needs.is_needed(handle):
            return True
        if self._needed_now is None:
            self._needed_now = self._needed()
        return str(handle) in self._needed_now

    def _bring_forward(self, array: Array, item: _Trashed, now: int) -> None:
        """Let a volume be due soon."""
        due = now + SPARE_SECONDS
        if item.name.due <= due or self._unchanged(array, item) is None:
            return
        name = names.TrashName(item.name.cluster_id, due, item.name.rest)
        # The name is in use if another controller does the same, or if it is that of another volume.
        with contextlib.suppress(NotFound, NameInUse):
            array.rename_volume(item.volume.handle.volume_id, str(name))
            log.info("volume leaves the trash early", volume=item.volume.handle, array_name=str(name))

    @staticmethod
    def _unchanged(array: Array, item: _Trashed) -> Volume | None:
        """The volume as it is now; None if it was removed or has another name."""
        try:
            (volume,) = array.volumes_by_id([item.volume.handle.volume_id])
        except NotFound:
            return None
        return volume if volume.name == item.volume.name else None

    @staticmethod
    def _in_short_pools(array: Array, kept: Sequence[_Trashed]) -> Iterable[_Trashed]:
        """What must leave the trash so that its pool has enough free capacity."""
        for pool_id in dict.fromkeys(item.volume.pool_id for item in kept):
            try:
                capacity = array.pool_capacity(array.pool_by_id(pool_id))
            except InvalidArgument:
                continue  # the pool is not known yet, or was removed since the volumes were read
            missing = capacity.total * _LEAST_FREE - capacity.unused
            for item in kept:
                if missing > 0 and item.volume.pool_id == pool_id:
                    yield item
                    missing -= item.volume.size


def _leave_policy(array: Array, volume: Volume) -> None:
    """Take the volume out of a snapshot policy that someone has put it into at the array.

    The array may refuse to remove it otherwise.
    """
    if volume.policy_id is None:
        return
    try:
        array.leave_policy(volume.handle.volume_id, volume.policy_id)
    except DriverError as error:
        log.warning("volume did not leave its snapshot policy", volume=volume.handle, reason=error)


def _show_nothing(array: Array) -> None:
    """Show no figures of the system: they are not known, or it has no trash."""
    metrics.TRASH_VOLUMES.show(array.label, {})
    metrics.TRASH_BYTES.show(array.label, {})


def _too_many(kept: Sequence[_Trashed], max_bytes: int | None) -> Iterable[_Trashed]:
    """What must leave the trash so that it has at most ``max_bytes``."""
    excess = sum(item.volume.size for item in kept) - max_bytes if max_bytes is not None else 0
    for item in kept:
        if excess <= 0:
            return
        yield item
        excess -= item.volume.size
