"""What programs of others read and set, beyond volumes: settings, servers, devices, lists of Manager."""

from __future__ import annotations

import json
from typing import Any

import pytest

from csi_powerflex.simulator.dialect import DIALECTS
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, PoolPlan
from csi_powerflex.simulator.message import Request
from csi_powerflex.simulator.settings import Settings
from tests.simulator.client import Array
from tests.simulator.conftest import MakeArray

MIXED = InitialState(
    domains=(DomainPlan("new"), DomainPlan("old", generation="Mirroring", pools=(PoolPlan("sp2"),)))
)


def shown(array: Array, kind: str, object_id: str) -> dict[str, Any]:
    found: dict[str, Any] = array.get(f"/api/instances/{kind}::{object_id}")
    return found


def first(array: Array, kind: str) -> str:
    return str(array.get(f"/api/types/{kind}/instances")[0]["id"])


# --- the gateway -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", DIALECTS)
def test_the_gateway_shows_where_the_mdms_are(make_array: MakeArray, version: str) -> None:
    array = make_array(version)
    answer = array.get("/api/Configuration")
    assert answer["systemId"] == array.system_id
    assert answer["mdmAddresses"] == ["192.0.2.11", "192.0.2.12"]
    assert type(answer["mdmPort"]) is int


@pytest.mark.parametrize("version", DIALECTS)
@pytest.mark.parametrize("allowed", [None, True, False])
def test_the_version_needs_no_login_before_4_0(
    make_array: MakeArray, version: str, *, allowed: bool | None
) -> None:
    array = make_array(version, settings=Settings(version_without_login=allowed))
    answer = array.gateway.handle(Request("GET", "/api/version"))
    public = version == "3.6" if allowed is None else allowed
    assert answer.status == (200 if public else 401)
    wrong = array.gateway.handle(Request("GET", "/api/version", headers={"authorization": "Bearer x"}))
    assert wrong.status == 401


@pytest.mark.parametrize("name", ["nas-servers", "file-systems", "nfs-servers", "nfs-exports"])
def test_lists_of_file_services_are_empty(array: Array, name: str) -> None:
    answer = array.gateway.handle(
        Request("GET", f"/rest/v1/{name}", "select=*", {"authorization": array.authorization})
    )
    assert (answer.status, json.loads(answer.content())) == (200, [])


@pytest.mark.parametrize("version", DIALECTS)
def test_there_are_no_alerts(make_array: MakeArray, version: str) -> None:
    array = make_array(version)
    assert array.get("/api/types/Alert/instances") == []
    if version != "3.6":
        assert array.get("/rest/v1/alerts")["results"] == []


# --- objects -----------------------------------------------------------------------------------------


def test_the_system_counts_its_objects(array: Array) -> None:
    array.snapshot(array.create())
    counted = shown(array, "System", array.system_id)
    assert (counted["numOfVolumes"], counted["numOfSds"], counted["numOfDevices"]) == (2, 3, 3)


def test_a_tree_has_the_name_of_its_volume(array: Array) -> None:
    volume = array.create("v1")
    (snapshot,) = array.snapshot(volume)
    tree = array.volume(volume)["vtreeId"]
    assert shown(array, "VTree", tree)["name"] == "v1"
    array.volume_action(snapshot, "setVolumeName", newName="s1")
    array.volume_action(volume, "removeVolume", removeMode="ONLY_ME")
    assert shown(array, "VTree", tree)["name"] == "s1"


def links(item: dict[str, Any]) -> set[str]:
    return {str(link["rel"]).rpartition("/")[2] for link in item["links"]}


def test_the_link_to_statistics_follows_the_generation_of_the_domain(make_array: MakeArray) -> None:
    array = make_array("5.0", initial_state=MIXED)
    new, old = array.get("/api/types/ProtectionDomain/instances")
    assert "Statistics" not in links(new)
    assert "query" in links(new)
    assert "Statistics" in links(old)
    assert "query" not in links(old)
    for item in (shown(array, "System", array.system_id), shown(array, "Sdc", array.sdcs["a"])):
        assert {"Statistics", "query"} <= links(item)
        for link in item["links"]:
            if link["rel"].endswith("Statistics"):
                assert array.get(link["href"])


