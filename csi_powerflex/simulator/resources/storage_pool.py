"""Storage pools of both generations."""

from __future__ import annotations

from csi_powerflex.simulator.api_error import malformed, mdm_error, missing_one_of, uncoded_error
from csi_powerflex.simulator.array import Array
from csi_powerflex.simulator.body import Body
from csi_powerflex.simulator.capacity import pool_capacity
from csi_powerflex.simulator.model import (
    DEGRADED,
    ERASURE_CODED,
    FAILED,
    FINE,
    GIB_IN_KIB,
    HEALTHY,
    MEDIUM,
    ProtectionDomain,
    StoragePool,
)
from csi_powerflex.simulator.names import free_name
from csi_powerflex.simulator.resources import data_server, migration, statistics, tuning, volume, vtree
from csi_powerflex.simulator.resources.resource_type import (
    Action,
    ResourceType,
    View,
    metrics_link,
    parent_link,
    related_links,
    self_link,
)

_NEW_POOL_KB = 64 * 1024 * GIB_IN_KIB
_LARGEST_POOL_GB = 4_194_303

# No public source has other values than "Protected".
_HEALTH_STATES = {HEALTHY: "Protected", DEGRADED: "Degraded", FAILED: "Failed"}

_TUNING: View = {
    "rebuildEnabled": True,
    "rebalanceEnabled": True,
    "numOfParallelRebuildRebalanceJobsPerDevice": 2,
    "rebuildIoPriorityPolicy": "limitNumOfConcurrentIos",
    "rebuildIoPriorityNumOfConcurrentIosPerDevice": 1,
    "rebuildIoPriorityBwLimitPerDeviceInKbps": 10240,
    "rebuildIoPriorityAppIopsPerDeviceThreshold": None,
    "rebuildIoPriorityAppBwPerDeviceThresholdInKbps": None,
    "rebuildIoPriorityQuietPeriodInMsec": None,
    "rebalanceIoPriorityPolicy": "favorAppIos",
    "rebalanceIoPriorityNumOfConcurrentIosPerDevice": 1,
    "rebalanceIoPriorityBwLimitPerDeviceInKbps": 10240,
    "rebalanceIoPriorityAppIopsPerDeviceThreshold": None,
    "rebalanceIoPriorityAppBwPerDeviceThresholdInKbps": None,
    "rebalanceIoPriorityQuietPeriodInMsec": None,
    "vtreeMigrationIoPriorityPolicy": "favorAppIos",
    "vtreeMigrationIoPriorityNumOfConcurrentIosPerDevice": 1,
    "vtreeMigrationIoPriorityBwLimitPerDeviceInKbps": 10240,
    "protectedMaintenanceModeIoPriorityPolicy": "limitNumOfConcurrentIos",
    "protectedMaintenanceModeIoPriorityNumOfConcurrentIosPerDevice": 1,
    "protectedMaintenanceModeIoPriorityBwLimitPerDeviceInKbps": 10240,
    "backgroundScannerMode": "DataComparison",
    "backgroundScannerBWLimitKBps": 3072,
    "bgScannerCompareErrorAction": "ReportAndFix",
    "bgScannerReadErrorAction": "ReportAndFix",
    "persistentChecksumEnabled": True,
    "persistentChecksumState": "Protected",
    "persistentChecksumBuilderLimitKb": 3072,
    "persistentChecksumValidateOnRead": False,
    "replicationCapacityMaxRatio": 32,
}


def view(array: Array, pool: StoragePool) -> View:
    """The object as the gateway shows it."""
    erasure_coded = pool.layout == ERASURE_CODED
    fine = pool.layout == FINE
    shown: View = {
        "id": pool.id,
        "name": pool.name,
        "protectionDomainId": pool.domain_id,
        "mediaType": pool.media,
        "dataLayout": pool.layout,
        "zeroPaddingEnabled": pool.zero_padding,
        "sparePercentage": pool.spare_percent,
        "useRmcache": pool.use_rmcache,
        "useRfcache": pool.use_rfcache,
        "rmcacheWriteHandlingMode": "Cached",
        "checksumEnabled": False,
        "compressionMethod": pool.compression if fine else array.dialect.no_compression,
        "externalAccelerationType": "None",
        "addressSpaceUsage": "Normal",
        "addressSpaceUsageType": "DeviceCapacityLimit",
        "capacityUsageState": "Critical" if pool.full else "Normal",
        "capacityUsageType": "NetCapacity",
        "capacityAlertHighThreshold": 80,
        "capacityAlertCriticalThreshold": 90,
        "fragmentationEnabled": True,
        **_TUNING,
        "fglAccpId": None,
        "fglExtraCapacity": None,
        "fglOverProvisioningFactor": None,
        "fglWriteAtomicitySize": None,
        "fglNvdimmWriteCacheSizeInMb": None,
        "fglNvdimmMetadataAmortizationX100": None,
        "fglPerfProfile": "Performance" if fine else None,
        "fglMaxCompressionRatio": None,
        "links": _links(pool),
    }
    shown |= pool.settings
    return _second_generation(array, pool, shown) if erasure_coded else shown


