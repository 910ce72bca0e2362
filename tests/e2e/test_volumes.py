"""Volumes of each kind, from the claim to the deletion."""

from __future__ import annotations

import pytest

from tests.e2e.cluster import DRIVER, Cluster
from tests.e2e.kubernetes import Refused
from tests.e2e.space import Space, claim_spec, of_snapshot, pod_spec

_WRITE = "dd if=/dev/urandom of=/data/file bs=1M count=16 2>/dev/null; sync; sha256sum /data/file"


@pytest.mark.parametrize("filesystem", ["ext4", "xfs", "btrfs"])
def test_a_pod_on_another_node_reads_the_written_data(space: Space, filesystem: str) -> None:
    storage_class = "powerflex" if filesystem == "ext4" else f"powerflex-{filesystem}"
    space.claim("data", storage_class=storage_class)
    space.pod("writer", {"/data": "data"}, node="worker1")
    assert f" /data {filesystem} rw" in space.run("writer", "cat /proc/mounts")
    written = space.run("writer", _WRITE)
    space.remove_pod("writer")
    space.pod("reader", {"/data": "data"}, node="worker2")
    assert space.run("reader", "sha256sum /data/file") == written


def test_a_raw_block_volume_has_its_data_on_another_node(space: Space) -> None:
    space.claim("disk", block=True)
    space.pod("writer", {"/dev/disk0": "disk"}, node="worker1", block=True)
    space.run("writer", "dd if=/dev/urandom of=/dev/disk0 bs=1M count=16 conv=fsync 2>/dev/null")
    written = space.run("writer", "head -c 16777216 /dev/disk0 | sha256sum")
    space.remove_pod("writer")
    space.pod("reader", {"/dev/disk0": "disk"}, node="worker2", block=True)
    assert space.run("reader", "head -c 16777216 /dev/disk0 | sha256sum") == written


def test_an_immediate_volume_is_created_before_its_pod_and_can_be_used_on_any_node(space: Space) -> None:
    space.claim("data", storage_class="powerflex-immediate")
    volume = space.volume("data")
    assert space.array_id("data") in volume["spec"]["csi"]["volumeHandle"]
    visitors = ""
    for node in ("worker1", "worker2"):
        space.pod("user", {"/data": "data"}, node=node)
        visitors = space.run("user", f"echo {node} >> /data/visitors; sync; cat /data/visitors")
        space.remove_pod("user")
    assert visitors.split() == ["worker1", "worker2"]


def test_a_volume_for_one_node_is_refused_on_a_second_until_the_first_releases_it(
    cluster: Cluster, space: Space
) -> None:
    space.claim("data")
    space.pod("first", {"/data": "data"}, node="worker1")
    space.pod("second", {"/data": "data"}, node="worker2", wait=False)
    space.until_event("second", "FailedAttachVolume")
    assert cluster.array.hosts_of(space.array_id("data")) == {"worker1"}
    space.remove_pod("first")
    space.until_running("second", seconds=240)
    assert cluster.array.hosts_of(space.array_id("data")) == {"worker2"}


def test_a_volume_for_one_pod_is_refused_to_a_second_on_the_same_node(space: Space) -> None:
    space.claim("data", mode="ReadWriteOncePod")
    space.pod("first", {"/data": "data"}, node="worker1")
    space.pod("second", {"/data": "data"}, node="worker1", wait=False)
    space.until_event("second", "FailedScheduling", saying="ReadWriteOncePod")
    space.remove_pod("first")
    space.until_running("second")


def test_both_nodes_can_write_one_raw_block_volume(cluster: Cluster, space: Space) -> None:
    space.claim("disk", mode="ReadWriteMany", block=True)
    for number, node in enumerate(("worker1", "worker2")):
        space.pod(node, {"/dev/disk0": "disk"}, node=node, block=True)
        space.run(node, f"printf {node} | dd of=/dev/disk0 bs=4096 seek={number} conv=fsync 2>/dev/null")
    assert cluster.array.hosts_of(space.array_id("disk")) == {"worker1", "worker2"}
    assert space.run("worker2", "head -c 7 /dev/disk0") == "worker1"
    space.remove_pod("worker1")
    space.pod("worker1", {"/dev/disk0": "disk"}, node="worker1", block=True)
    assert (
        space.run("worker1", "dd if=/dev/disk0 bs=4096 skip=1 count=1 2>/dev/null | head -c 7") == "worker2"
    )