def test_without_mirroring_5_0_has_no_statistics(make_array: MakeArray) -> None:
    array = make_array("5.0")
    for item in (shown(array, "System", array.system_id), shown(array, "Sdc", array.sdcs["a"])):
        assert "Statistics" not in links(item)


def test_a_domain_of_5_0_can_be_of_either_generation(make_array: MakeArray) -> None:
    array = make_array("5.0")
    made = ""
    for name, body in (("ec", {}), ("named", {"genType": "EC"}), ("mirrored", {"genType": "Mirroring"})):
        made = array.post("/api/types/ProtectionDomain/instances", {"name": name, **body})["id"]
        expected = "Mirroring" if name == "mirrored" else "EC"
        assert shown(array, "ProtectionDomain", made)["genType"] == expected
    pool = array.post("/api/types/StoragePool/instances", {"name": "x", "protectionDomainId": made})["id"]
    assert shown(array, "StoragePool", pool)["dataLayout"] == "MediumGranularity"


def test_compression_needs_fine_granularity(make_array: MakeArray) -> None:
    array = make_array("4.5")
    assert array.try_to_create(compressionMethod="Normal").status == 400
    assert array.try_to_create(compressionMethod="None").status == 200
    assert (
        array.error(
            "StoragePool", array.pool_id, "modifyCompressionMethod", compressionMethod="Normal"
        ).status
        == 400
    )
    body = {"protectionDomainId": array.domain_id, "name": "x", "compressionMethod": "Normal"}
    assert array.send("POST", "/api/types/StoragePool/instances", body).status == 400
    fine = array.post("/api/types/StoragePool/instances", {**body, "dataLayout": "FineGranularity"})["id"]
    assert shown(array, "StoragePool", fine)["compressionMethod"] == "Normal"