def _second_generation(array: Array, pool: StoragePool, shown: View) -> View:
    group = pool.device_group_id
    return {
        **shown,
        **dict.fromkeys(_TUNING),
        **pool.settings,
        "genType": "EC",
        "mediaType": None,
        "sparePercentage": None,
        "compressionMethod": pool.compression,
        "addressSpaceUsageType": "TypeHardLimit",
        "deviceGroupId": group,
        "deviceGroupName": data_server.device_group_name(array, pool.domain_id),
        "wrcDeviceGroupId": data_server.write_cache_group(pool.domain_id),
        "physicalSizeGB": pool.raw_kb // 2 // GIB_IN_KIB,
        "rawSizeGB": pool.raw_kb // GIB_IN_KIB,
        "overProvisioningFactor": pool.settings.get("overProvisioningFactor", 0),
        "protectionScheme": "TwoPlusTwo",
        "numDataSlices": 2,
        "numProtectionSlices": 2,
        "spClass": "Default",
        "spHealthState": _HEALTH_STATES[pool.health],
    }


def _links(pool: StoragePool) -> list[View]:
    if pool.layout == ERASURE_CODED:
        return [
            self_link("StoragePool", pool.id),
            metrics_link("storage_pool", pool.id),
            *related_links("StoragePool", pool.id, "Volume", "VTree", "DeviceGroup"),
            parent_link("ProtectionDomain", pool.domain_id, "protectionDomainId"),
            parent_link("DeviceGroup", str(pool.device_group_id), "deviceGroupId"),
            parent_link("DeviceGroup", data_server.write_cache_group(pool.domain_id), "wrcDeviceGroupId"),
        ]
    return [
        self_link("StoragePool", pool.id),
        *related_links("StoragePool", pool.id, "Statistics", "Volume", "Device", "VTree", "SpSds"),
        parent_link("ProtectionDomain", pool.domain_id, "protectionDomainId"),
    ]


def _create(array: Array, body: Body) -> View:
    domain = _domain(array, body.required("protectionDomainId"))
    name = _free_pool_name(array, domain.id, body.required("name"))
    if domain.generation == "EC":
        pool = _new_erasure_coded(array, domain, name, body)
    else:
        layout = body.choice("dataLayout", (MEDIUM, FINE)) or MEDIUM
        padding = body.flag("zeroPaddingEnabled")
        compression = body.choice("compressionMethod", ("None", "Normal")) or "None"
        if layout == MEDIUM and compression == "Normal":
            raise malformed(f"compressionMethod Normal is not supported with {MEDIUM} data layout")
        spare = tuning.number(0, 90)(body, "sparePercentage")
        pool = StoragePool(
            id=array.new_id(array.pools),
            name=name,
            domain_id=domain.id,
            layout=layout,
            raw_kb=_NEW_POOL_KB,
            media=body.choice("mediaType", ("HDD", "SSD", "Transitional")) or "HDD",
            zero_padding=True if padding is None else padding,
            spare_percent=spare if isinstance(spare, int) else 10,
            compression=compression,
            use_rmcache=bool(body.flag("useRmcache")),
            use_rfcache=bool(body.flag("useRfcache")),
        )
    array.put(pool)
    return {"id": pool.id}


def _new_erasure_coded(array: Array, domain: ProtectionDomain, name: str, body: Body) -> StoragePool:
    return StoragePool(
        id=array.new_id(array.pools),
        name=name,
        domain_id=domain.id,
        layout=ERASURE_CODED,
        raw_kb=_requested_raw(body),
        compression=body.choice("compressionMethod", ("None", "Normal")) or "Normal",
        device_group_id=body.required("deviceGroupId"),
    )