def test_pods_on_both_nodes_can_read_a_snapshot_and_cannot_write_it(space: Space) -> None:
    space.claim("data")
    space.pod("writer", {"/data": "data"}, node="worker1")
    space.run("writer", "echo frozen > /data/file; sync")
    space.snapshot("frozen", "data")
    space.run("writer", "echo later > /data/file; sync")
    space.claim("frozen", mode="ReadOnlyMany", source=of_snapshot("frozen"))
    for node in ("worker1", "worker2"):
        space.pod(f"reader-{node}", {"/data": "frozen"}, node=node)
        assert space.run(f"reader-{node}", "cat /data/file") == "frozen"
        with pytest.raises(Refused, match="Read-only file system"):
            space.run(f"reader-{node}", "touch /data/other")


def test_a_generic_ephemeral_volume_is_deleted_with_its_pod(cluster: Cluster, space: Space) -> None:
    before = set(cluster.array.volumes())
    template = {"spec": claim_spec()}
    volumes = [{"name": "v0", "ephemeral": {"volumeClaimTemplate": template}}]
    space.pod("user", {"/scratch": "unused"}, node="worker1", volumes=volumes)
    space.run("user", "echo here > /scratch/file; sync")
    assert len(set(cluster.array.volumes()) - before) == 1
    space.remove_pod("user")
    cluster.array.await_volumes(before)


def test_a_stateful_set_uses_its_volumes_again_after_it_was_scaled_down_and_up(space: Space) -> None:
    kubernetes = space.kubernetes
    labels = {"app": "db"}
    kubernetes.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "db", "namespace": space.name},
            "spec": {
                "replicas": 3,
                "serviceName": "db",
                "podManagementPolicy": "Parallel",
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": pod_spec({"/data": "data"}) | {"volumes": []},
                },
                "volumeClaimTemplates": [{"metadata": {"name": "v0"}, "spec": claim_spec()}],
            },
        }
    )
    for name in ("db-0", "db-1", "db-2"):
        space.until_running(name)
        space.run(name, f"echo {name} > /data/name; sync")
    for replicas in (1, 3):
        kubernetes.patch("statefulsets", "db", {"spec": {"replicas": replicas}}, space.name)
        if replicas == 1:
            kubernetes.until_deleted("pods", ["db-1", "db-2"], space.name)
    for name in ("db-0", "db-1", "db-2"):
        space.until_running(name)
        assert space.run(name, "cat /data/name") == name


def test_a_static_volume_can_be_used_and_is_kept(cluster: Cluster, space: Space) -> None:
    array = cluster.array
    pools = array.get("types/StoragePool/instances")
    (pool,) = [each for each in pools if each["name"] == array.facts["storagePool"]]
    body = {
        "name": "old",
        "storagePoolId": pool["id"],
        "volumeSizeInKb": str(8 << 20),
        "volumeType": "ThinProvisioned",
    }
    volume_id = array.post("types/Volume/instances", body)["id"]
    name = f"old-{space.name}"
    space.kubernetes.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "storageClassName": "",
                "capacity": {"storage": "8Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "csi": {
                    "driver": DRIVER,
                    "volumeHandle": f"{array.facts['systemId']}-{volume_id}",
                    "fsType": "ext4",
                    "volumeAttributes": {"origin": "empty"},
                },
            },
        }
    )
    space.claim("data", storage_class="", volumeName=name)
    space.pod("user", {"/data": "data"}, node="worker1")
    space.run("user", "echo kept > /data/file; sync")
    space.remove_pod("user")
    space.kubernetes.delete("persistentvolumeclaims", "data", space.name)
    space.kubernetes.delete("persistentvolumes", name)
    space.kubernetes.until_deleted("persistentvolumes", [name], None)
    assert volume_id in array.volumes()
    assert array.hosts_of(volume_id) == set()
    array.post(f"instances/Volume::{volume_id}/action/removeVolume", {"removeMode": "ONLY_ME"})
