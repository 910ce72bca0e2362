"""Changes of volumes: size and QoS. And the capacity that the scheduler sees."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.kubernetes import Object
from tests.e2e.machine_limits import may_grow_ext4
from tests.e2e.processes import await_true
from tests.e2e.space import Space


def _ask_for(space: Space, claim: str, size: int) -> None:
    change = {"spec": {"resources": {"requests": {"storage": f"{size}Gi"}}}}
    space.kubernetes.patch("persistentvolumeclaims", claim, change, space.name)


def _has(size: int) -> Any:
    def true(claim: Object) -> bool:
        return bool(claim.get("status", {}).get("capacity", {}).get("storage") == f"{size}Gi")

    return true


@pytest.mark.parametrize("filesystem", ["ext4", "xfs", "btrfs"])
def test_a_filesystem_grows_under_a_running_pod(space: Space, filesystem: str) -> None:
    if filesystem == "ext4" and not may_grow_ext4():
        pytest.skip("this machine lacks CAP_SYS_RESOURCE, without which no mounted ext4 grows")
    space.claim("data", storage_class="powerflex" if filesystem == "ext4" else f"powerflex-{filesystem}")
    space.pod("user", {"/data": "data"}, node="worker1")
    space.run("user", "echo kept > /data/file; sync")
    _ask_for(space, "data", 16)
    space.until_claim("data", _has(16), what="of 16 GiB")
    assert int(space.run("user", "df -m /data | awk 'NR > 1 { print $2 }'")) > 15000
    assert space.run("user", "cat /data/file") == "kept"


def test_an_ext4_volume_without_pod_grows_for_the_next_pod(space: Space) -> None:
    space.claim("data")
    space.pod("user", {"/data": "data"}, node="worker1")
    space.run("user", "echo kept > /data/file; sync")
    space.remove_pod("user")
    _ask_for(space, "data", 16)
    space.pod("user", {"/data": "data"}, node="worker2")
    space.until_claim("data", _has(16), what="of 16 GiB")
    assert int(space.run("user", "df -m /data | awk 'NR > 1 { print $2 }'")) > 15000
    assert space.run("user", "cat /data/file") == "kept"


def test_a_raw_block_volume_grows_under_a_running_pod(space: Space) -> None:
    space.claim("disk", block=True)
    space.pod("user", {"/dev/disk0": "disk"}, node="worker1", block=True)
    _ask_for(space, "disk", 24)
    space.until_claim("disk", _has(24), what="of 24 GiB")
    assert int(space.run("user", "blockdev --getsize64 /dev/disk0")) == 24 << 30


def test_a_volume_changes_its_attributes_class_and_keeps_it_on_another_node(
    cluster: Cluster, space: Space
) -> None:
    def limits() -> set[int]:
        mapped = cluster.array.get(f"instances/Volume::{space.array_id('data')}")["mappedSdcInfo"] or []
        return {int(each["limitIops"]) for each in mapped}

    def change_to(name: str) -> None:
        space.kubernetes.patch(
            "persistentvolumeclaims", "data", {"spec": {"volumeAttributesClassName": name}}, space.name
        )
        space.until_claim(
            "data",
            lambda claim: claim["status"].get("currentVolumeAttributesClassName") == name,
            what=f"of class {name}",
            seconds=180,
        )

    space.claim("data", attributes="silver")
    space.pod("user", {"/data": "data"}, node="worker1")
    assert limits() == {500}
    change_to("gold")
    assert limits() == {10000}
    space.remove_pod("user")
    await_true(lambda: not limits(), what="the volume being mapped to no node")
    change_to("silver")
    space.pod("user", {"/data": "data"}, node="worker2")
    assert limits() == {500}


def test_the_scheduler_sees_the_free_capacity(cluster: Cluster) -> None:
    def capacities() -> dict[str, Object]:
        return {each["storageClassName"]: each for each in cluster.kubernetes.list("csistoragecapacities")}

    await_true(lambda: "powerflex" in capacities(), what="the capacity of the class being told")
    capacity = capacities()["powerflex"]
    assert capacity["capacity"] not in {"0", "", None}
