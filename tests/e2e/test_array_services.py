"""What the array does alone: moves to another pool, reverts, the trash, and snapshot policies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import DRIVER, Cluster
from tests.e2e.kubernetes import Object, Refused
from tests.e2e.operator import Operator
from tests.e2e.processes import await_true
from tests.e2e.space import Space, claim_spec, of_snapshot, pod_spec


@pytest.fixture
def operator(cluster: Cluster, tmp_path: Path) -> Iterator[Operator]:
    """Someone who runs the driver's commands."""
    operator = Operator(cluster, tmp_path)
    yield operator
    operator.leave()


def _write(space: Space, pod: str, text: str, *paths: str) -> None:
    for path in paths:
        space.run(pod, f"echo {text} > {path}/file; sync")


def _read(space: Space, pod: str, *paths: str) -> list[str]:
    return [space.run(pod, f"cat {path}/file") for path in paths]


# --- moves -------------------------------------------------------------------------------------------

# The checksum is that of what was written, before it was written.
_WRITER = (
    "i=0; while :; do i=$((i + 1)); sum=$(head -c 65536 /dev/urandom | tee /data/$i | sha256sum); "
    'sync; echo "$i $sum" >> /data/sums; sleep 0.1; done'
)
# The files are read past the page cache. The last line of the list may not be complete.
_CHECK = (
    'n=0; while read -r i sum rest; do [ -n "$rest" ] || continue; '
    'found=$(dd if=/data/$i bs=65536 iflag=direct 2>/dev/null | sha256sum); [ "$found" = "$sum  -" ]; '
    "n=$((n + 1)); done < /data/sums; echo $n"
)


class _Moving:
    """The claim ``data``, which moves while a pod writes to it."""

    def __init__(self, cluster: Cluster, space: Space) -> None:
        self._array = cluster.array
        self._space = space
        space.claim("data", storage_class="powerflex-immediate", attributes="first-pool")
        self._handle: str = space.volume("data")["spec"]["csi"]["volumeHandle"]
        space.pod("writer", {"/data": "data"}, node="worker1")
        space.run("writer", f"touch /data/sums; ({_WRITER}) >/dev/null 2>&1 &")

    def verified(self, pod: str = "writer") -> int:
        """The number of files that were written, after a look at all of them."""
        return int(self._space.run(pod, _CHECK))

    def verified_above(self, count: int) -> int:
        """Wait for more than ``count`` files; returns their number, after a look at all of them."""
        found = count

        def more() -> bool:
            nonlocal found
            found = self.verified()
            return found > count

        await_true(more, what=f"more than {count} files in the moving volume")
        return found

    def begin(self, name: str, *, saying: str) -> None:
        """Give the claim another class, and wait until the call that is repeated tells of the move."""
        change = {"spec": {"volumeAttributesClassName": name}}
        self._space.kubernetes.patch("persistentvolumeclaims", "data", change, self._space.name)
        self._space.until_event("data", "VolumeModifyFailed", saying=saying)

    def is_moving(self) -> bool:
        """Whether the array moves it now."""
        volume = self._array.get(f"instances/Volume::{self._space.array_id('data')}")
        tree = self._array.get(f"instances/VTree::{volume['vtreeId']}")
        return str(tree["vtreeMigrationInfo"]["migrationStatus"]) != "NotInMigration"

    def until_of(self, name: str) -> None:
        """Wait until the claim has a class."""
        self._space.until_claim(
            "data",
            lambda claim: claim["status"].get("currentVolumeAttributesClassName") == name,
            what=f"of class {name}",
        )

    def pool(self) -> str:
        """The name of its pool. It is mapped to the host of the pod all the time."""
        assert self._array.hosts_of(self._space.array_id("data")) == {"worker1"}
        return self._array.pool_of(self._handle)[1]


def test_a_claim_moves_to_another_pool_and_back_by_its_class_while_its_pod_writes(
    cluster: Cluster, space: Space
) -> None:
    data = _Moving(cluster, space)
    written = data.verified_above(0)
    assert data.pool() == "sp1"

    data.begin("second-pool", saying="is being moved from pool pd1/sp1 to pool pd2/sp2")
    written = data.verified_above(written)
    assert data.is_moving()
    space.until_event("data", "VolumeMoving", saying="pool pd2/sp2")
    data.until_of("second-pool")
    space.until_event("data", "VolumeMoved", saying="pool pd2/sp2")
    assert data.pool() == "sp2"
    written = data.verified_above(written)

    data.begin("first-pool", saying="is being moved from pool pd2/sp2 to pool pd1/sp1")
    data.until_of("first-pool")
    assert data.pool() == "sp1"
    written = data.verified_above(written)
    space.remove_pod("writer")
    space.pod("reader", {"/data": "data"}, node="worker2")
    assert data.verified("reader") >= written


# --- reverts -----------------------------------------------------------------------------------------


