"""Calls the block API of a gateway through an unchanged PyPowerFlex. A test runs it as a process.

Both major versions of the package have the same name. So each needs its own interpreter with the version
under test first in its path. Arguments: port, user, password, CA file.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest
from PyPowerFlex import PowerFlexClient  # type: ignore[import-not-found]  # the test adds it to the path
from PyPowerFlex.exceptions import PowerFlexClientException  # type: ignore[import-not-found]


def connect(port: int, user: str, password: str, authority: str) -> Any:
    client = PowerFlexClient("127.0.0.1", port, user, password, certificate_path=authority, timeout=10)
    client.initialize()
    return client


def refused(text: str, call: Any, *arguments: Any, **named: Any) -> None:
    with pytest.raises(PowerFlexClientException, match=text):
        call(*arguments, **named)


def inventory(client: Any) -> tuple[str, str, str]:
    """The ids of system, pool and SDC, from the reads that every client makes."""
    (system,) = client.system.get()
    assert client.system.get_mdm_cluster_details()["clusterState"] == "ClusteredNormal"
    (domain,) = client.protection_domain.get(filter_fields={"name": "pd1"})
    assert domain["systemId"] == system["id"]
    (pool,) = client.protection_domain.get_storage_pools(domain["id"])
    assert client.storage_pool.get(entity_id=pool["id"])["name"] == "sp1"
    (sdc,) = client.sdc.get(filter_fields={"name": "a"})
    client.sdc.rename(sdc["id"], "renamed")
    assert client.sdc.get(entity_id=sdc["id"])["name"] == "renamed"
    client.sdc.rename(sdc["id"], "a")
    return system["id"], pool["id"], sdc["id"]


def volumes_of_the_first_generation(client: Any) -> None:
    system_id, pool_id, sdc_id = inventory(client)
    volume = client.volume.create(
        pool_id, 8, name="v1", volume_type="ThinProvisioned", compression_method="None"
    )
    volume_id = volume["id"]
    refused("already in use", client.volume.create, pool_id, 8, name="v1", volume_type="ThinProvisioned")
    assert client.volume.extend(volume_id, 16)["sizeInKb"] == 16 * 1024 * 1024
    client.volume.rename(volume_id, "v2")
    mapped = client.volume.add_mapped_sdc(volume_id, sdc_id=sdc_id, allow_multiple_mappings=True)
    assert mapped["mappedSdcInfo"][0]["sdcId"] == sdc_id
    limited = client.volume.set_mapped_sdc_limits(volume_id, sdc_id, bandwidth_limit="10240", iops_limit="11")
    assert limited["mappedSdcInfo"][0]["limitIops"] == 11
    client.volume.set_access_mode_for_sdc(volume_id, sdc_id, "ReadOnly")
    assert [item["id"] for item in client.sdc.get_mapped_volumes(sdc_id)] == [volume_id]
    refused("Volume is mapped", client.volume.delete, volume_id, "ONLY_ME")
    assert client.volume.remove_mapped_sdc(volume_id, sdc_id=sdc_id)["mappedSdcInfo"] is None
    client.volume.set_volume_access_mode_limit(volume_id, "ReadOnly")
    client.volume.set_volume_access_mode_limit(volume_id, "ReadWrite")
    client.volume.set_use_rmcache(volume_id, True)
    assert client.volume.get_statistics(volume_id)["numOfMappedSdcs"] == 0
    snapshots(client, system_id, volume_id)
    pool_statistics(client, pool_id, volume_id)
    policies(client, volume_id)
    client.volume.delete(volume_id, "ONLY_ME")
    assert [left["name"] for left in client.volume.get()] == ["s1"]  # it is secure


def snapshots(client: Any, system_id: str, volume_id: str) -> None:
    define = snapshot_definition()
    made = client.system.snapshot_volumes(system_id, [define(volume_id, "s1")], access_mode="ReadOnly")
    (snapshot,) = client.volume.get(filter_fields={"name": "s1"})
    assert snapshot["id"] in made["volumeIdList"]
    assert snapshot["ancestorVolumeId"] == volume_id
    client.volume.set_retention_period(snapshot["id"], 1)
    refused("retention", client.volume.delete, snapshot["id"], "ONLY_ME")
    group = client.system.snapshot_volumes(system_id, [define(volume_id, "s2")])
    removed = client.system.remove_cg_snapshots(system_id, group["snapshotGroupId"])
    assert int(removed["numberOfVolumes"]) == 1


def snapshot_definition() -> Any:
    try:
        from PyPowerFlex.objects.common.system import SnapshotDef  # type: ignore[import-not-found]  # noqa: PLC0415
    except ImportError:
        from PyPowerFlex.objects.system import SnapshotDef  # type: ignore[import-not-found]  # noqa: PLC0415
    return SnapshotDef


def pool_statistics(client: Any, pool_id: str, volume_id: str) -> None:
    assert client.storage_pool.get_statistics(pool_id)["numOfVolumes"] >= 1
    assert len(client.storage_pool.get_volumes(pool_id)) >= 1
    assert client.utility.get_statistics_for_all_storagepools()[pool_id]["netUnusedCapacityInKb"] > 0
    assert client.utility.get_statistics_for_all_volumes()[volume_id]["numOfChildVolumes"] >= 0
    refused("one of the following values", client.utility.get_statistics_for_all_volumes, properties=["x"])


def policies(client: Any, volume_id: str) -> None:
    policy = client.snapshot_policy.create(60, [4, 2], name="hourly")
    client.snapshot_policy.add_source_volume(policy["id"], volume_id)
    (found,) = client.snapshot_policy.get(filter_fields={"name": "hourly"})
    assert found["numOfSourceVolumes"] == 1
    assert client.snapshot_policy.get_statistics(policy["id"])["numOfSrcVols"] == 1
    assert policy["id"] in client.utility.get_statistics_for_all_snapshot_policies()
    client.snapshot_policy.pause(policy["id"])
    client.snapshot_policy.resume(policy["id"])
    client.snapshot_policy.remove_source_volume(policy["id"], volume_id, "Remove")
    client.snapshot_policy.delete(policy["id"])


def volumes_of_the_second_generation(client: Any) -> None:
    system_id, pool_id, sdc_id = inventory(client)
    volume_id = client.volume.create(pool_id, 3, name="v1")["id"]
    client.volume.extend(volume_id, 5)
    client.volume.rename(volume_id, "v2")
    client.volume.add_mapped_host(volume_id, sdc_id, allow_multiple_mappings=True)
    shown = client.volume.get(entity_id=volume_id)
    assert shown["sizeInKb"] == 5 * 1024 * 1024
    assert shown["mappedSdcInfo"][0]["sdcId"] == sdc_id
    client.volume.set_mapped_sdc_limits(volume_id, sdc_id, bandwidth_limit="10240", iops_limit="11")
    client.volume.set_access_mode_for_sdc(volume_id, sdc_id, "ReadOnly")
    client.volume.remove_mapped_host(volume_id, sdc_id)
    define = snapshot_definition()
    (snapshot,) = client.system.create_snapshot(system_id, [define(volume_id, "s1")])["volumeIdList"]
    assert client.volume.get(entity_id=snapshot)["volumeType"] == "ReadOnlySnapshot"
    (clone,) = client.system.create_thin_clone(system_id, [define(snapshot, "c1")])["volumeIdList"]
    assert client.volume.get(entity_id=clone)["accessModeLimit"] == "ReadWrite"
    client.volume.restore(volume_id, snapshot)
    client.volume.refresh(clone, volume_id)
    metrics = client.volume.get_statistics(volume_id)
    assert metrics["resources"][0]["id"] == volume_id
    everything = client.utility.query_metrics_for_all_volumes_gen2()
    assert len(everything["resources"]) == 3
    client.volume.delete(volume_id, "WHOLE_VTREE")
    assert client.volume.get() == []
    assert client.device_group.get()
    assert client.storage_node.get()


def hosts(client: Any) -> None:
    host = client.host.create("nqn.2014-08.org.nvmexpress:uuid:1", name="nvme1")
    assert host["hostType"] == "NVMeHost"
    client.host.modify_max_num_paths(host["id"], 8)
    assert client.sdt.get()


def main() -> None:
    client = connect(int(sys.argv[1]), *sys.argv[2:5])
    if hasattr(client.system, "create_thin_clone"):
        volumes_of_the_second_generation(client)
    else:
        volumes_of_the_first_generation(client)
    if client.system.api_version() >= "4.0":
        hosts(client)
    sys.stdout.write(f"completed {client.system.api_version()}\n")


if __name__ == "__main__":
    main()
