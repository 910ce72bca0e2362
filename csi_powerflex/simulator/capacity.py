"""How much room a pool has: one consistent model behind statistics, metrics and refusals.

A mirrored pool keeps every byte twice, so "raw" figures count both copies; an erasure-coded pool of two
data and two parity slices costs the same. All figures are KiB.
"""

from __future__ import annotations

from dataclasses import dataclass

from csi_powerflex.simulator.api_error import mdm_error
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.model import ERASURE_CODED, GIB_IN_KIB, SNAPSHOT, THICK, THIN, StoragePool

_BLOCK = 8 * GIB_IN_KIB


@dataclass(frozen=True, slots=True)
class Capacity:
    """The room of one pool, in KiB.

    ``usable`` is what users could store; ``thin_used`` what thin volumes hold, ``snapshots_used`` what
    snapshots hold beyond their ancestors; ``promised`` the sizes of thin and thick volumes together.
    """

    raw: int
    spare: int
    usable: int
    thick: int
    thin: int
    thin_used: int
    snapshots: int
    snapshots_used: int
    over_provisioning: int | None

    @property
    def used(self) -> int:
        """User data, with the whole size of thick volumes."""
        return min(self.usable, self.thick + self.thin_used + self.snapshots_used)

    @property
    def free(self) -> int:
        """What is left for user data."""
        return self.usable - self.used

    @property
    def promised(self) -> int:
        """The sizes of all volumes but snapshots."""
        return self.thick + self.thin

    @property
    def available_for_thick(self) -> int:
        """``capacityAvailableForVolumeAllocationInKb``."""
        return max(0, self.free // _BLOCK * _BLOCK)

    @property
    def allocation_limit(self) -> int | None:
        """``volumeAllocationLimitInKb``: what thin volumes may still be promised; None is unlimited."""
        if self.over_provisioning is None:
            return None
        return max(0, (self.over_provisioning * self.usable - self.promised) // _BLOCK * _BLOCK)


def of_pool(array: Array, pool: StoragePool) -> Capacity:
    """The room of a pool now."""
    totals = array.totals[pool.id]
    spare = pool.raw_kb * pool.spare_percent // 100
    usable = (pool.raw_kb - spare) // 2
    thin_used, snapshots_used = _written(array, pool)
    if pool.full:
        thin_used = usable - totals.size_kb[THICK] - snapshots_used
    erasure_coded = pool.layout == ERASURE_CODED
    return Capacity(
        raw=pool.raw_kb,
        spare=spare,
        usable=usable,
        thick=totals.size_kb[THICK],
        thin=totals.size_kb[THIN],
        thin_used=thin_used,
        snapshots=totals.size_kb[SNAPSHOT],
        snapshots_used=snapshots_used,
        over_provisioning=None if erasure_coded else pool.over_provisioning,
    )


def _written(array: Array, pool: StoragePool) -> tuple[int, int]:
    thin = snapshots = 0
    for volume_id, size in array.plane.allocated().items():
        volume = array.volumes.get(volume_id)
        if volume is None or volume.pool_id != pool.id or volume.type == THICK:
            continue
        if volume.ancestor_id is None:
            thin += size // 1024
        else:
            snapshots += size // 1024
    return thin, snapshots


def total(capacities: list[Capacity]) -> Capacity:
    """Several pools together."""

    def add(field: str) -> int:
        return sum(getattr(capacity, field) for capacity in capacities)

    limits = [capacity.over_provisioning for capacity in capacities]
    return Capacity(
        raw=add("raw"),
        spare=add("spare"),
        usable=add("usable"),
        thick=add("thick"),
        thin=add("thin"),
        thin_used=add("thin_used"),
        snapshots=add("snapshots"),
        snapshots_used=add("snapshots_used"),
        over_provisioning=None if None in limits or not limits else min(limit for limit in limits if limit),
    )


def refuse_beyond_allocation(array: Array, pool: StoragePool, size_kb: int, *, thick: bool) -> None:
    """Refuse ``size_kb`` more in a pool that has not the room.

    Raises:
        Refusal: 309 beyond the limit of what may be promised, 346 when the pool is full.
    """
    capacity = of_pool(array, pool)
    if pool.full:
        raise mdm_error(346)
    limit = capacity.available_for_thick if thick else capacity.allocation_limit
    if limit is not None and size_kb > limit:
        raise mdm_error(309)
    if not thick and size_kb > array.settings.max_volume_gb * GIB_IN_KIB:
        raise mdm_error(190)


def refuse_snapshot_of_full(pool: StoragePool) -> None:
    """Refuse a snapshot in a pool that is full.

    Raises:
        Refusal: 191.
    """
    if pool.full:
        raise mdm_error(191)