def _stateful_set(space: Space) -> Object:
    labels = {"app": "db"}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": space.name},
        "spec": {
            "replicas": 1,
            "serviceName": "db",
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": pod_spec({"/data": "data"}) | {"volumes": []},
            },
            "volumeClaimTemplates": [{"metadata": {"name": "v0"}, "spec": claim_spec()}],
        },
    }


def _until_detached(space: Space, *claims: str) -> None:
    names = {space.volume(claim)["metadata"]["name"] for claim in claims}

    def so() -> bool:
        attached = space.kubernetes.list("volumeattachments")
        return names.isdisjoint(each["spec"]["source"]["persistentVolumeName"] for each in attached)

    await_true(so, what=f"no VolumeAttachment of {names} being left")


def _safety_of(told: str) -> list[str]:
    """The handles of the safety snapshots that a revert names."""
    return re.findall(r"^To undo it: .* --to (\S+)\. ", told, flags=re.MULTILINE)


def _import_snapshot(operator: Operator, space: Space, handle: str, name: str) -> None:
    """Give a VolumeSnapshot to a snapshot on the array, which is deleted with it."""
    operator.apply_from_pod(f"snapshots import {handle} --as {space.name}/{name} --deletion-policy Delete")
    space.until_snapshot(name)


def test_the_volume_of_a_stateful_set_is_reverted_and_its_newer_data_can_be_restored(
    cluster: Cluster, space: Space, operator: Operator
) -> None:
    kubernetes = cluster.kubernetes
    revert = f"volumes revert {space.name}/v0-db-0 --to {space.name}/before"
    kubernetes.apply(_stateful_set(space))
    space.until_running("db-0")
    _write(space, "db-0", "old", "/data")
    space.snapshot("before", "v0-db-0")
    _write(space, "db-0", "newer", "/data")
    with pytest.raises(Refused, match=f"pod {space.name}/db-0 uses its claim v0-db-0"):
        operator.on_machine(f"{revert} --yes")

    kubernetes.kubectl("scale", "statefulset/db", "--replicas=0", f"--namespace={space.name}")
    _until_detached(space, "v0-db-0")
    assert "Nothing was changed; give --yes to do it." in operator.on_machine(revert)
    (safety,) = _safety_of(operator.on_machine(f"{revert} --yes"))

    volume = space.volume("v0-db-0")["metadata"]["name"]
    hold = f"{DRIVER}/hold"
    kubernetes.kubectl("annotate", "persistentvolume", volume, f"{hold}=checked by Eva until noon")
    kubernetes.kubectl("scale", "statefulset/db", "--replicas=1", f"--namespace={space.name}")
    space.until_event("db-0", "FailedAttachVolume", saying="checked by Eva until noon")
    assert not cluster.array.hosts_of(space.array_id("v0-db-0"))
    kubernetes.kubectl("annotate", "persistentvolume", volume, f"{hold}-")
    space.until_running("db-0")
    assert _read(space, "db-0", "/data") == ["old"]

    listed = json.loads(operator.in_pod("snapshots orphans --older-than 0 -o json"))["snapshots"]
    assert safety in [each["handle"] for each in listed]
    _import_snapshot(operator, space, safety, "safety")
    space.claim("newer", source=of_snapshot("safety"))
    space.pod("reader", {"/data": "newer"}, node="worker2")
    assert _read(space, "reader", "/data") == ["newer"]


def test_two_volumes_are_reverted_to_their_group_snapshot_and_each_has_a_safety_snapshot(
    space: Space, operator: Operator
) -> None:
    paths = {"/ledger": "ledger", "/journal": "journal"}
    for claim in paths.values():
        space.claim(claim, labels={"app": space.name})
    space.pod("bank", paths, node="worker1")
    _write(space, "bank", "old", *paths)
    space.group_snapshot("both", {"app": space.name})
    content = space.until_group_snapshot("both")["status"]["boundVolumeGroupSnapshotContentName"]
    group = space.kubernetes.get("volumegroupsnapshotcontents", content)["status"][
        "volumeGroupSnapshotHandle"
    ]
    _write(space, "bank", "newer", *paths)
    space.remove_pod("bank")
    _until_detached(space, *paths.values())

    told = operator.on_machine(f"volumes revert --group {group} --yes")
    space.pod("bank", paths, node="worker2")
    assert _read(space, "bank", *paths) == ["old", "old"]
    safety = _safety_of(told)
    assert len(safety) == 2
    for number, handle in enumerate(safety):
        _import_snapshot(operator, space, handle, f"safety-{number}")
        space.claim(f"newer-{number}", source=of_snapshot(f"safety-{number}"))
    space.pod("reader", {"/0": "newer-0", "/1": "newer-1"}, node="worker1")
    assert _read(space, "reader", "/0", "/1") == ["newer", "newer"]


# --- the trash ---------------------------------------------------------------------------------------


