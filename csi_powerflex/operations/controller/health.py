"""What is wrong with volumes, as the array tells it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.array import Condition
from csi_powerflex.model.ports import Array, Fleet
from csi_powerflex.operations.controller.listing import Listing
from csi_powerflex.operations.controller.pagination import Page, Paginator


class Trouble(enum.Enum):
    """CSI's kinds of bad health (specification, VolumeHealth)."""

    DEGRADED = enum.auto()
    INACCESSIBLE = enum.auto()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong; ``reason`` is a word in CamelCase, as CSI wants it."""

    trouble: Trouble
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class VolumeHealth:
    """A volume and what is wrong with it; nothing is well."""

    handle: VolumeHandle
    findings: tuple[Finding, ...]


_FINDINGS = {
    Condition.DEGRADED: (
        Trouble.DEGRADED,
        "StoragePoolDegraded",
        "some data of the pool has lost a copy; it is served from the others",
    ),
    Condition.FAILED: (
        Trouble.INACCESSIBLE,
        "StoragePoolCapacityFailed",
        "some data of the pool has no copy that can be read",
    ),
    Condition.INACTIVE: (
        Trouble.INACCESSIBLE,
        "ProtectionDomainInactive",
        "the protection domain serves nothing at present",
    ),
}


class Health:
    """The health of the cluster's volumes."""

    def __init__(self, fleet: Fleet, listing: Listing) -> None:
        self._fleet = fleet
        self._listing = listing
        self._pages: Paginator[VolumeHealth] = Paginator()

    def of(self, handle: VolumeHandle) -> VolumeHealth:
        """The health of one volume.

        Raises:
            NotFound: it does not exist.
        """
        array = self._fleet.array(handle.system_id)
        volume = array.volume(handle.volume_id)
        return VolumeHealth(handle, _findings(array, volume.pool_id))

    def unwell(self, *, token: str, max_entries: int) -> Page[VolumeHealth]:
        """A page of the volumes that something is wrong with. Raises as ``Pages.page``."""
        return self._pages.page(self._all_unwell, token=token, max_entries=max_entries)

    def _all_unwell(self) -> list[VolumeHealth]:
        pools: dict[tuple[str, str], tuple[Finding, ...]] = {}
        found = []
        for listed in self._listing.all_volumes():
            handle, pool_id = listed.volume.handle, listed.volume.pool_id
            key = (handle.system_id, pool_id)
            if key not in pools:
                pools[key] = _findings(self._fleet.array(handle.system_id), pool_id)
            if pools[key]:
                found.append(VolumeHealth(handle, pools[key]))
        return found


def _findings(array: Array, pool_id: str) -> tuple[Finding, ...]:
    pool = array.pool_by_id(pool_id)
    finding = _FINDINGS.get(array.condition(pool))
    if finding is None:
        return ()
    trouble, reason, message = finding
    return (Finding(trouble, reason, f"system {array.label}, pool {pool}: {message}"),)
