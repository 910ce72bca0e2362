"""Volumes: how they are shown, created, resized and renamed. Other modules have their other actions."""

from __future__ import annotations

from csi_powerflex.simulator.api_error import malformed, mdm_error
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.capacity import refuse_beyond_allocation
from csi_powerflex.simulator.model import (
    ERASURE_CODED,
    FINE,
    GIB_IN_KIB,
    MEDIUM,
    READ_ONLY_SNAPSHOT,
    THICK,
    THIN,
    Mapping,
    StoragePool,
    Volume,
    VTree,
)
from csi_powerflex.simulator.names import free_name
from csi_powerflex.simulator.resources import (
    mapping,
    migration,
    protection,
    removal,
    restore,
    schedule,
    statistics,
)
from csi_powerflex.simulator.resources.resource_type import (
    Action,
    ClassAction,
    Effect,
    ResourceType,
    View,
    metrics_link,
    parent_link,
    related_links,
    self_link,
)


def view(array: Array, item: Volume) -> View:
    """The object as the gateway shows it."""
    dialect = array.dialect
    pool = array.pools[item.pool_id]
    erasure_coded = pool.layout == ERASURE_CODED
    shown: View = {
        "id": item.id,
        "name": item.name,
        "sizeInKb": item.size_kb,
        "creationTime": item.created,
        "volumeType": item.type,
        "storagePoolId": item.pool_id,
        "vtreeId": item.vtree_id,
        "ancestorVolumeId": item.ancestor_id,
        "consistencyGroupId": item.group_id,
        "mappedSdcInfo": [_mapping_view(array, entry) for entry in item.mappings] or None,
        "accessModeLimit": item.access_limit,
        "useRmcache": item.use_rmcache,
        "dataLayout": pool.layout,
        "compressionMethod": item.compression or dialect.no_compression,
        "volumeClass": item.volume_class,
        "managedBy": "ScaleIO",
        "notGenuineSnapshot": item.reshaped,
        "secureSnapshotExpTime": item.secure_until,
        "lockedAutoSnapshot": item.locked,
        "lockedAutoSnapshotMarkedForRemoval": protection.is_marked_for_removal(array, item),
        "snplIdOfAutoSnapshot": item.policy_of_snapshot,
        "snplIdOfSourceVolume": item.policy_of_source,
        "autoSnapshotGroupId": item.auto_group_id,
        "retentionLevels": _retention_levels(array, item),
        "originalExpiryTime": item.secure_until,
        "timeStampIsAccurate": False,
        "volumeReplicationState": "UnmarkedForReplication",
        "replicationJournalVolume": False,
        "replicationTimeStamp": 0,
        "pairIds": None,
        "links": _links(item, erasure_coded=erasure_coded),
    }
    if dialect.nvme:
        shown["nsid"] = item.nsid
    else:
        shown |= {"mappingToAllSdcsEnabled": False, "isObfuscated": False, "isVvol": False}
        shown["mappedScsiInitiatorInfo"] = None
    if dialect.second_generation:
        shown["genType"] = "EC" if erasure_coded else "Mirroring"
    return shown


def _retention_levels(array: Array, item: Volume) -> list[int]:
    """The levels of its policy that an automatic snapshot belongs to; none for all others."""
    policy = array.policies.get(item.policy_of_snapshot or "")
    return schedule.levels(policy, item.policy_run) if policy is not None else []


def _mapping_view(array: Array, entry: Mapping) -> View:
    host = array.hosts[entry.host_id]
    shown: View = {
        "sdcId": host.id,
        "sdcIp": host.ip,
        "sdcName": host.name,
        "limitIops": entry.limit_iops,
        "limitBwInMbps": entry.limit_bw_mbps,
        "isDirectBufferMapping": False,
        "accessMode": entry.access_mode,
        "hostType": host.type,
    }
    if array.dialect.nvme:
        shown["nqn"] = host.nqn
    return shown


