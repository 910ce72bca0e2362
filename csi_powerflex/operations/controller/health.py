"""The health of volumes, as the array reports it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.array import PoolState
from csi_powerflex.model.health import HealthIssue, HealthStatus, VolumeHealth
from csi_powerflex.model.ports import Array, Fleet
from csi_powerflex.operations.controller.listing import Listing, SystemContents
from csi_powerflex.operations.controller.pagination import KeptLists, LazyList, Page, Paginator

_ISSUES = {
    PoolState.DEGRADED: (
        HealthStatus.DEGRADED,
        "StoragePoolDegraded",
        "some data of the pool has lost a copy; it is served from the others",
    ),
    PoolState.FAILED: (
        HealthStatus.INACCESSIBLE,
        "StoragePoolCapacityFailed",
        "some data of the pool has no copy that can be read",
    ),
    PoolState.INACTIVE: (
        HealthStatus.INACCESSIBLE,
        "ProtectionDomainInactive",
        "the protection domain is not active, so no data is served",
    ),
}


class Health:
    """The health of the cluster's volumes. The arguments are those of ``Listing``, and the listing itself."""

    def __init__(self, fleet: Fleet, listing: Listing, kept: KeptLists) -> None:
        self._fleet = fleet
        self._listing = listing
        self._pages: Paginator[VolumeHealth] = Paginator(kept, "h")

    def of(self, handle: VolumeHandle) -> VolumeHealth:
        """The health of one volume.

        Raises:
            NotFound: it does not exist.
        """
        array = self._fleet.array(handle.system_id)
        volume = array.volume(handle.volume_id)
        return VolumeHealth(handle, _issues(array, volume.pool_id))

    def unhealthy(self, *, token: str, max_entries: int) -> Page[VolumeHealth]:
        """A page of the volumes that have an issue. Raises as ``Paginator.page``."""
        return self._pages.page(self._all_unhealthy, token=token, max_entries=max_entries)

    def _all_unhealthy(self) -> LazyList[VolumeHealth]:
        contents = self._listing.contents()
        return LazyList(contents, [self._unhealthy_of(system) for system in contents.systems])

    def _unhealthy_of(self, system: SystemContents) -> tuple[Sequence[int], Callable[[int], VolumeHealth]]:
        """The positions of the volumes in pools that have an issue, and what makes the health of one."""
        found = {}
        if system.pools:
            array = self._fleet.array(system.system_id)
            found = {pool: issues for pool in system.pools if (issues := _issues(array, pool))}

        def health(position: int) -> VolumeHealth:
            volume = system.all[position]
            handle = VolumeHandle(system.system_id, volume.volume_id)
            return VolumeHealth(handle, found[volume.pool_id])

        return system.volumes_in(found), health


def _issues(array: Array, pool_id: str) -> tuple[HealthIssue, ...]:
    pool = array.pool_by_id(pool_id)
    found = _ISSUES.get(array.pool_state(pool))
    if found is None:
        return ()
    status, reason, message = found
    return (HealthIssue(status, reason, f"system {array.label}, pool {pool}: {message}"),)
