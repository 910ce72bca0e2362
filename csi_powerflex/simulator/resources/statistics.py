"""Statistics of the first generation: one flat set of numbers for each object.

Only capacity and counts are measured. All other published statistics exist and are always zero.
"""

from __future__ import annotations

from csi_powerflex.simulator.api_error import malformed, missing_parameters
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.capacity import Capacity, pool_capacity, total_capacity
from csi_powerflex.simulator.model import (
    DEGRADED,
    ERASURE_CODED,
    FAILED,
    SNAPSHOT,
    THICK,
    THIN,
    Device,
    FaultSet,
    Host,
    ProtectionDomain,
    Sds,
    StoragePool,
    System,
    Volume,
    VTree,
)
from csi_powerflex.simulator.resources.resource_type import View
from csi_powerflex.simulator.resources.statistics_fields import UNMEASURED

UNHEALTHY_KB = 1024 * 1024
"""The capacity that has lost a copy, or both, in a pool that the admin port has made unhealthy."""


def _capacity_view(capacity: Capacity) -> View:
    """The capacity figures. Raw figures count both copies, ``net`` figures count one."""
    thin_raw = 2 * capacity.thin
    limit = capacity.allocation_limit
    return {
        "maxCapacityInKb": capacity.raw,
        "capacityLimitInKb": capacity.raw,
        "spareCapacityInKb": capacity.spare,
        "capacityInUseInKb": 2 * capacity.used,
        "unusedCapacityInKb": capacity.raw - capacity.spare - 2 * capacity.used,
        "thickCapacityInUseInKb": 2 * capacity.thick,
        "thinCapacityInUseInKb": 2 * capacity.thin_used,
        "thinCapacityAllocatedInKb": thin_raw,
        "thinCapacityAllocatedInKm": thin_raw,
        "snapshotCapacityInKb": 2 * capacity.snapshots_used,
        "snapCapacityInUseInKb": 2 * capacity.snapshots_used,
        "vtreeAddresSpaceInKb": capacity.provisioned + capacity.snapshots,
        "protectedCapacityInKb": 2 * capacity.used,
        "capacityAvailableForVolumeAllocationInKb": capacity.available_for_thick,
        "volumeAllocationLimitInKb": capacity.available_for_thick if limit is None else limit,
        "netCapacityInUseInKb": capacity.used,
        "netUnusedCapacityInKb": capacity.free,
        "netCapacityInUseNoOverheadInKb": capacity.used,
        "netMaxUserDataCapacityInKb": capacity.usable,
        "netUserDataCapacityInKb": capacity.used,
        "netUserDataCapacityNoTrimInKb": capacity.used,
        "netThinUserDataCapacityInKb": capacity.thin_used,
        "netThickUserDataCapacityInKb": capacity.thick,
        "netMgUserDataCapacityInKb": capacity.used,
        "netSnapshotCapacityInKb": capacity.snapshots_used,
        "netProvisionedAddressesInKb": capacity.provisioned + capacity.snapshots,
        "provisionedAddressesInKb": 2 * (capacity.provisioned + capacity.snapshots),
        "volumeAddressSpaceInKb": capacity.provisioned + capacity.snapshots,
        "userDataCapacityInKb": 2 * capacity.used,
        "userDataCapacityNoTrimInKb": 2 * capacity.used,
        "mgUserDdataCcapacityInKb": 2 * capacity.used,
        "compressionRatio": 1.0,
        "compressedDataCompressionRatio": 0.0,
        "thinAndSnapshotRatio": 1.0,
        "overallUsageRatio": 1.0,
    }


def _pools_view(array: Array, pools: list[StoragePool]) -> View:
    capacity = total_capacity([pool_capacity(array, pool) for pool in pools])
    return {
        **_capacity_view(capacity),
        **_counts(array, pools),
        "degradedHealthyCapacityInKb": sum(pool.health == DEGRADED for pool in pools) * UNHEALTHY_KB,
        "failedCapacityInKb": sum(pool.health == FAILED for pool in pools) * UNHEALTHY_KB,
    }