def _links(item: Volume, *, erasure_coded: bool) -> list[View]:
    numbers = (
        [metrics_link("volume", item.id)] if erasure_coded else related_links("Volume", item.id, "Statistics")
    )
    links = [
        self_link("Volume", item.id),
        *numbers,
        parent_link("VTree", item.vtree_id, "vtreeId"),
        parent_link("StoragePool", item.pool_id, "storagePoolId"),
    ]
    if item.ancestor_id is not None:
        links.append(parent_link("Volume", item.ancestor_id, "ancestorVolumeId"))
    return links


# --- creation ----------------------------------------------------------------------------------------


def _create(array: Array, body: Body) -> View:
    pool = _pool(array, body)
    size_kb = _requested_size(array, pool, body)
    volume_type = _requested_type(pool, body)
    compression = _requested_compression(pool, body)
    name = free_volume_name(array, body.text("name"))
    refuse_beyond_limits(array, pool)
    refuse_beyond_allocation(array, pool, size_kb, thick=volume_type == THICK)
    volume = Volume(
        id=array.new_id(array.volumes),
        name=name,
        size_kb=size_kb,
        created=int(array.clock.now()),
        type=volume_type,
        pool_id=pool.id,
        vtree_id="",
        use_rmcache=bool(body.flag("useRmcache")),
        compression=compression,
        nsid=array.next_namespace(),
        volume_class=body.text("volumeClass") or "defaultclass",
    )
    tree = VTree(
        id=array.new_id(array.vtrees), pool_id=pool.id, base_volume_id=volume.id, volume_ids=[volume.id]
    )
    volume.vtree_id = tree.id
    array.put(tree)
    array.put(volume)
    return {"id": volume.id}


def _pool(array: Array, body: Body) -> StoragePool:
    pool_id = body.required("storagePoolId")
    pool = array.pools.get(pool_id.lower())
    if pool is None:
        raise mdm_error(171)
    domain_id = body.text("protectionDomainId")
    if domain_id is not None and domain_id.lower() != pool.domain_id:
        raise mdm_error(197)
    if array.domains[pool.domain_id].state != "Active":
        raise mdm_error(213)
    return pool


