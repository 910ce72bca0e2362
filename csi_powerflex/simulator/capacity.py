"""The capacity of pools: one model for statistics, metrics and errors. All figures are KiB.

A mirrored pool stores every byte twice, so its raw figures count both copies. An erasure-coded pool has two
data and two parity slices, so it needs the same raw capacity.
"""

from __future__ import annotations

from dataclasses import dataclass

from csi_powerflex.simulator.api_error import mdm_error
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.model import (
    ERASURE_CODED,
    GIB_IN_KIB,
    SNAPSHOT,
    THICK,
    THIN,
    StoragePool,
    Volume,
)

_BLOCK = 8 * GIB_IN_KIB


@dataclass(frozen=True, slots=True)
class Capacity:
    """The capacity of one or more pools, in KiB.

    ``usable`` is the capacity for user data. ``thick``, ``thin`` and ``snapshots`` are sums of volume sizes.
    ``thin_used`` and ``snapshots_used`` are the bytes that these volumes take.
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
        """The capacity that user data takes. A thick volume takes its whole size."""
        return min(self.usable, self.thick + self.thin_used + self.snapshots_used)

    @property
    def free(self) -> int:
        """The free capacity for user data."""
        return self.usable - self.used

    @property
    def provisioned(self) -> int:
        """The sum of the sizes of all volumes, without snapshots."""
        return self.thick + self.thin

    @property
    def available_for_thick(self) -> int:
        """``capacityAvailableForVolumeAllocationInKb``."""
        return max(0, self.free // _BLOCK * _BLOCK)

    @property
    def allocation_limit(self) -> int | None:
        """``volumeAllocationLimitInKb``: the largest size of a new thin volume; None is unlimited."""
        if self.over_provisioning is None:
            return None
        return max(0, (self.over_provisioning * self.usable - self.provisioned) // _BLOCK * _BLOCK)


def pool_capacity(array: Array, pool: StoragePool) -> Capacity:
    """The current capacity of a pool."""
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


def total_capacity(capacities: list[Capacity]) -> Capacity:
    """The sum of several capacities."""

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
    """Refuse to provision ``size_kb`` more in a pool that has not enough capacity.

    Raises:
        ApiError: 346 when the pool is full, 309 beyond its limit, 190 beyond the largest size of a volume.
    """
    capacity = pool_capacity(array, pool)
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
        ApiError: 191.
    """
    if pool.full:
        raise mdm_error(191)


def refuse_crowded_tree(array: Array, source: Volume, together: int = 0) -> None:
    """Refuse a snapshot in a VTree that has the most already. ``together`` are others of the same request.

    Raises:
        ApiError: 182.
    """
    settings = array.settings
    limit = settings.max_snapshots_per_vtree
    if array.is_erasure_coded(source.pool_id):
        limit = settings.max_snapshots_per_vtree_erasure_coded
    if len(array.vtrees[source.vtree_id].volume_ids) + together > limit:
        raise mdm_error(182)