def _counts(array: Array, pools: list[StoragePool]) -> View:
    totals = [array.totals[pool.id] for pool in pools]
    volume_ids = [volume_id for part in totals for volume_id in list(part.volume_ids)]
    unmapped = sum(not array.volumes[volume_id].mappings for volume_id in volume_ids)
    return {
        "numOfVolumes": len(volume_ids),
        "numOfThinBaseVolumes": sum(part.count[THIN] for part in totals),
        "numOfThickBaseVolumes": sum(part.count[THICK] for part in totals),
        "numOfSnapshots": sum(part.count[SNAPSHOT] for part in totals),
        "numOfUnmappedVolumes": unmapped,
    }


def _refuse_second_generation(array: Array, *, erasure_coded: bool) -> None:
    if array.dialect.second_generation and erasure_coded:
        raise malformed("Statistics are not supported for this object: use /dtapi/rest/v1/metrics/query")


def of_pool(array: Array, pool: StoragePool) -> View:
    """Statistics of a pool."""
    _refuse_second_generation(array, erasure_coded=pool.layout == ERASURE_CODED)
    devices = [device.id for device in array.devices.values() if device.pool_id == pool.id]
    trees = [tree.id for tree in list(array.vtrees.values()) if tree.pool_id == pool.id]
    return {
        **UNMEASURED["StoragePool"],
        **_pools_view(array, [pool]),
        "numOfVtrees": len(trees),
        "numOfDevices": len(devices),
        "volumeIds": list(array.totals[pool.id].volume_ids),
        "vtreeIds": trees,
        **_migrations(array, pool),
        "deviceIds": devices,
        "spSdsIds": [server.id for server in array.sdss.values() if server.domain_id == pool.domain_id],
    }


def _migrations(array: Array, pool: StoragePool) -> View:
    trees = [array.vtrees[tree_id] for tree_id in array.migrating]
    leaving = [tree for tree in trees if tree.pool_id == pool.id]
    volume_ids = [volume_id for tree in leaving for volume_id in tree.volume_ids]
    return {
        "migratingVtreeIds": [tree.id for tree in leaving],
        "numOfMigratingVtrees": len(leaving),
        "numOfOutgoingMigrations": len(leaving),
        "migratingVolumeIds": volume_ids,
        "numOfMigratingVolumes": len(volume_ids),
        "numOfIncomingVtreeMigrations": sum(
            tree.migration is not None and tree.migration.target_pool_id == pool.id != tree.pool_id
            for tree in trees
        ),
    }


def of_domain(array: Array, domain: ProtectionDomain) -> View:
    """Statistics of a protection domain."""
    _refuse_second_generation(array, erasure_coded=domain.generation == "EC")
    pools = array.pools_of_domain(domain.id)
    servers = [server.id for server in array.sdss.values() if server.domain_id == domain.id]
    return {
        **UNMEASURED["ProtectionDomain"],
        **_pools_view(array, pools),
        "numOfStoragePools": len(pools),
        "storagePoolIds": [pool.id for pool in pools],
        "numOfSds": len(servers),
        "sdsIds": servers,
        "faultSetIds": [item.id for item in array.fault_sets.values() if item.domain_id == domain.id],
        "numOfFaultSets": sum(item.domain_id == domain.id for item in array.fault_sets.values()),
    }


def of_system(array: Array, _: System) -> View:
    """Statistics of the whole system."""
    _refuse_second_generation(array, erasure_coded=not array.has_mirroring)
    sdcs = array.sdcs()
    return {
        **UNMEASURED["System"],
        **_pools_view(array, list(array.pools.values())),
        "numOfSdc": len(sdcs),
        "sdcIds": [host.id for host in sdcs],
        "numOfSds": len(array.sdss),
        "numOfDevices": len(array.devices),
        "numOfProtectionDomains": len(array.domains),
        "protectionDomainIds": list(array.domains),
        "numOfStoragePools": len(array.pools),
        "numOfVtrees": len(array.vtrees),
        "numOfFaultSets": len(array.fault_sets),
        "numOfSnapPolicies": len(array.policies),
        "snapPolicyIds": list(array.policies),
    }


