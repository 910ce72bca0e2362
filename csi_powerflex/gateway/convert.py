"""Payloads of the gateway to the driver's values.

Numbers in brackets are sections of docs/powerflex-protocol.md.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping

from csi_powerflex import units
from csi_powerflex.errors import InvalidArgument, Unavailable
from csi_powerflex.gateway.payloads import (
    DomainPayload,
    MappingPayload,
    MetricsPayload,
    PoolPayload,
    PoolStatisticsPayload,
    SdcPayload,
    SdtPayload,
    SingleVolumePayload,
    SnapshotPolicyPayload,
    TreePayload,
    TreeStatisticsPayload,
    TreeVolumePayload,
    VolumePayload,
)
from csi_powerflex.ids import Initiator, InitiatorKind, VolumeHandle
from csi_powerflex.model import array as model
from csi_powerflex.model.array import (
    Access,
    DomainState,
    Host,
    Limits,
    Pool,
    PoolCapacity,
    PoolState,
    Provisioning,
    Sdt,
    Volume,
)
from csi_powerflex.model.moves import MoveState, Tree, TreeMember, TreeUsage
from csi_powerflex.model.nvme import Portal
from csi_powerflex.model.snapshot_policy import SnapshotPolicy

_KBPS_PER_MBPS = 1024
_THICK = "ThickProvisioned"
_ORIGINAL_TYPES = frozenset({_THICK, "ThinProvisioned"})
_NVME_PORT, _DISCOVERY_PORT = 4420, 8009
_STORAGE_ONLY = "StorageOnly"
# sdtState, membershipState, maintenanceState and mdmConnectionState of an SDT that serves hosts.
_SDT_IN_ORDER = ("Normal", "Joined", "NoMaintenance", "Connected")
_POOL_STATES = {"Protected": PoolState.HEALTHY, "Failed": PoolState.FAILED}
# Unknown states count as moving, so that no second move is begun.
_MOVE_STATES = {
    "PendingMigration": MoveState.QUEUED,
    "PendingRebalance": MoveState.QUEUED,
    "InternalPausing": MoveState.PAUSING,
    "GracefullyPausing": MoveState.PAUSING,
    "ForcefullyPausing": MoveState.PAUSING,
    "Paused": MoveState.PAUSED,
}
_NO_MOVE = (None, "", "None", "NotInMigration")
_NOT_REPLICATED = (None, "", "UnmarkedForReplication")
_DOMAIN_STATES = {
    "Active": DomainState.ACTIVE,
    "ActivePending": DomainState.ACTIVATING,
    "Inactive": DomainState.INACTIVE,
    "InactivePending": DomainState.INACTIVATING,
}


def capacity_from_statistics(found: PoolStatisticsPayload) -> PoolCapacity:
    """The capacity of a mirrored pool. The raw figures count both copies, so they are halved (7)."""
    raw = (
        found.thick_capacity_in_use_in_kb
        + found.thin_capacity_allocated_in_kb
        + found.snapshot_capacity_in_kb
    )
    return PoolCapacity(
        total=(found.net_capacity_in_use_in_kb + found.net_unused_capacity_in_kb) * units.KIB,
        unused=found.net_unused_capacity_in_kb * units.KIB,
        provisioned=raw // 2 * units.KIB,
        largest_thick=found.capacity_available_for_volume_allocation_in_kb * units.KIB,
        largest_thin=found.volume_allocation_limit_in_kb * units.KIB,
    )


def capacity_from_metrics(found: MetricsPayload) -> PoolCapacity:
    """The capacity of an erasure-coded pool (2.12).

    Raises:
        Unavailable: the answer lacks a metric.
    """
    values = {
        metric.name: int(metric.values[0])
        for resource in found.resources
        for metric in resource.metrics
        if metric.values
    }
    missing = {"physical_total", "physical_free", "logical_provisioned"} - values.keys()
    if missing:
        raise Unavailable(f"the array did not report these metrics of a pool: {', '.join(sorted(missing))}")
    free = values["physical_free"]
    return PoolCapacity(
        total=values["physical_total"],
        unused=free,
        provisioned=values["logical_provisioned"],
        largest_thick=free,
        # Erasure-coded pools have no allocation limit of their own unless one was set.
        largest_thin=units.INT64_MAX,
    )


def state_of_domain(domain: DomainPayload | None) -> DomainState:
    """The state of a protection domain (2.4); ACTIVE where the array does not say it."""
    stated = (domain.protection_domain_state if domain else None) or "Active"
    return _DOMAIN_STATES.get(stated, DomainState.INACTIVE)


def state_of_pool(
    domain: DomainPayload | None, health: str | None, statistics: PoolStatisticsPayload | None
) -> PoolState:
    """The state of a pool, from its domain and its copies (2.4, 2.5, 2.12).

    Args:
        domain: the pool's protection domain; None where the array did not list it.
        health: ``spHealthState`` of an erasure-coded pool.
        statistics: of a mirrored pool; None for an erasure-coded one.
    """
    if state_of_domain(domain) is not DomainState.ACTIVE:
        return PoolState.INACTIVE
    if statistics is None:
        return _POOL_STATES.get(health or "Protected", PoolState.DEGRADED)
    if statistics.failed_capacity_in_kb:
        return PoolState.FAILED
    degraded = statistics.degraded_healthy_capacity_in_kb or statistics.degraded_failed_capacity_in_kb
    return PoolState.DEGRADED if degraded else PoolState.HEALTHY


def thresholds(payload: PoolPayload) -> Mapping[str, float]:
    """The shares of a pool's size at which the array raises alerts, by level; those that it states (2.5)."""
    stated = {
        "high": payload.capacity_alert_high_threshold,
        "critical": payload.capacity_alert_critical_threshold,
    }
    return {level: percent / 100 for level, percent in stated.items() if percent}


