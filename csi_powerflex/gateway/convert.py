"""What the gateway's payloads mean: from their fields to the driver's values.

Numbers in brackets are sections of docs/powerflex-protocol.md.
"""

from __future__ import annotations

import datetime

from csi_powerflex import units
from csi_powerflex.errors import Unavailable
from csi_powerflex.gateway.payloads import (
    MappingPayload,
    MetricsPayload,
    PoolStatisticsPayload,
    VolumePayload,
)
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.array import Access, Limits, Mapping, PoolCapacity, Provisioning, Volume

_KBPS_PER_MBPS = 1024


def capacity_from_statistics(found: PoolStatisticsPayload) -> PoolCapacity:
    """Mirrored pools count both copies in the raw figures, hence the half (7)."""
    raw = (
        found.thick_capacity_in_use_in_kb
        + found.thin_capacity_allocated_in_kb
        + found.snapshot_capacity_in_kb
    )
    return PoolCapacity(
        total=(found.net_capacity_in_use_in_kb + found.net_unused_capacity_in_kb) * units.KIB,
        unused=found.net_unused_capacity_in_kb * units.KIB,
        provisioned=raw // 2 * units.KIB,
        thick=found.capacity_available_for_volume_allocation_in_kb * units.KIB,
        thin=found.volume_allocation_limit_in_kb * units.KIB,
    )


def capacity_from_metrics(found: MetricsPayload) -> PoolCapacity:
    values = {
        metric.name: int(metric.values[0])
        for resource in found.resources
        for metric in resource.metrics
        if metric.values
    }
    missing = {"physical_total", "physical_free", "logical_provisioned"} - values.keys()
    if missing:
        raise Unavailable(f"the array does not tell a pool's {', '.join(sorted(missing))}")
    free = values["physical_free"]
    return PoolCapacity(
        total=values["physical_total"],
        unused=free,
        provisioned=values["logical_provisioned"],
        thick=free,
        # Erasure-coded pools have no allocation limit of their own unless one was set.
        thin=units.INT64_MAX,
    )


def volume(system_id: str, payload: VolumePayload) -> Volume:
    locked = payload.secure_snapshot_exp_time
    return Volume(
        handle=VolumeHandle(system_id, payload.id),
        name=payload.name,
        size=payload.size_in_kb * units.KIB,
        pool_id=payload.storage_pool_id,
        tree_id=payload.vtree_id,
        provisioning=_provisioning(payload),
        erasure_coded=payload.gen_type == "EC",
        access_limit=_access(payload.access_mode_limit),
        ancestor_id=payload.ancestor_volume_id,
        group_id=payload.consistency_group_id,
        created=_moment(payload.creation_time),
        locked_until=_moment(locked) if locked else None,
        mappings=tuple(_mapping(item) for item in payload.mapped_sdc_info or ()),
    )


def _provisioning(payload: VolumePayload) -> Provisioning | None:
    """Thick, thin or compressed; None for a snapshot or clone of any kind (2.6)."""
    if payload.volume_type == "ThickProvisioned":
        return Provisioning.THICK
    if payload.volume_type == "ThinProvisioned":
        compressed = payload.compression_method == "Normal" and payload.gen_type != "EC"
        return Provisioning.COMPRESSED if compressed else Provisioning.THIN
    return None


def _mapping(payload: MappingPayload) -> Mapping:
    return Mapping(
        host_id=payload.sdc_id,
        host_name=payload.sdc_name,
        access=_access(payload.access_mode),
        limits=Limits(iops=payload.limit_iops, bandwidth_kbps=payload.limit_bw_in_mbps * _KBPS_PER_MBPS),
    )


def _access(mode: str | None) -> Access:
    """Old systems leave the mode out: then it is the widest."""
    return Access.READ_ONLY if mode == Access.READ_ONLY.value else Access.READ_WRITE


def _moment(seconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC)
