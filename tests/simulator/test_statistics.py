"""Statistics of the first generation and metrics of the second, as monitoring programs ask for them."""

from __future__ import annotations

import pytest

from csi_powerflex.simulator.resources.metrics_fields import METRICS
from csi_powerflex.simulator.resources.statistics_fields import UNMEASURED
from tests.simulator.client import GIB_KB, Array
from tests.simulator.conftest import MakeArray

FIRST_GENERATION = ["3.6", "4.0", "4.5", "4.6"]
ZERO = {"totalWeightInKb": 0, "numOccured": 0, "numSeconds": 0}

BANDWIDTH = ("primaryReadBwc", "primaryWriteBwc", "totalReadBwc", "totalWriteBwc")
REBUILDS = (
    "fwdRebuildReadBwc", "fwdRebuildWriteBwc", "bckRebuildReadBwc", "bckRebuildWriteBwc",
    "rebalanceReadBwc", "rebalanceWriteBwc", "volMigrationReadBwc", "volMigrationWriteBwc",
)  # fmt: skip
CAPACITY = (
    "maxCapacityInKb", "capacityInUseInKb", "degradedFailedCapacityInKb", "failedCapacityInKb",
    "unusedCapacityInKb", "spareCapacityInKb", "thinCapacityAllocatedInKb", "thickCapacityInUseInKb",
    "capacityAvailableForVolumeAllocationInKb", "degradedHealthyCapacityInKb", "fwdRebuildCapacityInKb",
    "bckRebuildCapacityInKb", "normRebuildCapacityInKb", "rebalanceCapacityInKb", "snapCapacityInUseInKb",
    "pendingMovingInBckRebuildJobs", "activeMovingInBckRebuildJobs", "pendingMovingOutBckRebuildJobs",
)  # fmt: skip
USER = ("userDataReadBwc", "userDataWriteBwc")
USER_LATENCY = ("userDataSdcReadLatency", "userDataSdcWriteLatency")
NET = (
    "netUnusedCapacityInKb", "netThinUserDataCapacityInKb", "volumeAllocationLimitInKb",
    "netSnapshotCapacityInKb", "compressionRatio", "netFglUncompressedDataSizeInKb",
    "netFglCompressedDataSizeInKb", "netFglUserDataCapacityInKb", "netMgUserDataCapacityInKb",
    "compressedDataCompressionRatio", "netFglSparesInKb", "netMetadataOverheadInKb",
    "netCapacityInUseNoOverheadInKb",
)  # fmt: skip

PUBLISHED = {
    "System": (
        *CAPACITY, *NET, *BANDWIDTH, *REBUILDS, *USER_LATENCY, "capacityLimitInKb", "netCapacityInUseInKb",
        "snapshotCapacityInKb", "netProvisionedAddressesInKb", "thinUserDataCapacityInKb",
        "normRebuildReadBwc", "normRebuildWriteBwc", "journalerReadLatency", "journalerWriteLatency",
    ),
    "ProtectionDomain": (*CAPACITY, *BANDWIDTH, *REBUILDS, "journalerReadLatency", "journalerWriteLatency"),
    "StoragePool": (
        *CAPACITY, *NET, *BANDWIDTH, *REBUILDS, *USER_LATENCY, "netTrimmedUserDataCapacityInKb",
        "netUserDataCapacityInKb", "targetReadLatency", "targetWriteLatency", "thinCapacityAllocatedInKm",
        "numOfMigratingVtrees", "migratingVolumeIds", "aggregateCompressionLevel",
    ),
    "Sds": BANDWIDTH,
    "Device": (
        *BANDWIDTH, "avgReadSizeInBytes", "avgWriteSizeInBytes", "avgReadLatencyInMicrosec",
        "avgWriteLatencyInMicrosec",
    ),
    "Sdc": (*USER, "numOfMappedVolumes"),
    "Volume": (*USER, *USER_LATENCY, "replicationState", "numOfChildVolumes"),
}  # fmt: skip
"""What published monitoring and clients ask for, by resource type."""


def everywhere(array: Array) -> None:
    """Have one object of each resource type with statistics."""
    array.snapshot(array.create())
    levels = {"autoSnapshotCreationCadenceInMin": "60", "numOfRetainedSnapshotsPerLevel": ["1"]}
    array.post("/api/types/SnapshotPolicy/instances", {"name": "hourly", **levels})


@pytest.mark.parametrize("version", FIRST_GENERATION)
def test_one_query_can_ask_for_all_statistics_that_published_monitoring_reads(
    make_array: MakeArray, version: str
) -> None:
    array = make_array(version)
    everywhere(array)
    parts = [{"type": name, "allIds": "", "properties": wanted} for name, wanted in PUBLISHED.items()]
    answer = array.post("/api/instances/querySelectedStatistics", {"selectedStatisticsList": parts})
    assert set(answer) == set(PUBLISHED)
    assert set(answer.pop("System")) == set(PUBLISHED["System"])
    for name, shown in answer.items():
        assert shown
        for values in shown.values():
            assert set(values) == set(PUBLISHED[name])
    (device, *_) = answer["Device"].values()
    assert device["avgReadSizeInBytes"] == 0
    assert device["totalReadBwc"] == ZERO


@pytest.mark.parametrize("name", [name for name, known in UNMEASURED.items() if known])
def test_every_known_statistic_can_be_asked_for_and_is_shown_with_the_object(
    make_array: MakeArray, name: str
) -> None:
    array = make_array("4.5")
    everywhere(array)
    path = f"/api/types/{name}/instances/action/querySelectedStatistics"
    answer = array.post(path, {"allIds": "", "properties": list(UNMEASURED[name])})
    selected = {array.system_id: answer} if name == "System" else answer
    for object_id, values in selected.items():
        shown = array.get(f"/api/instances/{name}::{object_id}/relationships/Statistics")
        assert shown == values


