"""Importing volumes and snapshots that exist, and releasing volumes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from csi_powerflex.kube_objects.reader import CLAIMS, CONTENTS, VOLUMES
from csi_powerflex.names import Kind, array_name
from csi_powerflex.operations.controller.inventory import release
from csi_powerflex.operations.controller.inventory.reading import Reader
from csi_powerflex.simulator.faults import Fault, FaultKind
from tests.controller.changed_answers import ChangeAnswer
from tests.controller.conftest import MakeWorld
from tests.controller.driver import refused
from tests.controller.inventory_world import DRIVER, InventoryWorld
from tests.controller.world import World
from tests.kube.api_server import ApiServer


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ApiServer]:
    with ApiServer(tmp_path) as server:
        yield server


@pytest.fixture
def inventory(array45: World, cluster: ApiServer) -> InventoryWorld:
    return InventoryWorld(array45, cluster)


@pytest.fixture
def each_version(world: World, cluster: ApiServer) -> InventoryWorld:
    """One world for each generation of the array."""
    return InventoryWorld(world, cluster)


AS_EXT4 = ("--claim", "pay/data", "--fs-type", "ext4")


def manifests(text: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text))


# --- volumes import ------------------------------------------------------------------------------


def test_a_foreign_volume_gets_a_persistent_volume_and_a_claim(each_version: InventoryWorld) -> None:
    handle = each_version.foreign("payroll")
    text = each_version.ok("volumes", "import", "payroll", *AS_EXT4, "--storage-class", "powerflex")
    assert text.splitlines()[0] == f"# volume {handle}, called payroll, in pool pd1/sp1"
    system = handle.partition("-")[0]
    mode = {"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem"}
    assert manifests(text) == [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {
                "name": f"imported-{handle}",
                "annotations": {"pv.kubernetes.io/provisioned-by": DRIVER},
            },
            "spec": {
                "storageClassName": "powerflex",
                "capacity": {"storage": "8Gi"},
                **mode,
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "namespace": "pay",
                    "name": "data",
                },
                "csi": {
                    "driver": DRIVER,
                    "volumeHandle": handle,
                    "fsType": "ext4",
                    "volumeAttributes": {"origin": "copy"},
                },
                "nodeAffinity": {
                    "required": {
                        "nodeSelectorTerms": [
                            {
                                "matchExpressions": [
                                    {"key": f"{DRIVER}/{system}", "operator": "In", "values": ["true"]}
                                ]
                            }
                        ]
                    }
                },
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"namespace": "pay", "name": "data"},
            "spec": {
                "storageClassName": "powerflex",
                "volumeName": f"imported-{handle}",
                **mode,
                "resources": {"requests": {"storage": "8Gi"}},
            },
        },
    ]
    assert each_version.name_of(handle) == "payroll"


def test_json_is_a_list_that_kubectl_accepts(inventory: InventoryWorld) -> None:
    inventory.foreign("payroll")
    arguments = ("volumes", "import", "payroll", *AS_EXT4)
    document = inventory.document(*arguments)
    assert (document["apiVersion"], document["kind"]) == ("v1", "List")
    assert document["items"] == manifests(inventory.ok(*arguments))


def test_an_imported_volume_can_be_published(inventory: InventoryWorld) -> None:
    inventory.foreign("payroll")
    volume, _ = manifests(inventory.ok("volumes", "import", "payroll", *AS_EXT4))
    handle = volume["spec"]["csi"]["volumeHandle"]
    inventory.world.driver.publish(handle, inventory.world.node("a"))
    assert inventory.world.volume(handle).mappings


def test_a_block_volume_has_no_filesystem(inventory: InventoryWorld) -> None:
    inventory.foreign("payroll")
    arguments = ("--claim", "pay/data", "--block", "--access-mode", "ReadWriteMany")
    volume, claim = manifests(inventory.ok("volumes", "import", "payroll", *arguments))
    assert "fsType" not in volume["spec"]["csi"]
    for item in (volume, claim):
        assert item["spec"]["volumeMode"] == "Block"
        assert item["spec"]["accessModes"] == ["ReadWriteMany"]
        assert item["spec"]["storageClassName"] == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("--claim", "pay/data"),
        ("--claim", "pay/data", "--block", "--fs-type", "xfs"),
        ("--claim", "data", "--block"),
        ("--claim", "Pay/data", "--block"),
        ("--claim", "pay/data/x", "--block"),
        ("--block",),
    ],
)
def test_a_wrong_use_of_the_options_is_refused(inventory: InventoryWorld, arguments: tuple[str, ...]) -> None:
    result = inventory.run("volumes", "import", "payroll", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")


def test_a_volume_in_a_zone_is_bound_to_that_zone(make_world: MakeWorld, cluster: ApiServer) -> None:
    zones = [{"name": "z1", "protectionDomain": "pd1", "storagePools": ["sp1"]}]
    inventory = InventoryWorld(make_world(), cluster)
    handle = inventory.foreign("payroll")
    volume, _ = manifests(inventory.ok("volumes", "import", "payroll", *AS_EXT4, zones=zones))
    (term,) = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    system = handle.partition("-")[0]
    assert {item["key"]: item["values"] for item in term["matchExpressions"]} == {
        f"{DRIVER}/{system}": ["true"],
        f"{DRIVER}/zone": ["z1"],
    }


def test_each_reason_against_an_import_is_named(inventory: InventoryWorld) -> None:
    volume = inventory.provisioned("data")
    inventory.world.driver.publish(volume, inventory.world.node("a"))
    inventory.claim("data", namespace="pay")
    message = inventory.refused("volumes", "import", "shop/data", *AS_EXT4, "--pool", "sp9")
    for reason in (
        "it is mapped to worker-a; stop what uses it there, and unmap it at the array",
        f"of driver {DRIVER} has it",
        "it is in pool pd1/sp1 and not in 'sp9'",
        "claim pay/data exists already",
    ):
        assert reason in message
    assert len(message.splitlines()) == 1


def test_a_volume_in_the_named_pool_is_imported(inventory: InventoryWorld) -> None:
    inventory.foreign("payroll")
    for pool in ("sp1", "pd1/sp1"):
        inventory.ok("volumes", "import", "payroll", *AS_EXT4, "--pool", pool)


def test_a_volume_of_another_cluster_is_refused_until_it_is_adopted(inventory: InventoryWorld) -> None:
    handle = inventory.foreign(None, kind=Kind.VOLUME, cluster="othr")
    message = inventory.refused("volumes", "import", handle, *AS_EXT4)
    assert "its name says that cluster othr made it; release it there first" in message
    inventory.ok("volumes", "import", handle, *AS_EXT4, "--reclaim-policy", "Delete", adoptVolumes=["vothr"])


def test_the_policy_delete_needs_a_volume_that_the_driver_may_delete(inventory: InventoryWorld) -> None:
    handle = inventory.foreign("csivol-1")
    arguments = ("volumes", "import", handle, *AS_EXT4, "--reclaim-policy", "Delete")
    assert "put the beginning of its name into adoptVolumes of system array0" in inventory.refused(*arguments)
    volume, _ = manifests(inventory.ok(*arguments, adoptVolumes=["csivol-"]))
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"


def test_an_orphan_can_be_imported_again_and_deleted(inventory: InventoryWorld) -> None:
    volume = inventory.world.driver.create("pvc-lost")
    inventory.ok("volumes", "import", volume.volume_id, *AS_EXT4, "--reclaim-policy", "Delete")
    inventory.world.driver.delete(volume.volume_id)


def test_a_volume_that_a_claim_waits_for_is_refused(inventory: InventoryWorld) -> None:
    volume = inventory.world.driver.create(f"pvc-{inventory.claim('slow')}")
    message = inventory.refused("volumes", "import", volume.volume_id, *AS_EXT4)
    assert "it was created for claim shop/slow, which waits for it" in message


def test_a_claim_that_another_persistent_volume_is_reserved_for_is_refused(inventory: InventoryWorld) -> None:
    inventory.foreign("payroll")
    inventory.persistent_volume("reserved", "0123456789abcdef-0123456789abcdef", claim="data")
    message = inventory.refused("volumes", "import", "payroll", "--claim", "shop/data", "--block")
    assert "PersistentVolume reserved is for claim shop/data; delete it first" in message


def test_a_snapshot_is_no_volume(each_version: InventoryWorld) -> None:
    volume = each_version.provisioned("data")
    snapshot = each_version.taken("before", volume.volume_id)
    foreign = each_version.world.driver.snapshot(volume.volume_id, "snapshot-2")
    each_version.rename(foreign.snapshot_id, "by-hand")
    for handle in (snapshot.snapshot_id, foreign.snapshot_id):
        message = each_version.refused("volumes", "import", handle, *AS_EXT4, "--clone")
        assert "it is a snapshot; import it with csi-powerflex snapshots import" in message


def test_a_foreign_writable_copy_is_a_volume_only_if_told_so(each_version: InventoryWorld) -> None:
    volume = each_version.provisioned("data")
    copy = each_version.world.driver.clone("pvc-copy", volume.volume_id)
    each_version.rename(copy.volume_id, "by-hand")
    message = each_version.refused("volumes", "import", copy.volume_id, *AS_EXT4)
    assert "give --clone if it is a volume" in message
    each_version.ok("volumes", "import", copy.volume_id, *AS_EXT4, "--clone")


def test_a_clone_of_this_cluster_is_a_volume(inventory: InventoryWorld) -> None:
    volume = inventory.provisioned("data")
    clone = inventory.world.driver.clone("pvc-clone", volume.volume_id)
    inventory.ok("volumes", "import", clone.volume_id, *AS_EXT4)


def test_a_filesystem_for_several_writing_nodes_is_not_imported(inventory: InventoryWorld) -> None:
    inventory.foreign("payroll")
    message = inventory.refused("volumes", "import", "payroll", *AS_EXT4, "--access-mode", "ReadWriteMany")
    assert "would let several nodes write to one ext4" in message


def test_a_size_that_is_no_whole_number_of_gib_is_refused(inventory: InventoryWorld) -> None:
    handle = inventory.foreign("odd")
    array = inventory.world.array
    with array.lock:
        array.change(inventory.world.volume(handle), size_kb=(8 << 20) + 4)
        array.commit()
    assert "which is not a whole number of GiB" in inventory.refused("volumes", "import", handle, *AS_EXT4)


@pytest.mark.parametrize("resource", [VOLUMES, CLAIMS])
def test_without_kubernetes_answer_an_import_must_be_wanted(
    inventory: InventoryWorld, cluster: ApiServer, resource: str
) -> None:
    inventory.foreign("payroll")
    cluster.refused[resource] = 403
    arguments = ("volumes", "import", "payroll", *AS_EXT4)
    assert "it is not known whether Kubernetes has it already: " in inventory.refused(*arguments)
    assert "this is no pod" in inventory.refused(*arguments, kubernetes=False)
    result = inventory.run(*arguments, "--no-kubernetes", kubernetes=False)
    assert result.exit_code == 0
    assert "because of --no-kubernetes" in result.stderr


def test_two_answers_about_kubernetes_exclude_each_other(inventory: InventoryWorld) -> None:
    message = inventory.refused("volumes", "list", "--no-kubernetes")
    assert "--no-kubernetes and --kubeconfig exclude each other" in message


# --- snapshots import ----------------------------------------------------------------------------


def test_a_foreign_snapshot_gets_a_content_and_a_volume_snapshot(each_version: InventoryWorld) -> None:
    volume = each_version.provisioned("data")
    snapshot = each_version.world.driver.snapshot(volume.volume_id)
    each_version.rename(snapshot.snapshot_id, "by-hand")
    arguments = ("snapshots", "import", "by-hand", "--as", "shop/old", "--snapshot-class", "powerflex")
    content, volume_snapshot = manifests(each_version.ok(*arguments, "--source", "shop/data"))
    name = f"imported-{snapshot.snapshot_id}"
    assert content == {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshotContent",
        "metadata": {"name": name},
        "spec": {
            "driver": DRIVER,
            "deletionPolicy": "Retain",
            "volumeSnapshotClassName": "powerflex",
            "source": {"snapshotHandle": snapshot.snapshot_id},
            "sourceVolumeMode": "Filesystem",
            "volumeSnapshotRef": {"namespace": "shop", "name": "old"},
        },
    }
    assert volume_snapshot == {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshot",
        "metadata": {"namespace": "shop", "name": "old"},
        "spec": {"volumeSnapshotClassName": "powerflex", "source": {"volumeSnapshotContentName": name}},
    }
    each_version.world.driver.restore("pvc-restored", content["spec"]["source"]["snapshotHandle"])


def test_each_reason_against_the_import_of_a_snapshot_is_named(inventory: InventoryWorld) -> None:
    volume, other = inventory.provisioned("data"), inventory.provisioned("other")
    snapshot = inventory.taken("before", volume.volume_id)
    message = inventory.refused(
        "snapshots", "import", snapshot.snapshot_id, "--as", "shop/before", "--source", other.volume_id
    )
    for reason in (
        f"of driver {DRIVER} has it",
        f"it is a copy of {inventory.name_of(volume.volume_id)}, and not of {other.volume_id}",
        "is for VolumeSnapshot shop/before",
    ):
        assert reason in message


def test_a_member_of_a_group_snapshot_is_not_imported_without_its_group(inventory: InventoryWorld) -> None:
    volumes = [inventory.provisioned(claim).volume_id for claim in ("ledger", "journal")]
    group = inventory.world.driver.group_snapshot("groupsnapshot-1", *volumes)
    member = group.snapshots[0].snapshot_id
    arguments = ("snapshots", "import", member, "--as", "shop/alone")
    assert f"it is in group snapshot {group.group_snapshot_id}, and" in inventory.refused(*arguments)
    inventory.rename(member, "by-hand")
    content, _ = manifests(inventory.ok(*arguments))
    handle = content["spec"]["source"]["snapshotHandle"]
    assert inventory.world.driver.listed_snapshot(handle).group_snapshot_id == ""


def test_a_volume_is_no_snapshot(inventory: InventoryWorld) -> None:
    handle = inventory.foreign("payroll")
    message = inventory.refused("snapshots", "import", handle, "--as", "shop/s", "--source", handle)
    assert "it is a volume; import it with csi-powerflex volumes import" in message
    assert "it is a copy of no volume that exists" in message


def test_the_policy_delete_needs_a_snapshot_that_the_driver_may_delete(inventory: InventoryWorld) -> None:
    volume = inventory.provisioned("data")
    snapshot = inventory.world.driver.snapshot(volume.volume_id)
    arguments = ("snapshots", "import", snapshot.snapshot_id, "--as", "shop/s", "--deletion-policy", "Delete")
    content, _ = manifests(inventory.ok(*arguments))
    assert content["spec"]["deletionPolicy"] == "Delete"
    inventory.rename(snapshot.snapshot_id, "snap-1")
    assert "put the beginning of its name into adoptSnapshots" in inventory.refused(*arguments)
    inventory.ok(*arguments, "--block", adoptSnapshots=["snap-"])


def test_without_kubernetes_answer_the_import_of_a_snapshot_must_be_wanted(
    inventory: InventoryWorld, cluster: ApiServer
) -> None:
    volume = inventory.provisioned("data")
    snapshot = inventory.world.driver.snapshot(volume.volume_id)
    cluster.refused[CONTENTS] = 403
    arguments = ("snapshots", "import", snapshot.snapshot_id, "--as", "shop/s")
    assert "it is not known whether Kubernetes has it already: " in inventory.refused(*arguments)
    assert inventory.run(*arguments, "--no-kubernetes", kubernetes=False).exit_code == 0


# --- release -------------------------------------------------------------------------------------


def test_a_release_is_only_shown_until_it_is_confirmed(each_version: InventoryWorld) -> None:
    volume = each_version.world.driver.create("pvc-lost")
    name = each_version.name_of(volume.volume_id)
    text = each_version.ok("volumes", "release", volume.volume_id)
    new_name = f"released-{volume.volume_id.partition('-')[2]}"
    assert f"would be renamed from {name!r} to {new_name!r}. Nothing was changed" in text
    assert each_version.name_of(volume.volume_id) == name


def test_a_released_volume_has_another_name_and_is_not_deleted(each_version: InventoryWorld) -> None:
    volume = each_version.world.driver.create("pvc-lost")
    text = each_version.ok("volumes", "release", volume.volume_id, "--yes")
    new_name = f"released-{volume.volume_id.partition('-')[2]}"
    assert f"to {new_name!r}. It does not belong to cluster test any more." in text
    assert each_version.name_of(volume.volume_id) == new_name
    assert each_version.document("volumes", "list")["volumes"] == []
    driver = each_version.world.restart()
    failed = grpc.StatusCode.FAILED_PRECONDITION
    assert new_name in refused(failed, lambda: driver.delete(volume.volume_id))


def test_a_release_again_changes_nothing(inventory: InventoryWorld) -> None:
    volume = inventory.world.driver.create("pvc-lost")
    inventory.ok("volumes", "release", volume.volume_id, "--yes")
    text = inventory.ok("volumes", "release", volume.volume_id, "--yes")
    assert "Nothing is left to do." in text


def test_a_released_volume_can_be_imported_by_another_cluster(inventory: InventoryWorld) -> None:
    volume = inventory.world.driver.create("pvc-lost")
    inventory.ok("volumes", "release", volume.volume_id, "--name", "for-you", "--yes")
    assert inventory.name_of(volume.volume_id) == "for-you"
    inventory.ok("volumes", "import", "for-you", *AS_EXT4)


def test_each_reason_against_a_release_is_named(inventory: InventoryWorld) -> None:
    volume = inventory.provisioned("data")
    inventory.world.driver.publish(volume, inventory.world.node("a"))
    message = inventory.refused("volumes", "release", "shop/data", "--yes")
    assert "it is mapped to worker-a; stop what uses it first" in message
    assert "set its persistentVolumeReclaimPolicy to Retain, then delete its claim" in message
    assert inventory.name_of(volume.volume_id) == array_name(
        Kind.VOLUME, "test", "pvc-00000000-0000-4000-8000-000000000001"
    )


def test_a_volume_that_a_claim_waits_for_is_not_released(inventory: InventoryWorld) -> None:
    volume = inventory.world.driver.create(f"pvc-{inventory.claim('slow')}")
    message = inventory.refused("volumes", "release", volume.volume_id, "--yes")
    assert "claim shop/slow waits for it; delete the claim first" in message


def test_volumes_of_others_and_snapshots_are_not_released(inventory: InventoryWorld) -> None:
    foreign = inventory.foreign("payroll")
    snapshot = inventory.world.driver.snapshot(inventory.provisioned("data").volume_id)
    assert "it does not belong to cluster test" in inventory.refused("volumes", "release", foreign, "--yes")
    message = inventory.refused("volumes", "release", snapshot.snapshot_id, "--yes")
    assert "it is a snapshot; only volumes are released" in message
    assert inventory.name_of(foreign) == "payroll"


def test_an_adopted_volume_can_be_released(inventory: InventoryWorld) -> None:
    handle = inventory.foreign("csivol-1")
    inventory.ok("volumes", "release", handle, "--yes", adoptVolumes=["csivol-"])
    assert inventory.name_of(handle) == f"released-{handle.partition('-')[2]}"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("x" * 32, "give at most 31 letters"),
        ("-x", "give at most 31 letters"),
        ("two words", "give at most 31 letters"),
        (array_name(Kind.VOLUME, "othr", "x"), "is one that this driver gives to its own objects"),
        ("csivol-2", "begins as adoptVolumes or adoptSnapshots of system array0 say"),
    ],
)
def test_a_new_name_that_would_not_release_is_refused(
    inventory: InventoryWorld, name: str, says: str
) -> None:
    volume = inventory.world.driver.create("pvc-lost")
    before = inventory.name_of(volume.volume_id)
    message = inventory.refused(
        "volumes", "release", volume.volume_id, f"--name={name}", "--yes", adoptVolumes=["csivol-"]
    )
    assert says in message
    assert inventory.name_of(volume.volume_id) == before


def test_a_new_name_that_another_volume_has_is_refused(inventory: InventoryWorld) -> None:
    inventory.foreign("payroll")
    volume = inventory.world.driver.create("pvc-lost")
    before = inventory.name_of(volume.volume_id)
    inventory.refused("volumes", "release", volume.volume_id, "--name", "payroll", "--yes")
    assert inventory.name_of(volume.volume_id) == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("map", "was mapped to a (host id "),
        ("rename", "and is called 'theirs' now; it was not renamed"),
        ("remove", "Could not find the volume"),
    ],
)
def test_a_volume_that_changes_after_the_plan_is_not_renamed(
    inventory: InventoryWorld, monkeypatch: pytest.MonkeyPatch, change: str, says: str
) -> None:
    volume = inventory.world.driver.create("pvc-lost")
    driver = inventory.world.driver
    changes: dict[str, Callable[[], object]] = {
        "map": lambda: driver.publish(volume, inventory.world.node("a")),
        "rename": lambda: inventory.rename(volume.volume_id, "theirs"),
        "remove": lambda: driver.delete(volume.volume_id),
    }
    carry_out = release.carry_out

    def changed_before(reader: Reader, planned: release.ReleasePlan) -> None:
        changes[change]()
        carry_out(reader, planned)

    monkeypatch.setattr(release, "carry_out", changed_before)
    assert says in inventory.refused("volumes", "release", volume.volume_id, "--yes")
    assert not any(
        (item.name or "").startswith("released-") for item in inventory.world.array.volumes.values()
    )


def test_a_release_that_the_array_does_not_show_is_to_be_repeated(
    inventory: InventoryWorld, change_answer: ChangeAnswer
) -> None:
    volume = inventory.world.driver.create("pvc-lost")
    before = inventory.name_of(volume.volume_id)
    change_answer("Volume.get", lambda answer: {**answer, "name": before})
    message = inventory.refused("volumes", "release", volume.volume_id, "--yes")
    assert "run the command again" in message


def test_a_release_whose_answer_was_lost_is_found_done_by_the_next_run(inventory: InventoryWorld) -> None:
    volume = inventory.world.driver.create("pvc-lost")
    gateway = inventory.world.simulator.gateway
    # As many times as the request is sent.
    gateway.inject(Fault(kind=FaultKind.LOST_REPLY, route="Volume.setVolumeName", times=4))
    assert "connection broke" in inventory.refused("volumes", "release", volume.volume_id, "--yes")
    inventory.ok("volumes", "release", volume.volume_id, "--yes")
    assert inventory.name_of(volume.volume_id) == f"released-{volume.volume_id.partition('-')[2]}"


def test_a_release_whose_request_is_sent_twice_succeeds(inventory: InventoryWorld) -> None:
    volume = inventory.world.driver.create("pvc-lost")
    gateway = inventory.world.simulator.gateway
    gateway.inject(Fault(kind=FaultKind.LOST_REPLY, route="Volume.setVolumeName", times=1))
    inventory.ok("volumes", "release", volume.volume_id, "--yes")
    assert inventory.name_of(volume.volume_id) == f"released-{volume.volume_id.partition('-')[2]}"


def test_a_name_that_the_array_says_is_in_use_by_the_volume_itself_is_no_error(
    inventory: InventoryWorld,
) -> None:
    volume = inventory.world.driver.create("pvc-lost")
    gateway = inventory.world.simulator.gateway
    gateway.inject(
        Fault(kind=FaultKind.ERROR, code=99, route="Volume.setVolumeName", times=1, after_effect=True)
    )
    inventory.ok("volumes", "release", volume.volume_id, "--yes")
    assert inventory.name_of(volume.volume_id) == f"released-{volume.volume_id.partition('-')[2]}"


def test_without_kubernetes_answer_a_release_must_be_wanted(
    inventory: InventoryWorld, cluster: ApiServer
) -> None:
    volume = inventory.world.driver.create("pvc-lost")
    cluster.refused[CLAIMS] = 403
    arguments = ("volumes", "release", volume.volume_id, "--yes")
    assert "it is not known whether Kubernetes needs it: " in inventory.refused(*arguments)
    assert inventory.run(*arguments, "--no-kubernetes", kubernetes=False).exit_code == 0


# --- names that are none -------------------------------------------------------------------------


def test_an_empty_name_is_no_name(inventory: InventoryWorld) -> None:
    volume = inventory.provisioned("data").volume_id
    lost = inventory.world.driver.create("pvc-lost").volume_id
    snapshot = inventory.world.driver.snapshot(volume).snapshot_id
    for arguments in (
        ("volumes", "show", ""),
        ("volumes", "release", " ", "--yes"),
        ("volumes", "revert", volume, "--to", "", "--yes"),
        ("volumes", "revert", "--group", "", "--yes"),
        ("snapshots", "import", snapshot, "--as", "shop/copy", "--source", ""),
    ):
        assert "the name of a volume or snapshot is empty" in inventory.refused(*arguments)
    assert "'' is not usable as its new name" in inventory.refused(
        "volumes", "release", lost, "--name", "", "--yes"
    )


def test_an_object_without_a_claim_is_not_called_none(inventory: InventoryWorld) -> None:
    volume = inventory.world.driver.create("pvc-1").volume_id
    snapshot = inventory.world.driver.snapshot(volume).snapshot_id
    inventory.persistent_volume("pv-1", volume)
    inventory.cluster.put(CONTENTS, "content-1", {"spec": {"source": {"snapshotHandle": snapshot}}})
    for arguments in (("volumes", "show", "None"), ("snapshots", "show", "None")):
        assert "no volume or snapshot is called 'None'" in inventory.refused(*arguments)


def test_the_source_of_a_snapshot_is_on_its_system(pair: World, cluster: ApiServer) -> None:
    """Two systems may give the same ids."""
    inventory = InventoryWorld(pair, cluster)
    first, second = (
        pair.driver.create(f"pvc-{name}", parameters={"systemID": name}).volume_id
        for name in ("array0", "array1")
    )
    assert first.partition("-")[2] == second.partition("-")[2]
    snapshot = pair.driver.snapshot(second).snapshot_id
    as_copy = ("--as", "shop/copy")
    message = inventory.refused("snapshots", "import", snapshot, *as_copy, "--source", first)
    assert f"and not of {first}" in message
    inventory.ok("snapshots", "import", snapshot, *as_copy, "--source", second)