def pool(domain: DomainPayload | None, payload: PoolPayload) -> Pool:
    """A pool of the domain; ``domain`` is None where the array did not list it."""
    generation = (domain.gen_type if domain else None, payload.gen_type)
    erasure_coded = "EC" in generation or payload.data_layout == "ErasureCoding"
    return Pool(
        id=payload.id,
        name=payload.name or payload.id,
        domain_id=payload.protection_domain_id,
        domain_name=(domain.name if domain else None) or payload.protection_domain_id,
        # 8 GiB, and 1 GiB in erasure-coded pools (4).
        granularity=units.GIB if erasure_coded else 8 * units.GIB,
        erasure_coded=erasure_coded,
        compressible=payload.data_layout == "FineGranularity",
        zero_padded=payload.zero_padding_enabled,
    )


def host(payload: SdcPayload) -> Host | None:
    """A host that can be a node; None for an entry with neither a GUID nor an NQN that can be one."""
    try:
        if payload.sdc_guid:
            initiator = Initiator.sdc(payload.sdc_guid)
        elif payload.nqn:
            initiator = Initiator.nvme(payload.nqn)
        else:
            return None
    except InvalidArgument:
        return None
    return Host(
        id=payload.id,
        name=payload.name,
        initiator=initiator,
        connected=payload.mdm_connection_state == "Connected",
        disconnected=payload.mdm_connection_state == "Disconnected",
    )


def sdt(payload: SdtPayload) -> Sdt:
    """An SDT with its portals for hosts (2.11). What cannot be an address or port is not in them."""
    portals: list[Portal] = []
    unusable: list[str] = []
    for entry in payload.ip_list or ():
        if entry.role == _STORAGE_ONLY:
            continue
        try:
            portals.append(_portal(entry.ip or "", payload))
        except InvalidArgument as error:
            unusable.append(f"SDT {payload.name or payload.id}: {error}")
    states = (
        payload.sdt_state,
        payload.membership_state,
        payload.maintenance_state,
        payload.mdm_connection_state,
    )
    return Sdt(
        id=payload.id,
        name=payload.name or payload.id,
        domain_id=payload.protection_domain_id,
        portals=tuple(portals),
        state=", ".join(state for state in states if state),
        in_order=all(state in (None, good) for state, good in zip(states, _SDT_IN_ORDER, strict=True)),
        unusable=tuple(unusable),
    )


def _portal(address: str, payload: SdtPayload) -> Portal:
    """The portal of an SDT at one of its addresses.

    Raises:
        InvalidArgument: the address is no IP address, or a port cannot exist.
    """
    shown = f"[{address.lower()}]" if ":" in address else address
    nvme_port = _NVME_PORT if payload.nvme_port is None else payload.nvme_port
    discovery_port = _DISCOVERY_PORT if payload.discovery_port is None else payload.discovery_port
    return Portal.parse(f"{shown}:{nvme_port}/{discovery_port}")


def single_volume(system_id: str, payload: SingleVolumePayload) -> Volume:
    """A volume or snapshot that was asked for by its id (2.6)."""
    state = payload.volume_replication_state
    return dataclasses.replace(
        volume(system_id, payload), replicated=state not in (None, "", "UnmarkedForReplication")
    )