def _requested_size(array: Array, pool: StoragePool, body: Body) -> int:
    unit, _ = body.alternative("volumeSizeInKb", "volumeSizeInGb")
    size = body.number(unit) or 0
    size_kb = size if unit == "volumeSizeInKb" else size * GIB_IN_KIB
    if size_kb <= 0:
        raise malformed(f"{unit} ({size}) must be a positive number")
    rounded = -(-size_kb // pool.granularity_kb) * pool.granularity_kb
    if rounded > array.settings.max_volume_gb * GIB_IN_KIB:
        raise mdm_error(190)
    return rounded


def _requested_type(pool: StoragePool, body: Body) -> str:
    volume_type = body.choice("volumeType", (THICK, THIN)) or (THICK if pool.layout == MEDIUM else THIN)
    if volume_type == THICK and pool.layout != MEDIUM:
        raise malformed(f"volumeType {THICK} is not supported in a Storage Pool of {pool.layout} data layout")
    return volume_type


def _requested_compression(pool: StoragePool, body: Body) -> str | None:
    method = body.choice("compressionMethod", ("None", "Normal"))
    if pool.layout == ERASURE_CODED and method is not None:
        raise malformed("compressionMethod cannot be set for a volume of an erasure-coded Storage Pool")
    if pool.layout == MEDIUM and method == "Normal":
        raise malformed(f"compressionMethod Normal is not supported with {MEDIUM} data layout")
    return (method or pool.compression) if pool.layout == FINE else None


def free_volume_name(array: Array, name: str | None) -> str | None:
    """``name``, if a volume or snapshot may get it; None stays None.

    Raises:
        ApiError: it breaks the rules for names, or another volume or snapshot of the system has it.
    """
    return None if name is None else free_name(name, array.volume_ids_by_name, mdm_error(99))


def refuse_beyond_limits(array: Array, pool: StoragePool) -> None:
    """Refuse a new volume if the system or its domain already has the maximum number of volumes."""
    settings = array.settings
    if sum(_bases(array, other) for other in array.pools.values()) >= settings.max_volumes:
        raise mdm_error(97)
    in_domain = sum(_bases(array, other) for other in array.pools_of_domain(pool.domain_id))
    if in_domain >= settings.max_volumes_per_domain:
        raise mdm_error(96)


def _bases(array: Array, pool: StoragePool) -> int:
    counts = array.totals[pool.id].count
    return counts[THIN] + counts[THICK]


# --- size and name -----------------------------------------------------------------------------------


def _set_size(array: Array, volume: Volume, body: Body) -> View:
    body.required("sizeInGB")
    size_gb = body.number("sizeInGB") or 0
    pool = array.pools[volume.pool_id]
    granularity_gb = pool.granularity_kb // GIB_IN_KIB
    size_kb = size_gb * GIB_IN_KIB
    if volume.type == READ_ONLY_SNAPSHOT:
        raise malformed("A read-only snapshot cannot be resized")
    if size_gb <= 0 or size_gb % granularity_gb:
        raise mdm_error(225, granularity=granularity_gb)
    if size_kb < volume.size_kb:
        raise mdm_error(133)
    if size_gb > array.settings.max_volume_gb:
        raise mdm_error(190)
    refuse_beyond_allocation(array, pool, size_kb - volume.size_kb, thick=volume.type == THICK)
    array.change(volume, size_kb=size_kb)
    return {}


def _set_name(array: Array, volume: Volume, body: Body) -> View:
    name = body.required("newName")
    if name != volume.name:
        array.change(volume, name=free_volume_name(array, name))
    return {}


def _set_use_rmcache(array: Array, volume: Volume, body: Body) -> View:
    if array.is_erasure_coded(volume.pool_id):
        raise malformed("useRmcache cannot be set for a volume of an erasure-coded Storage Pool")
    body.required("useRmcache")
    array.change(volume, use_rmcache=bool(body.flag("useRmcache")))
    return {}


def _modify_compression(array: Array, volume: Volume, body: Body) -> View:
    if array.pools[volume.pool_id].layout != FINE:
        raise malformed("compressionMethod can only be changed in a Storage Pool of FineGranularity")
    body.required("compressionMethod")
    array.change(volume, compression=body.choice("compressionMethod", ("None", "Normal")))
    return {}


def _modify_class(array: Array, body: Body) -> View:
    volume = RESOURCE_TYPE.get(array, body.required("id"))
    array.change(volume, volume_class=body.required("newVolumeClass"))
    return {}


# --- lookup ------------------------------------------------------------------------------------------


def id_of_name(array: Array, name: str) -> str:
    """The id of the volume with this name.

    Raises:
        ApiError: 79 when there is none.
    """
    volume_id = array.volume_ids_by_name.get(name)
    if volume_id is None:
        raise mdm_error(79)
    removal.refuse_removed(array, array.volumes[volume_id])
    return volume_id


RESOURCE_TYPE: ResourceType[Volume] = ResourceType(
    name="Volume",
    listed="volumeList",
    objects=lambda array: array.volumes,
    view=view,
    missing=79,
    guard=removal.refuse_removed,
    create=_create,
    find=lambda array, body: id_of_name(array, body.required("name")),
    statistics=statistics.of_volume,
    actions={
        "setVolumeSize": Action(_set_size),
        "setVolumeName": Action(_set_name),
        "setVolumeUseRmcache": Action(_set_use_rmcache),
        "modifyCompressionMethod": Action(_modify_compression),
        **removal.ACTIONS,
        **mapping.ACTIONS,
        **restore.ACTIONS,
        **protection.ACTIONS,
        **migration.ACTIONS,
    },
    class_actions={"modifyVolumeClass": ClassAction(_modify_class, Effect.WRITE)},
)