def of_volume(array: Array, volume: Volume) -> View:
    """Statistics of a volume."""
    _refuse_second_generation(array, erasure_coded=array.is_erasure_coded(volume.pool_id))
    children = [item.id for item in array.children(volume)]
    descendants = [item.id for item in array.descendants(volume)]
    return {
        **UNMEASURED["Volume"],
        "childVolumeIds": children,
        "numOfChildVolumes": len(children),
        "descendantVolumeIds": descendants,
        "numOfDescendantVolumes": len(descendants),
        "mappedSdcIds": [entry.host_id for entry in volume.mappings],
        "numOfMappedSdcs": len(volume.mappings),
    }


def of_vtree(array: Array, tree: VTree) -> View:
    """Statistics of a VTree."""
    _refuse_second_generation(array, erasure_coded=array.is_erasure_coded(tree.pool_id))
    members = array.volumes_of_vtree(tree.id)
    written = array.plane.allocated()
    base = sum(written.get(member.id, 0) for member in members if member.ancestor_id is None) // 1024
    snapshots = sum(written.get(member.id, 0) for member in members if member.ancestor_id) // 1024
    sizes = sum(member.size_kb for member in members)
    return {
        **UNMEASURED["VTree"],
        "netCapacityInUseInKb": base + snapshots,
        "actualNetCapacityInUseInKb": base + snapshots,
        "baseNetCapacityInUseInKb": base,
        "snapNetCapacityInUseInKb": snapshots,
        "netProvisionedAddressesInKb": sizes,
        "provisionedAddressesInKb": 2 * sizes,
        "vtreeAddresSpaceInKb": sizes,
        "volumeAddressSpaceInKb": sizes,
        "numOfVolumes": len(members),
        "volumeIds": [member.id for member in members],
        "volumesInDeletion": [member.id for member in members if member.removed_at is not None],
    }


def of_host(array: Array, host: Host) -> View:
    """Statistics of an SDC."""
    _refuse_second_generation(array, erasure_coded=not array.has_mirroring)
    volume_ids = list(array.volume_ids_by_host.get(host.id, ()))
    return {**UNMEASURED["Sdc"], "volumeIds": volume_ids, "numOfMappedVolumes": len(volume_ids)}


def of_server(array: Array, server: Sds) -> View:
    """Statistics of an SDS."""
    devices = [device for device in array.devices.values() if device.sds_id == server.id]
    return {
        **UNMEASURED["Sds"],
        **_device_capacity(devices),
        "deviceIds": [device.id for device in devices],
        "numOfDevices": len(devices),
    }


def of_fault_set(array: Array, fault_set: FaultSet) -> View:
    """Statistics of a fault set."""
    servers = [server.id for server in array.sdss.values() if server.fault_set_id == fault_set.id]
    devices = [device for device in array.devices.values() if device.sds_id in servers]
    return {
        **UNMEASURED["FaultSet"],
        **_device_capacity(devices),
        "sdsIds": servers,
        "numOfSds": len(servers),
        "numOfDevices": len(devices),
    }


def of_device(_array: Array, device: Device) -> View:
    """Statistics of a disk."""
    return {**UNMEASURED["Device"], **_device_capacity([device])}


def _device_capacity(devices: list[Device]) -> View:
    limit = sum(device.limit_kb or device.capacity_kb for device in devices)
    return {
        "maxCapacityInKb": sum(device.capacity_kb for device in devices),
        "capacityLimitInKb": limit,
        "unusedCapacityInKb": limit,
    }


def requested(type_name: str, body: Body) -> list[str]:
    """The names in ``properties``.

    Raises:
        ApiError: there are none, or the type has no such statistic. The text lists those that it has.
    """
    properties = body.texts("properties")
    if not properties:
        raise missing_parameters("properties")
    known = UNMEASURED[type_name]
    for name in properties:
        if name not in known:
            raise malformed(
                f"properties should get one of the following values: {', '.join(sorted(known))}, "
                f"but its value is {name}"
            )
    return properties