def volume(system_id: str, payload: VolumePayload) -> Volume:
    """A volume or snapshot of the system (2.6)."""
    locked = payload.secure_snapshot_exp_time
    return Volume(
        handle=VolumeHandle(system_id, payload.id),
        name=payload.name,
        size=payload.size_in_kb * units.KIB,
        pool_id=payload.storage_pool_id,
        tree_id=payload.vtree_id,
        provisioning=_provisioning(payload),
        erasure_coded=payload.gen_type == "EC",
        mappable=payload.volume_type != "ReadOnlySnapshot",
        access_limit=_access(payload.access_mode_limit),
        ancestor_id=payload.ancestor_volume_id,
        group_id=payload.consistency_group_id,
        reparented=payload.not_genuine_snapshot is True,
        created=timestamp(payload.creation_time),
        locked_until=timestamp(locked) if locked else None,
        mappings=tuple(_mapping(item) for item in payload.mapped_sdc_info or ()),
        policy_id=payload.snpl_id_of_source_volume,
        taken_by=payload.snpl_id_of_auto_snapshot,
        policy_locked=payload.locked_auto_snapshot is True,
    )


def snapshot_policy(payload: SnapshotPolicyPayload) -> SnapshotPolicy:
    """A snapshot policy (2.13)."""
    return SnapshotPolicy(
        id=payload.id,
        name=payload.name or payload.id,
        paused=payload.snapshot_policy_state == "Paused",
        minutes=payload.auto_snapshot_creation_cadence_in_min,
        retained=payload.num_of_retained_snapshots_per_level or (),
    )


def is_copy(volume_type: str) -> bool:
    """Whether a volume of this type is a snapshot or clone of any kind (2.6)."""
    return volume_type not in _ORIGINAL_TYPES


def tree(payload: TreePayload) -> Tree:
    """A volume tree, and the move that the array makes with it (2.8, 2.9)."""
    info = payload.vtree_migration_info
    if info is None:
        return Tree(payload.id, payload.storage_pool_id)
    reason = info.migration_pause_reason if info.migration_pause_reason not in _NO_MOVE else None
    if info.migration_status not in _NO_MOVE:
        state = _MOVE_STATES.get(str(info.migration_status), MoveState.MOVING)
    else:
        # Without a reason the move has ended; with one it has stopped (2.9).
        state = MoveState.PAUSED if reason else MoveState.NONE
    if state is MoveState.NONE:
        return Tree(payload.id, payload.storage_pool_id)
    return Tree(
        payload.id,
        info.source_storage_pool_id or payload.storage_pool_id,
        state,
        info.destination_storage_pool_id,
        reason,
        info.migration_queue_position or 0,
    )


def tree_member(system_id: str, payload: TreeVolumePayload) -> TreeMember:
    """A member of a tree (2.6)."""
    return TreeMember(volume(system_id, payload), payload.volume_replication_state not in _NOT_REPLICATED)


def tree_usage(payload: TreeStatisticsPayload) -> TreeUsage:
    """The data of a tree (2.8)."""
    moved = min(max(payload.vtree_migration_progress or 0, 0), 100) / 100
    return TreeUsage(payload.net_capacity_in_use_in_kb * units.KIB, moved)


def _provisioning(payload: VolumePayload) -> Provisioning | None:
    """Thick, thin or compressed; None for a copy."""
    if is_copy(payload.volume_type):
        return None
    if payload.volume_type == _THICK:
        return Provisioning.THICK
    compressed = payload.compression_method == "Normal" and payload.gen_type != "EC"
    return Provisioning.COMPRESSED if compressed else Provisioning.THIN


def _mapping(payload: MappingPayload) -> model.Mapping:
    return model.Mapping(
        host_id=payload.sdc_id,
        host_name=payload.sdc_name,
        host_kind=InitiatorKind.NVME if payload.host_type == "NVMeHost" else InitiatorKind.SDC,
        access=_access(payload.access_mode),
        limits=Limits(iops=payload.limit_iops, bandwidth_kbps=payload.limit_bw_in_mbps * _KBPS_PER_MBPS),
    )


def _access(mode: str | None) -> Access:
    """Old systems leave the mode out, which means read and write."""
    return Access.READ_ONLY if mode == Access.READ_ONLY else Access.READ_WRITE


def timestamp(seconds: int) -> datetime.datetime:
    """The time that is this many seconds after the beginning of 1970."""
    return datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC)