# --- settings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "action", "body", "fields"),
    [
        (
            "StoragePool",
            "setCapacityAlertThresholds",
            {"capacityAlertHighThresholdPercent": "70", "capacityAlertCriticalThresholdPercent": 85},
            {"capacityAlertHighThreshold": 70, "capacityAlertCriticalThreshold": 85},
        ),
        ("StoragePool", "setSparePercentage", {"sparePercentage": "20"}, {"sparePercentage": 20}),
        ("StoragePool", "setRebuildEnabled", {"rebuildEnabled": "FALSE"}, {"rebuildEnabled": False}),
        ("StoragePool", "setRebalanceEnabled", {"rebalanceEnabled": "false"}, {"rebalanceEnabled": False}),
        ("StoragePool", "disableFragmentation", {}, {"fragmentationEnabled": False}),
        ("StoragePool", "enableFragmentation", {}, {"fragmentationEnabled": True}),
        (
            "StoragePool",
            "setReplicationJournalCapacity",
            {"replicationJournalCapacityMaxRatio": "36"},
            {"replicationCapacityMaxRatio": 36},
        ),
        ("StoragePool", "setUseRmcache", {"useRmcache": "TRUE"}, {"useRmcache": True}),
        ("StoragePool", "enableRfcache", {}, {"useRfcache": True}),
        ("StoragePool", "disableRfcache", {}, {"useRfcache": False}),
        (
            "StoragePool",
            "setRebuildRebalanceParallelism",
            {"limit": "9"},
            {"numOfParallelRebuildRebalanceJobsPerDevice": 9},
        ),
        (
            "StoragePool",
            "setRebalanceIoPriorityPolicy",
            {"policy": "limitNumOfConcurrentIos", "numOfConcurrentIosPerDevice": "8"},
            {
                "rebalanceIoPriorityPolicy": "limitNumOfConcurrentIos",
                "rebalanceIoPriorityNumOfConcurrentIosPerDevice": 8,
            },
        ),
        (
            "StoragePool",
            "setVTreeMigrationIoPriorityPolicy",
            {"policy": "favorAppIos", "bwLimitPerDeviceInKbps": "12288"},
            {"vtreeMigrationIoPriorityBwLimitPerDeviceInKbps": 12288},
        ),
        (
            "StoragePool",
            "setProtectedMaintenanceModeIoPriorityPolicy",
            {"policy": "unlimited"},
            {"protectedMaintenanceModeIoPriorityPolicy": "unlimited"},
        ),
        ("StoragePool", "setMediaType", {"mediaType": "HDD"}, {"mediaType": "HDD"}),
        (
            "StoragePool",
            "setRmcacheWriteHandlingMode",
            {"rmcacheWriteHandlingMode": "Passthrough"},
            {"rmcacheWriteHandlingMode": "Passthrough"},
        ),
        (
            "StoragePool",
            "enablePersistentChecksum",
            {"validateOnRead": "TRUE", "builderLimitInKb": "2048"},
            {"persistentChecksumValidateOnRead": True, "persistentChecksumBuilderLimitKb": 2048},
        ),
        (
            "ProtectionDomain",
            "setSdsNetworkLimits",
            {"rebuildLimitInKbps": "10240", "overallLimitInKbps": "0"},
            {
                "rebuildNetworkThrottlingInKbps": 10240,
                "rebuildNetworkThrottlingEnabled": True,
                "overallIoNetworkThrottlingEnabled": False,
            },
        ),
        ("ProtectionDomain", "disableSdsRfcache", {}, {"rfcacheEnabled": False}),
        (
            "ProtectionDomain",
            "setRfcacheParameters",
            {"pageSizeKb": "16", "maxIOSizeKb": "64", "rfcacheOperationMode": "Read"},
            {"rfcachePageSizeKb": 16, "rfcacheMaxIoSizeKb": 64, "rfcacheOpertionalMode": "Read"},
        ),
        ("ProtectionDomain", "enableFglMetadataCache", {}, {"fglMetadataCacheEnabled": True}),
        ("Sds", "setSdsName", {"name": "other"}, {"name": "other"}),
        ("Sds", "setSdsPort", {"sdsPort": "7073"}, {"port": 7073}),
        ("Sds", "setSdsRmcacheEnabled", {"rmcacheEnabled": "TRUE"}, {"rmcacheEnabled": True}),
        ("Sds", "setSdsRmcacheSize", {"rmcacheSizeInMB": "256"}, {"rmcacheSizeInKb": 262144}),
        ("Sds", "setDrlMode", {"drlMode": "NonVolatile"}, {"drlMode": "NonVolatile"}),
        ("Sds", "setSdsPerformanceParameters", {"perfProfile": "Compact"}, {"perfProfile": "Compact"}),
        ("Device", "setDeviceName", {"newName": "d1"}, {"name": "d1"}),
        ("Device", "setMediaType", {"mediaType": "HDD"}, {"mediaType": "HDD"}),
        ("Device", "setDeviceCapacityLimit", {"capacityLimitInGB": "100"}, {"capacityLimitInKb": 100 << 20}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_setting_is_shown_after_it_was_set(
    array: Array, kind: str, action: str, body: dict[str, object], fields: dict[str, object]
) -> None:
    object_id = first(array, kind)
    before = shown(array, kind, object_id)
    array.act(kind, object_id, action, **body)
    after = shown(array, kind, object_id)
    assert {name: after[name] for name in fields} == fields
    known = set(before) | {"protectedMaintenanceModeNetworkThrottlingInKbps"}
    assert set(after) <= known, "a setting is shown in a field that the object did not have"


@pytest.mark.parametrize(
    ("kind", "action", "body"),
    [
        ("StoragePool", "setSparePercentage", {}),
        ("StoragePool", "setSparePercentage", {"sparePercentage": "200"}),
        ("StoragePool", "setMediaType", {"mediaType": "Tape"}),
        ("StoragePool", "setRebuildEnabled", {"rebuildEnabled": "maybe"}),
        ("StoragePool", "setRebalanceIoPriorityPolicy", {"policy": "fast"}),
        ("StoragePool", "setCapacityAlertThresholds", {}),
        ("ProtectionDomain", "setSdsNetworkLimits", {}),
        ("Device", "setDeviceCapacityLimit", {"capacityLimitInGB": "0"}),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused(array: Array, kind: str, action: str, body: dict[str, object]) -> None:
    object_id = first(array, kind)
    before = shown(array, kind, object_id)
    assert array.error(kind, object_id, action, **body).status == 400
    assert shown(array, kind, object_id) == before


def test_less_spare_capacity_is_more_free_capacity(array: Array) -> None:
    path = f"/api/instances/StoragePool::{array.pool_id}/relationships/Statistics"
    before = array.get(path)["netUnusedCapacityInKb"]
    array.act("StoragePool", array.pool_id, "setSparePercentage", sparePercentage="0")
    assert array.get(path)["netUnusedCapacityInKb"] > before


def test_a_second_generation_pool_can_be_tuned(make_array: MakeArray) -> None:
    array = make_array("5.0")
    act = array.act
    act("StoragePool", array.pool_id, "setOverProvisioningFactor", overProvisioningFactor="5")
    act("StoragePool", array.pool_id, "modifyStoragePoolSize", physicalSizeGB="2048")
    act("StoragePool", array.pool_id, "modifyCompressionMethod", compressionMethod="None")
    act("StoragePool", array.pool_id, "setCapacityAlertThresholds", capacityAlertHighThresholdPercent="50")
    pool = shown(array, "StoragePool", array.pool_id)
    assert (pool["overProvisioningFactor"], pool["physicalSizeGB"]) == (5, 2048)
    assert (pool["compressionMethod"], pool["capacityAlertHighThreshold"]) == ("None", 50)
    act("ProtectionDomain", array.domain_id, "setRebuildEnabled", rebuildEnabled="False")
    assert shown(array, "ProtectionDomain", array.domain_id)["rebuildEnabled"] is False


# --- servers, devices, fault sets, MDMs ----------------------------------------------------------------


def test_fault_sets_group_sdss(array: Array) -> None:
    body = {"protectionDomainId": array.domain_id, "name": "rack1"}
    fault_set = array.post("/api/types/FaultSet/instances", body)["id"]
    addresses = [{"SdsIp": {"ip": "198.51.9.9", "role": "all"}}]
    body = {"protectionDomainId": array.domain_id, "name": "s9", "sdsIpList": addresses}
    server = array.post("/api/types/Sds/instances", {**body, "faultSetId": fault_set})["id"]
    assert shown(array, "Sds", server)["faultSetId"] == fault_set
    assert [item["id"] for item in array.get(f"/api/instances/FaultSet::{fault_set}/relationships/Sds")] == [
        server
    ]
    related = f"/api/instances/ProtectionDomain::{array.domain_id}/relationships/FaultSet"
    assert [item["name"] for item in array.get(related)] == ["rack1"]
    array.act("FaultSet", fault_set, "setFaultSetName", newName="rack2")
    assert array.error("FaultSet", fault_set, "removeFaultSet").status == 500
    array.act("Sds", server, "addSdsIp", ip="198.51.9.10", role="sdcOnly")
    array.act("Sds", server, "setSdsIpRole", sdsIpToSet="198.51.9.10", newRole="sdsOnly")
    array.act("Sds", server, "removeSdsIp", ip="198.51.9.9")
    assert shown(array, "Sds", server)["ipList"] == [{"ip": "198.51.9.10", "role": "sdsOnly"}]
    assert array.error("Sds", server, "removeSdsIp", ip="198.51.9.10").status == 500
    array.act("Sds", server, "removeSds")
    array.act("FaultSet", fault_set, "removeFaultSet")
    assert array.get("/api/types/FaultSet/instances") == []


def test_devices_are_added_and_removed(array: Array) -> None:
    body = {
        "deviceCurrentPathname": "/dev/sdz",
        "sdsId": first(array, "Sds"),
        "storagePoolId": array.pool_id,
        "name": "d9",
        "mediaType": "SSD",
    }
    device = array.post("/api/types/Device/instances", body)["id"]
    assert shown(array, "Device", device)["deviceCurrentPathName"] == "/dev/sdz"
    assert array.post("/api/types/Device/instances/action/queryIdByKey", {"name": "d9"}) == device
    array.act("Device", device, "updateDeviceOriginalPathname")
    array.act("Device", device, "removeDevice")
    assert array.error("Device", device, "removeDevice").status == 500


@pytest.mark.parametrize("version", ["4.5", "5.0"])
def test_a_removed_pool_and_domain_take_their_parts_along(make_array: MakeArray, version: str) -> None:
    array = make_array(version)
    array.act("StoragePool", array.pool_id, "removeStoragePool")
    assert array.get("/api/types/Device/instances") == []
    array.act("ProtectionDomain", array.domain_id, "removeProtectionDomain")
    everything = array.get("/api/instances")
    for parts in ("sdsList", "sdtList", "faultSetList", "storageNodeList", "deviceGroupList"):
        assert not everything.get(parts)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("Volume", {"volumeSizeInGb": "1" + "0" * 30}),
        ("StoragePool", {"name": "p", "sparePercentage": "900"}),
        ("StoragePool", {"name": "p", "sparePercentage": "-1"}),
        ("SnapshotPolicy", {"name": "p", "autoSnapshotCreationCadenceInMin": "9" * 20}),
    ],
)
def test_a_number_that_cannot_be_is_refused(array: Array, kind: str, body: dict[str, object]) -> None:
    parents = {"storagePoolId": array.pool_id, "protectionDomainId": array.domain_id}
    answer = array.send("POST", f"/api/types/{kind}/instances", {**parents, **body})
    assert answer.status == 400
    array.get("/api/instances")


@pytest.mark.parametrize("size", ["-5", "0", "99999999"])
def test_a_size_of_a_second_generation_pool_that_cannot_be_is_refused(
    make_array: MakeArray, size: str
) -> None:
    array = make_array("5.0")
    answer = array.error("StoragePool", array.pool_id, "modifyStoragePoolSize", physicalSizeGB=size)
    assert answer.status == 400


def test_an_sds_comes_with_its_devices_and_is_removed_with_them_by_force(array: Array) -> None:
    devices = [{"devicePath": "/dev/sdx", "storagePoolId": array.pool_id, "deviceName": "d1"}]
    addresses = [{"SdsIp": {"ip": "192.0.2.7", "role": "all"}}]
    body = {"protectionDomainId": array.domain_id, "sdsIpList": addresses, "deviceInfoList": devices}
    server = array.post("/api/types/Sds/instances", {"name": "new", **body})["id"]
    wrong = {**body, "name": "wrong", "deviceInfoList": [*devices, {"devicePath": "/dev/sdy"}]}
    assert array.send("POST", "/api/types/Sds/instances", wrong).status != 200
    assert "wrong" not in [item["name"] for item in array.get("/api/types/Sds/instances")]
    (device,) = array.get(f"/api/instances/Sds::{server}/relationships/Device")
    assert (device["name"], device["deviceCurrentPathName"]) == ("d1", "/dev/sdx")
    assert array.error("Sds", server, "removeSds").status == 500
    array.act("Sds", server, "removeSds", force="true")
    assert array.send("GET", f"/api/instances/Device::{device['id']}").status == 500


def test_mdms_are_renamed_and_change_their_role(array: Array) -> None:
    def cluster() -> Any:
        return array.post("/api/instances/System/queryMdmCluster", {})

    master, slave = cluster()["master"], cluster()["slaves"][0]
    array.post("/api/instances/System/action/renameMdm", {"id": slave["id"], "newName": "second"})
    assert cluster()["slaves"][0]["name"] == "second"
    array.post("/api/instances/System/action/changeMdmOwnership", {"id": slave["id"]})
    assert cluster()["master"]["id"] == slave["id"]
    assert cluster()["slaves"][0]["id"] == master["id"]
    tie_breaker = {"id": cluster()["tieBreakers"][0]["id"]}
    assert array.send("POST", "/api/instances/System/action/changeMdmOwnership", tie_breaker).status == 500
    array.post("/api/instances/System/action/setMdmPerformanceParameters", {"perfProfile": "Compact"})
    assert cluster()["perfProfile"] == "Compact"