@pytest.fixture
def with_trash(cluster: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    """The driver with a trash, and its systems in the values of the chart."""
    files = cluster.systems()
    (system,) = json.loads(files.pop("systems.yaml"))["systems"]
    values = tmp_path / "values.json"
    values.write_text(
        json.dumps(
            {
                "existingSecret": "",
                "systems": [system | {"trash": {"keep": "24h"}}],
                "systemsFiles": files,
            }
        )
    )
    try:
        cluster.install("--values", str(values))
        yield cluster
    finally:
        cluster.install()


def test_a_deleted_claim_is_undeleted_with_its_data(
    with_trash: Cluster, space: Space, operator: Operator
) -> None:
    kubernetes, array = space.kubernetes, with_trash.array

    def delete() -> None:
        volume = space.volume("data")["metadata"]["name"]
        kubernetes.delete("persistentvolumeclaims", "data", space.name)
        kubernetes.until_deleted("persistentvolumes", [volume], None)

    def in_trash() -> list[str]:
        return [each["handle"] for each in json.loads(operator.in_pod("volumes trash -o json"))["volumes"]]

    space.claim("data")
    space.pod("user", {"/data": "data"}, node="worker1")
    _write(space, "user", "kept", "/data")
    space.remove_pod("user")
    volume, volume_id = space.volume("data"), space.array_id("data")
    name, handle = volume["metadata"]["name"], volume["spec"]["csi"]["volumeHandle"]
    delete()
    assert in_trash() == [handle]
    assert array.hosts_of(volume_id) == set()

    undelete = f"volumes undelete {name} --claim {space.name}/data --fs-type ext4 --reclaim-policy Delete"
    assert "is still in the trash; give --yes to undelete it" in operator.in_pod(undelete)
    operator.apply_from_pod(f"{undelete} --yes")
    space.pod("user", {"/data": "data"}, node="worker2")
    assert space.array_id("data") == volume_id
    assert _read(space, "user", "/data") == ["kept"]

    space.remove_pod("user")
    delete()
    assert in_trash() == [handle]
    array.post(f"instances/Volume::{volume_id}/action/removeVolume", {"removeMode": "ONLY_ME"})


# --- snapshot policies -------------------------------------------------------------------------------


@pytest.fixture
def policy(cluster: Cluster) -> Iterator[str]:
    """The id of a snapshot policy of the array, called ``often``, and a StorageClass with that name."""
    array = cluster.array
    storage_class: Object = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "often"},
        "provisioner": DRIVER,
        "parameters": {"snapshotPolicy": "often", "deletePolicySnapshots": "true"},
    }
    cadence = {"autoSnapshotCreationCadenceInMin": "5", "numOfRetainedSnapshotsPerLevel": ["2"]}
    policy: str = array.post("types/SnapshotPolicy/instances", {"name": "often", **cadence})["id"]
    cluster.kubernetes.apply(storage_class)
    yield policy
    cluster.kubernetes.delete_all(storage_class)
    array.post(f"instances/SnapshotPolicy::{policy}/action/removeSnapshotPolicy", {})


def test_a_snapshot_that_a_policy_of_the_array_took_is_restored_to_a_claim(
    cluster: Cluster, policy: str, space: Space, operator: Operator
) -> None:
    array, kubernetes = cluster.array, cluster.kubernetes
    space.claim("data", storage_class="often")
    space.pod("user", {"/data": "data"}, node="worker1")
    _write(space, "user", "old", "/data")
    array.advance_clock(301)
    (taken,) = array.get(f"instances/SnapshotPolicy::{policy}/relationships/AutoSnapshotVolume")
    _write(space, "user", "newer", "/data")

    listed = json.loads(operator.in_pod("snapshots list -o json"))["snapshots"]
    (found,) = [each for each in listed if each["handle"].endswith(taken["id"])]
    handle = found["handle"]
    assert found["sourceClaim"] == {"namespace": space.name, "name": "data"}
    import_it = f"snapshots import {handle} --as {space.name}/taken --source {space.name}/data"
    with pytest.raises(Refused, match="Give --yes to lock it on the array"):
        operator.in_pod(import_it)
    operator.apply_from_pod(f"{import_it} --yes")
    space.until_snapshot("taken")
    space.claim("restored", source=of_snapshot("taken"))
    space.pod("reader", {"/data": "restored"}, node="worker2")
    assert _read(space, "reader", "/data") == ["old"]
    assert _read(space, "user", "/data") == ["newer"]

    content = kubernetes.get("volumesnapshots", "taken", space.name)["status"]
    name = content["boundVolumeSnapshotContentName"]
    for kind, object_name in (("volumesnapshots", "taken"), ("volumesnapshotcontents", name)):
        kubernetes.delete(kind, object_name, space.name)
        kubernetes.until_deleted(kind, [object_name], space.name)
    operator.in_pod(f"snapshots unlock {handle} --yes")
