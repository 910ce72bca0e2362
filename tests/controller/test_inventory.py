"""The commands that show volumes and snapshots, with a simulated array and a stand-in of Kubernetes."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from csi_powerflex.kube_objects.reader import CLAIMS, CLASSES, CONTENTS, NODES, VOLUMES
from csi_powerflex.names import Kind
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, PoolPlan
from csi_powerflex.simulator.simulator import SystemPlan
from tests.controller.changed_answers import ChangeAnswer
from tests.controller.conftest import MakeWorld
from tests.controller.driver import GIB, Mode, block
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


def narrow(text: str) -> bool:
    """Whether each line fits a terminal of 80 columns."""
    return all(len(line) <= 80 for line in text.splitlines())


# --- volumes list --------------------------------------------------------------------------------


def test_a_volume_is_listed_with_its_claim_node_size_pool_and_limits(each_version: InventoryWorld) -> None:
    volume = each_version.provisioned("data", gib=16, parameters={"iopsLimit": "500"})
    each_version.world.driver.publish(volume, each_version.world.node("a"))
    each_version.taken("before", volume.volume_id)
    heading, line = each_version.ok("volumes", "list").splitlines()
    assert heading.split() == ["VOLUME", "NODE", "SIZE", "POOL", "AGE", "LIMITS", "TREE"]
    words = line.split()
    assert words[:4] == ["shop/data", "worker-a", "16GiB", "pd1/sp1"]
    assert words[5:] == ["500", "IOPS", "2"]


def test_a_document_has_every_field_of_a_volume(inventory: InventoryWorld) -> None:
    volume = inventory.provisioned("data", parameters={"bandwidthLimitInKbps": "2048"})
    inventory.world.driver.publish(volume, inventory.world.node("b"))
    found = inventory.document("volumes", "list")
    assert found["problems"] == found["unknown"] == []
    (document,) = found["volumes"]
    assert document.pop("ageSeconds") >= 0
    assert datetime.datetime.fromisoformat(document.pop("created")).tzinfo is datetime.UTC
    uid = "00000000-0000-4000-8000-000000000001"
    assert document == {
        "kind": "volume",
        "handle": volume.volume_id,
        "name": inventory.name_of(volume.volume_id),
        "system": "array0",
        "systemId": volume.volume_id.partition("-")[0],
        "pool": "pd1/sp1",
        "owner": "this cluster",
        "cluster": "test",
        "uid": uid,
        "sizeBytes": 8 * GIB,
        "provisioning": "thin",
        "access": "ReadWrite",
        "treeMembers": 1,
        "source": None,
        "sourceClaim": None,
        "claim": {"namespace": "shop", "name": "data"},
        "requestedLimits": {"iopsLimit": 0, "bandwidthLimitInKbps": 2048},
        "persistentVolume": {
            "name": f"pvc-{uid}",
            "driver": DRIVER,
            "phase": "Bound",
            "reclaimPolicy": "Delete",
            "storageClass": "powerflex",
            "hold": None,
        },
        "hosts": [
            {
                "node": "worker-b",
                "name": "b",
                "id": inventory.world.volume(volume.volume_id).mappings[0].host_id,
                "initiator": inventory.world.node("b"),
                "access": "ReadWrite",
                "iopsLimit": 0,
                "bandwidthLimitInKbps": 2048,
            }
        ],
        "snapshotPolicy": None,
    }


def test_an_unmapped_volume_has_the_limits_that_it_will_get(
    inventory: InventoryWorld, cluster: ApiServer
) -> None:
    volume = inventory.world.driver.create("pvc-1", gib=16)
    cluster.put(CLASSES, "gold", {"driverName": DRIVER, "parameters": {"iopsPerGiB": "10"}})
    attributes = {"origin": "empty", "bandwidthLimitInKbps": "1024"}
    inventory.persistent_volume(
        "pvc-1", volume.volume_id, claim="data", attributes=attributes, attributes_class="gold"
    )
    text = inventory.ok("volumes", "list")
    assert "160 IOPS" in text
    assert "1024 KB/s" in text
    assert "160 IOPS, 1024 KB/s" in inventory.ok("volumes", "show", "shop/data")


@pytest.mark.parametrize(
    ("attributes_class", "attributes"), [("nosuch", {}), ("", {"iopsLimit": "5"}), ("bad", {})]
)
def test_limits_that_cannot_be_told_are_not_known(
    inventory: InventoryWorld, cluster: ApiServer, attributes_class: str, attributes: dict[str, str]
) -> None:
    volume = inventory.world.driver.create("pvc-1")
    cluster.put(CLASSES, "bad", {"driverName": DRIVER, "parameters": {"iopsLimit": "many"}})
    inventory.persistent_volume(
        "pvc-1", volume.volume_id, claim="data", attributes=attributes, attributes_class=attributes_class
    )
    (found,) = inventory.document("volumes", "list")["volumes"]
    assert found["requestedLimits"] is None


def test_yaml_has_what_json_has(inventory: InventoryWorld) -> None:
    inventory.provisioned("data")
    from_yaml = yaml.safe_load(inventory.ok("volumes", "list", "-o", "yaml"))
    from_json = inventory.document("volumes", "list")
    for found in (from_yaml, from_json):
        found["volumes"][0].pop("ageSeconds")
    assert from_yaml == from_json


def test_long_names_are_wrapped_and_not_shortened(inventory: InventoryWorld) -> None:
    claim = "a-claim-with-a-name-that-is-far-longer-than-a-column-of-a-table-could-ever-be"
    capability = block(Mode.MULTI_NODE_MULTI_WRITER)
    volume = inventory.provisioned(
        claim,
        parameters={"iopsLimit": "123456", "bandwidthLimitInKbps": "1024000"},
        capabilities=[capability],
    )
    for node in ("a", "b", "c"):
        inventory.world.driver.publish(volume, inventory.world.node(node), capability)
    text = inventory.ok("volumes", "list")
    assert narrow(text)
    assert claim in "".join(line.split()[0] for line in text.splitlines()[1:] if line[0] != " ").removeprefix(
        "shop/"
    )
    assert all(f"worker-{node}" in text for node in "abc")
    assert "123456 IOPS" in text
    assert "1024000 KB/s" in text


def test_the_wide_table_also_names_the_persistent_volume_and_the_handle(inventory: InventoryWorld) -> None:
    volume = inventory.provisioned("data")
    _, line = inventory.ok("volumes", "list", "-o", "wide").splitlines()
    persistent_volume = "pvc-00000000-0000-4000-8000-000000000001"
    assert line.split()[-3:] == [persistent_volume, inventory.name_of(volume.volume_id), volume.volume_id]


def test_volumes_of_others_are_listed_only_on_request_and_with_their_owner(inventory: InventoryWorld) -> None:
    inventory.foreign("payroll")
    inventory.foreign(None, kind=Kind.VOLUME, cluster="othr")
    inventory.foreign("csivol-123")
    result = inventory.run("volumes", "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "No volumes were found." in result.stderr
    text = inventory.ok("volumes", "list", "--all", adoptVolumes=["csivol-"])
    assert narrow(text)
    found = inventory.document("volumes", "list", "--all", adoptVolumes=["csivol-"])
    assert {(item["owner"], item["cluster"]) for item in found["volumes"]} == {
        ("other", None),
        ("other cluster", "othr"),
        ("adopted", None),
    }
    adopted = inventory.document("volumes", "list", adoptVolumes=["csivol-"])
    assert [item["name"] for item in adopted["volumes"]] == ["csivol-123"]


def test_an_imported_volume_is_one_of_this_cluster(inventory: InventoryWorld) -> None:
    handle = inventory.foreign("payroll")
    inventory.persistent_volume("imported", handle, claim="pay")
    (found,) = inventory.document("volumes", "list")["volumes"]
    assert (found["handle"], found["owner"]) == (handle, "other")
    assert found["claim"] == {"namespace": "shop", "name": "pay"}


def test_volumes_of_one_system_or_pool_can_be_chosen(make_world: MakeWorld, cluster: ApiServer) -> None:
    pools = (PoolPlan("sp1"), PoolPlan("sp2"))
    plans = [
        SystemPlan(initial_state=InitialState(name=name, domains=(DomainPlan("pd1", pools=pools),)))
        for name in ("one", "two")
    ]
    inventory = InventoryWorld(make_world(*plans), cluster)
    for system in ("array0", "array1"):
        for pool in ("sp1", "sp2"):
            inventory.provisioned(f"{system}-{pool}", parameters={"systemID": system, "storagepool": pool})

    def listed(*options: str) -> list[str]:
        return [item["claim"]["name"] for item in inventory.document("volumes", "list", *options)["volumes"]]

    assert listed() == ["array0-sp1", "array0-sp2", "array1-sp1", "array1-sp2"]
    assert listed("--system", "array1") == ["array1-sp1", "array1-sp2"]
    assert listed("--pool", "sp2") == listed("--pool", "pd1/sp2") == ["array0-sp2", "array1-sp2"]
    assert listed("--system", "array0", "--pool", "nosuch") == []
    text = inventory.ok("volumes", "list")
    assert "SYSTEM" in text.splitlines()[0]
    assert narrow(text)
    assert "array2" in inventory.refused("volumes", "list", "--system", "array2")


def test_a_system_that_does_not_answer_is_named_and_the_others_are_listed(
    pair: World, cluster: ApiServer, unreachable_url: str
) -> None:
    inventory = InventoryWorld(pair, cluster)
    inventory.provisioned("data", parameters={"systemID": "array0"})
    inventory.entries[1] = {**inventory.entries[1], "endpoints": [unreachable_url]}
    result = inventory.run("volumes", "list")
    assert result.exit_code == 1
    assert "shop/data" in result.stdout
    assert "Error: system array1 could not be read: " in result.stderr


def test_without_kubernetes_volumes_have_their_names_on_the_array(inventory: InventoryWorld) -> None:
    volume = inventory.provisioned("data")
    inventory.world.driver.publish(volume, inventory.world.node("a"))
    result = inventory.run("volumes", "list", kubernetes=False)
    assert result.exit_code == 0
    assert "Note: Kubernetes was not asked" in result.stderr
    words = result.stdout.splitlines()[1].split()
    assert words[:2] == [inventory.name_of(volume.volume_id), "a"]


def test_the_controllers_settings_in_the_environment_count(inventory: InventoryWorld) -> None:
    inventory.provisioned("data")
    inventory.ok("volumes", "list")
    result = inventory.run(
        "volumes",
        "list",
        kubernetes=False,
        env={"POWERFLEX_CSI_CONTROLLER_KUBECONFIG": str(inventory.kubeconfig)},
    )
    assert "shop/data" in result.stdout


def test_a_kubernetes_api_that_is_away_is_said_and_the_array_is_listed(
    inventory: InventoryWorld, cluster: ApiServer
) -> None:
    inventory.provisioned("data")
    cluster.down = True
    result = inventory.run("volumes", "list")
    assert result.exit_code == 0
    assert "Note: PersistentVolumes could not be listed: the Kubernetes API answered 503" in result.stderr
    assert len(result.stdout.splitlines()) == 2


def test_a_user_without_rights_on_nodes_sees_the_arrays_host_names(
    inventory: InventoryWorld, cluster: ApiServer
) -> None:
    volume = inventory.provisioned("data")
    inventory.world.driver.publish(volume, inventory.world.node("a"))
    cluster.refused[NODES] = 403
    result = inventory.run("volumes", "list")
    assert result.stdout.splitlines()[1].split()[:2] == ["shop/data", "a"]
    assert "Note: CSINodes could not be listed: the Kubernetes API answered 403" in result.stderr


def test_a_name_on_the_array_cannot_control_the_terminal(inventory: InventoryWorld) -> None:
    inventory.foreign("a[red]b\x1b[2Jc")
    text = inventory.ok("volumes", "list", "--all")
    assert "\x1b" not in text
    assert "a[red]b\\x1b[2Jc" in text


# --- volumes show --------------------------------------------------------------------------------


def test_a_volume_is_shown_by_each_of_its_names(each_version: InventoryWorld) -> None:
    volume = each_version.provisioned("data")
    each_version.provisioned("other")
    persistent_volume = "pvc-00000000-0000-4000-8000-000000000001"
    called = [volume.volume_id, each_version.name_of(volume.volume_id), "shop/data", persistent_volume]
    for name in called:
        assert each_version.document("volumes", "show", str(name))["handle"] == volume.volume_id
    text = each_version.ok("volumes", "show", "shop/data")
    assert narrow(text)
    for word in [*called, "8 GiB", "pd1/sp1", "Bound", "Delete"]:
        assert str(word) in text


def test_without_kubernetes_a_volume_is_found_by_its_csi_name(inventory: InventoryWorld) -> None:
    volume = inventory.provisioned("data")
    persistent_volume = "pvc-00000000-0000-4000-8000-000000000001"
    found = inventory.document("volumes", "show", persistent_volume, kubernetes=False)
    assert found["handle"] == volume.volume_id


def test_it_is_shown_why_a_volume_cannot_be_imported(inventory: InventoryWorld) -> None:
    volume = inventory.provisioned("data")
    inventory.world.driver.publish(volume, inventory.world.node("a"))
    found = inventory.document("volumes", "show", "shop/data")
    assert found["importObstacles"] == [
        "it is mapped to worker-a; stop what uses it there, and unmap it at the array",
        f"PersistentVolume pvc-{found['uid']} of driver {DRIVER} has it",
    ]
    text = inventory.ok("volumes", "show", "shop/data")
    assert narrow(text)
    assert "worker-a, ReadWrite, unlimited IOPS, unlimited KB/s" in text
    assert "it is mapped to worker-a; stop what uses it there" in text


def test_a_clone_is_shown_with_its_source(inventory: InventoryWorld) -> None:
    volume = inventory.provisioned("data")
    clone = inventory.world.driver.clone("pvc-2", volume.volume_id)
    found = inventory.document("volumes", "show", clone.volume_id)
    assert found["source"] == inventory.name_of(volume.volume_id)
    assert found["sourceClaim"] == {"namespace": "shop", "name": "data"}
    assert (found["treeMembers"], found["provisioning"]) == (2, None)


@pytest.mark.parametrize("name", ["shop/nosuch", "nosuch", "0123456789abcdef-0123456789abcdef"])
def test_a_volume_that_does_not_exist_is_not_shown(inventory: InventoryWorld, name: str) -> None:
    assert name.partition("-")[0] in inventory.refused("volumes", "show", name)


def test_a_handle_that_was_removed_is_said_to_be_so(inventory: InventoryWorld) -> None:
    volume = inventory.provisioned("data")
    inventory.world.driver.delete(volume.volume_id)
    message = inventory.refused("volumes", "show", "shop/data")
    assert (
        f"{volume.volume_id} does not exist on system array0: it was removed, or the id is wrong" in message
    )


def test_a_claim_that_cannot_be_looked_up_is_refused_with_the_reason(inventory: InventoryWorld) -> None:
    message = inventory.refused("volumes", "show", "shop/data", kubernetes=False)
    assert "claims are not known (Kubernetes was not asked, " in message


def test_a_name_that_two_systems_have_is_ambiguous_until_one_is_named(
    pair: World, cluster: ApiServer
) -> None:
    inventory = InventoryWorld(pair, cluster)
    made = [
        inventory.world.driver.create(f"pvc-{system}", parameters={"systemID": system})
        for system in ("array0", "array1")
    ]
    for gateway, volume in zip(pair.simulator.gateways, made, strict=True):
        with gateway.array.lock:
            item = gateway.array.volumes[volume.volume_id.partition("-")[2]]
            gateway.array.change(item, name="twin")
            gateway.array.commit()
    message = inventory.refused("volumes", "show", "twin")
    assert all(volume.volume_id in message for volume in made)
    found = inventory.document("volumes", "show", "twin", "--system", "array1")
    assert found["handle"] == made[1].volume_id


# --- orphans -------------------------------------------------------------------------------------


def test_an_orphan_is_a_volume_of_this_cluster_that_nothing_needs(each_version: InventoryWorld) -> None:
    kept = each_version.provisioned("kept")
    orphan = each_version.world.driver.create("pvc-lost")
    foreign = [each_version.foreign("payroll"), each_version.foreign(None, kind=Kind.VOLUME)]
    each_version.made_older(kept.volume_id, orphan.volume_id, *foreign)
    text = each_version.ok("volumes", "orphans")
    assert narrow(text)
    (found,) = each_version.document("volumes", "orphans")["volumes"]
    assert found["handle"] == orphan.volume_id
    assert found["name"] in text
    assert {volume.id for volume in each_version.world.array.volumes.values()} >= {
        handle.partition("-")[2] for handle in (kept.volume_id, orphan.volume_id, *foreign)
    }


def test_a_young_volume_is_no_orphan(inventory: InventoryWorld) -> None:
    inventory.world.driver.create("pvc-new")
    assert inventory.document("volumes", "orphans")["volumes"] == []
    assert len(inventory.document("volumes", "orphans", "--older-than", "0")["volumes"]) == 1


def test_a_volume_of_a_waiting_claim_is_no_orphan(inventory: InventoryWorld) -> None:
    uid = inventory.claim("slow")
    volume = inventory.world.driver.create(f"pvc-{uid}")
    inventory.made_older(volume.volume_id)
    assert inventory.document("volumes", "orphans")["volumes"] == []
    (listed,) = inventory.document("volumes", "list")["volumes"]
    assert listed["claim"] == {"namespace": "shop", "name": "slow"}


def test_a_second_volume_of_a_bound_claim_is_an_orphan(inventory: InventoryWorld) -> None:
    uid = inventory.claim("moved", volume="another")
    inventory.persistent_volume("another", "0123456789abcdef-0123456789abcdef", claim="moved")
    volume = inventory.world.driver.create(f"pvc-{uid}")
    inventory.made_older(volume.volume_id)
    assert [item["handle"] for item in inventory.document("volumes", "orphans")["volumes"]] == [
        volume.volume_id
    ]


def test_a_volume_that_another_driver_uses_is_no_orphan(inventory: InventoryWorld) -> None:
    volume = inventory.world.driver.create("pvc-moved")
    inventory.made_older(volume.volume_id)
    inventory.persistent_volume("moved", volume.volume_id, claim="m", driver="csi-vxflexos.dellemc.com")
    assert inventory.document("volumes", "orphans")["volumes"] == []


@pytest.mark.parametrize("group", ["volumes", "snapshots"])
@pytest.mark.parametrize("resource", [VOLUMES, CONTENTS])
def test_nothing_is_called_an_orphan_if_kubernetes_could_not_be_asked(
    inventory: InventoryWorld, cluster: ApiServer, group: str, resource: str
) -> None:
    volume = inventory.provisioned("data")
    inventory.made_older(volume.volume_id)
    cluster.refused[resource] = 403
    message = inventory.refused(group, "orphans")
    assert "orphans cannot be told, because Kubernetes could not be asked: " in message
    assert "answered 403" in message
    assert "Kubernetes was not asked" in inventory.refused(group, "orphans", kubernetes=False)


def test_a_cluster_without_snapshots_has_orphans_too(inventory: InventoryWorld, cluster: ApiServer) -> None:
    volume = inventory.world.driver.create("pvc-lost")
    inventory.made_older(volume.volume_id)
    cluster.refused[CONTENTS] = 404
    assert len(inventory.document("volumes", "orphans")["volumes"]) == 1


def test_it_is_said_that_waiting_claims_are_not_known(inventory: InventoryWorld, cluster: ApiServer) -> None:
    cluster.refused[CLAIMS] = 403
    result = inventory.run("volumes", "orphans")
    assert result.exit_code == 0
    assert "Note: PersistentVolumeClaims could not be listed: " in result.stderr


# --- snapshots -----------------------------------------------------------------------------------


def test_a_snapshot_is_listed_with_its_source(each_version: InventoryWorld) -> None:
    volume = each_version.provisioned("data")
    snapshot = each_version.taken("before", volume.volume_id)
    heading, line = each_version.ok("snapshots", "list").splitlines()
    assert heading.split() == ["SNAPSHOT", "SOURCE", "SIZE", "POOL", "AGE", "TREE"]
    assert line.split()[:4] == ["shop/before", "shop/data", "8GiB", "pd1/sp1"]
    (found,) = each_version.document("snapshots", "list")["snapshots"]
    assert found["kind"] == "snapshot"
    assert found["handle"] == snapshot.snapshot_id
    assert found["snapshot"] == {"namespace": "shop", "name": "before"}
    assert found["snapshotContent"]["deletionPolicy"] == "Delete"
    assert found["sourceClaim"] == {"namespace": "shop", "name": "data"}
    assert found["lockedUntil"] is None
    _, wide = each_version.ok("snapshots", "list", "-o", "wide").splitlines()
    assert wide.split()[-1] == snapshot.snapshot_id


def test_a_snapshot_is_shown_by_each_of_its_names(inventory: InventoryWorld) -> None:
    volume = inventory.provisioned("before")  # a claim of the same name
    snapshot = inventory.taken("before", volume.volume_id)
    content = "snapcontent-00000000-0000-4000-8000-000000000002"
    called = [snapshot.snapshot_id, inventory.name_of(snapshot.snapshot_id), "shop/before", content]
    for name in called:
        assert inventory.document("snapshots", "show", str(name))["handle"] == snapshot.snapshot_id
    text = inventory.ok("snapshots", "show", "shop/before")
    assert narrow(text)
    for word in [*called, "ReadOnly"]:
        assert str(word) in text


def test_a_locked_snapshot_says_until_when(inventory: InventoryWorld) -> None:
    volume = inventory.provisioned("data")
    snapshot = inventory.world.driver.snapshot(volume.volume_id, retentionMinutes="60")
    assert inventory.document("snapshots", "show", snapshot.snapshot_id)["lockedUntil"]
    assert "locked until" in inventory.ok("snapshots", "show", snapshot.snapshot_id)


def test_an_orphan_is_a_snapshot_without_a_content(inventory: InventoryWorld) -> None:
    volume = inventory.provisioned("data")
    kept = inventory.taken("kept", volume.volume_id)
    uid = inventory.uid()
    inventory.content(f"snapcontent-{uid}", "", snapshot="slow", uid=uid)
    promised = inventory.world.driver.snapshot(volume.volume_id, f"snapshot-{uid}")
    lost = inventory.world.driver.snapshot(volume.volume_id, "snapshot-lost")
    inventory.made_older(kept.snapshot_id, promised.snapshot_id, lost.snapshot_id)
    assert narrow(inventory.ok("snapshots", "orphans"))
    (found,) = inventory.document("snapshots", "orphans")["snapshots"]
    assert found["handle"] == lost.snapshot_id


def test_a_volume_in_a_pool_that_was_removed_is_listed_with_the_id_of_the_pool(
    inventory: InventoryWorld, change_answer: ChangeAnswer
) -> None:
    volume = inventory.provisioned("data")
    change_answer("StoragePool.list", lambda pools: [{**pool, "id": "0" * 16} for pool in pools])
    pool = inventory.world.volume(volume.volume_id).pool_id
    (found,) = inventory.document("volumes", "list")["volumes"]
    assert found["pool"] == pool
    assert len(inventory.document("volumes", "list", "--pool", pool)["volumes"]) == 1
    assert inventory.document("volumes", "list", "--pool", "sp1")["volumes"] == []


def test_snapshots_of_others_are_listed_on_request_with_their_owner(inventory: InventoryWorld) -> None:
    volume = inventory.provisioned("data")
    snapshot = inventory.world.driver.snapshot(volume.volume_id)
    inventory.rename(snapshot.snapshot_id, "by-hand")
    assert inventory.document("snapshots", "list")["snapshots"] == []
    heading, line = inventory.ok("snapshots", "list", "--all").splitlines()
    assert heading.split()[-1] == "OWNER"
    assert line.split()[0] == "by-hand"
    assert line.split()[-1] == "other"


# --- how Kubernetes is reached -------------------------------------------------------------------


def test_a_pod_without_a_token_is_told_so(inventory: InventoryWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    result = inventory.run("volumes", "list", kubernetes=False)
    assert result.exit_code == 0
    assert "Note: cannot reach Kubernetes: " in result.stderr


def test_no_look_changes_the_array(inventory: InventoryWorld) -> None:
    volume = inventory.provisioned("data")
    snapshot = inventory.taken("before", volume.volume_id)
    inventory.foreign("payroll")
    before = inventory.world.final_codes.state()
    for arguments in (
        ("volumes", "list", "--all"),
        ("volumes", "show", "shop/data"),
        ("volumes", "orphans"),
        ("volumes", "import", "payroll", "--claim", "shop/pay", "--block"),
        ("volumes", "release", "payroll"),
        ("snapshots", "list", "--all"),
        ("snapshots", "show", snapshot.snapshot_id),
        ("snapshots", "orphans"),
        ("snapshots", "import", snapshot.snapshot_id, "--as", "shop/s"),
    ):
        inventory.run(*arguments)
    assert inventory.world.final_codes.state() == before


def test_an_option_can_be_given_in_the_environment_but_not_the_confirmation_of_a_change(
    inventory: InventoryWorld,
) -> None:
    volume = inventory.world.driver.create("pvc-lost")
    before = inventory.name_of(volume.volume_id)
    document = inventory.ok("volumes", "list", env={"POWERFLEX_CSI_VOLUMES_LIST_OUTPUT": "json"})
    assert document.startswith("{")
    confirmed = {"POWERFLEX_CSI_VOLUMES_RELEASE_YES": "1"}
    assert inventory.run("volumes", "release", volume.volume_id, env=confirmed).exit_code == 2
    assert inventory.name_of(volume.volume_id) == before


def test_a_list_needs_as_many_requests_for_many_volumes_as_for_one(inventory: InventoryWorld) -> None:
    log = inventory.world.simulator.gateway.log

    def routes() -> list[str]:
        with log.watching() as seen:
            inventory.ok("volumes", "list")
        return [entry.route for entry in seen]

    volume = inventory.provisioned("data-0")
    inventory.world.driver.publish(volume, inventory.world.node("a"))
    of_one = routes()
    for number in range(1, 4):
        volume = inventory.provisioned(f"data-{number}")
        inventory.world.driver.publish(volume, inventory.world.node("b"))
        inventory.taken(f"of-{number}", volume.volume_id)
    assert routes() == of_one
    assert of_one.count("Volume.list") == 1
    assert len(of_one) <= 8, of_one