@pytest.mark.parametrize("name", ["StoragePool", "Volume", "Sdc", "ReplicationPair", "FaultSet"])
def test_an_invented_statistic_is_refused_even_without_objects(array: Array, name: str) -> None:
    path = f"/api/types/{name}/instances/action/querySelectedStatistics"
    error = array.send("POST", path, {"allIds": "", "properties": ["readsPerFortnight"]})
    assert error.status == 400
    assert "readsPerFortnight" in error.value["message"]
    assert next(iter(UNMEASURED[name])) in error.value["message"]


def test_capacity_of_servers_and_devices_adds_up(array: Array) -> None:
    sds, *_ = array.get("/api/types/Sds/instances")
    of_sds = array.get(f"/api/instances/Sds::{sds['id']}/relationships/Statistics")
    devices = array.get(f"/api/instances/Sds::{sds['id']}/relationships/Device")
    assert of_sds["deviceIds"] == [device["id"] for device in devices]
    of_devices = [
        array.get(f"/api/instances/Device::{device['id']}/relationships/Statistics") for device in devices
    ]
    assert of_sds["maxCapacityInKb"] == sum(shown["maxCapacityInKb"] for shown in of_devices) > GIB_KB


# --- metrics -----------------------------------------------------------------------------------------

_HOST = ("host_read_iops", "host_trim_bandwidth", "avg_host_write_latency")
_DEVICE = ("total_device_read_iops", "device_local_read_bandwidth", "avg_device_write_io_size", "raw_total")
_FRONT_END = ("storage_fe_read_latency", "avg_fe_trim_io_size", "storage_fe_write_bandwidth")
_CAPACITY = ("physical_total", "physical_used", "physical_free", "physical_system", "raw_used")
_PATH = ("avg_controller_to_host_latency", "avg_host_to_controller_latency")

PUBLISHED_METRICS = {
    "system": (*_HOST, *_DEVICE, *_FRONT_END, *_CAPACITY, *_PATH, "raw_free", "reducible_ratio"),
    "protection_domain": (*_HOST, *_DEVICE, *_FRONT_END, *_CAPACITY, "raw_spare_used", "rebuild_rate"),
    "storage_pool": (*_HOST, *_FRONT_END, *_CAPACITY, "over_provisioning_limit", "utilization_ratio"),
    "device_group": (
        *_HOST, *_DEVICE, *_FRONT_END, *_CAPACITY, "total_wrc_read_iops", "avg_device_pmem_read_latency",
        "raw_health_degraded_critical", "raw_rebuild",
    ),
    "storage_node": (*_DEVICE, *_FRONT_END),
    "device": _DEVICE,
    "volume": (*_HOST, "logical_used", "logical_provisioned"),
    "sdc": (*_HOST, *_PATH),
    "sdt": _PATH,
}  # fmt: skip
"""Some of the metrics that published monitoring asks for, by resource type."""


def ask_metrics(array: Array, resource_type: str, **body: object) -> dict[str, dict[str, list[object]]]:
    """The values by id and name."""
    query = {"resource_type": resource_type, **body}
    resources = array.post("/dtapi/rest/v1/metrics/query", query)["resources"]
    return {
        shown["id"]: {metric["name"]: metric["values"] for metric in shown["metrics"]} for shown in resources
    }


@pytest.mark.parametrize("resource_type", PUBLISHED_METRICS)
def test_every_metric_that_published_monitoring_reads_has_one_value(
    make_array: MakeArray, resource_type: str
) -> None:
    array = make_array("5.0")
    array.create()
    names = PUBLISHED_METRICS[resource_type]
    answer = ask_metrics(array, resource_type, metrics=list(names))
    assert answer
    for values in answer.values():
        assert set(values) == set(names)
        assert all(len(shown) == 1 for shown in values.values())


@pytest.mark.parametrize("resource_type", METRICS)
def test_a_query_without_names_shows_every_metric_of_the_type_with_one_value(
    make_array: MakeArray, resource_type: str
) -> None:
    array = make_array("5.0")
    array.create()
    for values in ask_metrics(array, resource_type).values():
        assert set(values) == set(METRICS[resource_type])
        assert all(len(shown) == 1 for shown in values.values())


def test_an_invented_metric_is_refused_and_one_of_another_type_has_no_values(make_array: MakeArray) -> None:
    array = make_array("5.0")
    query = {"resource_type": "storage_pool", "metrics": ["physical_total", "reads_per_fortnight"]}
    error = array.send("POST", "/dtapi/rest/v1/metrics/query", query)
    assert error.status == 400
    assert "reads_per_fortnight" in error.value["message"]
    assert "utilization_ratio" in error.value["message"]
    answer = ask_metrics(array, "sdt", metrics=["raw_total"])
    assert {tuple(values["raw_total"]) for values in answer.values()} == {()}


def test_the_raw_capacity_of_nodes_devices_and_groups_adds_up(make_array: MakeArray) -> None:
    array = make_array("5.0")
    totals = {
        resource_type: sum(
            int(str(values["raw_total"][0])) for values in ask_metrics(array, resource_type).values()
        )
        for resource_type in ("system", "protection_domain", "device_group", "storage_node", "device")
    }
    (pool,) = array.get("/api/types/StoragePool/instances")
    assert (
        totals["system"] == totals["protection_domain"] == totals["device_group"] == pool["rawSizeGB"] << 30
    )
    assert totals["storage_node"] == totals["device"] <= totals["system"]