def _requested_raw(body: Body) -> int:
    """The raw capacity of a second-generation pool, in KiB."""
    size_gb = tuning.number(1, _LARGEST_POOL_GB)(body, "physicalSizeGB")
    if isinstance(size_gb, int):
        return size_gb * 2 * GIB_IN_KIB
    if not body.flag("useAllAvailableCapacity"):
        raise missing_one_of("physicalSizeGB", "useAllAvailableCapacity")
    return _NEW_POOL_KB


def _domain(array: Array, domain_id: str) -> ProtectionDomain:
    domain = array.domains.get(domain_id.lower())
    if domain is None:
        raise mdm_error(142)
    return domain


def _free_pool_name(array: Array, domain_id: str, name: str) -> str:
    return free_name(name, {pool.name for pool in array.pools_of_domain(domain_id)}, mdm_error(170))


def _rename(array: Array, pool: StoragePool, body: Body) -> View:
    name = body.alternative("name", "newName")[1]
    if name != pool.name:
        array.change(pool, name=_free_pool_name(array, pool.domain_id, name))
    return {"id": pool.id}


def _remove(array: Array, pool: StoragePool, _: Body) -> View:
    """Remove an empty pool. Its devices go with it."""
    if array.totals[pool.id].volume_ids:
        raise uncoded_error("The Storage Pool is not empty: it has volumes")
    migration.refuse_target(array, pool)
    for device in [item for item in array.devices.values() if item.pool_id == pool.id]:
        array.drop(device)
    array.drop(pool)
    return {}


def _set_zero_padding(array: Array, pool: StoragePool, body: Body) -> View:
    wanted = body.flag("zeroPadEnabled")
    if wanted is None:
        raise malformed(
            "zeroPadEnabled should get one of the following values: TRUE, FALSE, but it is missing"
        )
    if array.totals[pool.id].volume_ids:
        raise uncoded_error("Zero padding can only be changed while the Storage Pool has no volumes")
    migration.refuse_target(array, pool)
    array.change(pool, zero_padding=wanted)
    return {}


def _modify_compression(array: Array, pool: StoragePool, body: Body) -> View:
    body.required("compressionMethod")
    method = body.choice("compressionMethod", ("None", "Normal"))
    if pool.layout == MEDIUM and method == "Normal":
        raise malformed(f"compressionMethod Normal is not supported with {MEDIUM} data layout")
    array.change(pool, compression=method)
    return {}


def _modify_size(array: Array, pool: StoragePool, body: Body) -> View:
    """The second generation's new size of a pool. All capacity of its device group is what a new pool has."""
    if pool.layout != ERASURE_CODED:
        raise malformed("The operation is supported for erasure-coded Storage Pools only")
    raw_kb = _requested_raw(body)
    if raw_kb // 2 < pool_capacity(array, pool).used:
        raise mdm_error(309)
    array.change(pool, raw_kb=raw_kb)
    return {}


def by_name(array: Array, domain_id: str, name: str) -> StoragePool:
    """The pool with this name in a domain.

    Raises:
        ApiError: there is no such domain or pool.
    """
    domain = _domain(array, domain_id)
    for pool in array.pools_of_domain(domain.id):
        if pool.name == name:
            return pool
    raise mdm_error(171)


def _find(array: Array, body: Body) -> str:
    domain_id = body.text("protectionDomainId")
    name = body.required("name")
    return (by_name(array, domain_id, name) if domain_id else RESOURCE_TYPE.by_name(array, name)).id


RESOURCE_TYPE: ResourceType[StoragePool] = ResourceType(
    name="StoragePool",
    listed="storagePoolList",
    objects=lambda array: array.pools,
    view=view,
    missing=171,
    create=_create,
    find=_find,
    statistics=statistics.of_pool,
    related={
        "Volume": lambda array, pool: (volume.view(array, item) for item in array.volumes_of_pool(pool.id)),
        "VTree": lambda array, pool: (
            vtree.view(array, tree) for tree in list(array.vtrees.values()) if tree.pool_id == pool.id
        ),
        "Device": lambda array, pool: data_server.devices_of_pool(array, pool.id),
        "SpSds": lambda array, pool: data_server.sdss_of_domain(array, pool.domain_id),
        "DeviceGroup": lambda array, pool: data_server.device_groups_of_domain(array, pool.domain_id),
    },
    actions={
        "setStoragePoolName": Action(_rename),
        "renameStoragePool": Action(_rename),
        "removeStoragePool": Action(_remove),
        "setZeroPaddingPolicy": Action(_set_zero_padding),
        "modifyCompressionMethod": Action(_modify_compression),
        "modifyStoragePoolSize": Action(_modify_size),
        **tuning.POOL_ACTIONS,
    },
)
