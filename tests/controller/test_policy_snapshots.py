"""The commands about snapshots that policies of the array have taken: list, show, import and unlock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from csi_powerflex.gateway.array import GatewayArray
from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.model import Volume
from tests.controller.inventory_world import InventoryWorld
from tests.controller.policies import (
    act_on_policy,
    auto_snapshots,
    handle_of,
    lock,
    make_policy,
    pass_hours,
)
from tests.controller.world import World
from tests.kube.api_server import ApiServer

AS_COPY = ("--as", "shop/copy")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ApiServer]:
    with ApiServer(tmp_path) as server:
        yield server


@pytest.fixture
def inventory(world: World, cluster: ApiServer) -> InventoryWorld:
    """A claim whose volume is in a policy, on each generation of the array."""
    return prepared(InventoryWorld(world, cluster))


@pytest.fixture
def inventory45(array45: World, cluster: ApiServer) -> InventoryWorld:
    return prepared(InventoryWorld(array45, cluster))


def prepared(inventory: InventoryWorld) -> InventoryWorld:
    make_policy(inventory.world)
    inventory.provisioned("data", parameters={"snapshotPolicy": "hourly"})
    pass_hours(inventory.world)
    return inventory


def newest(inventory: InventoryWorld) -> tuple[Volume, str]:
    """The newest auto snapshot, and its handle."""
    snapshot = auto_snapshots(inventory.world)[-1]
    return snapshot, handle_of(inventory.world, snapshot)


# --- list and show -------------------------------------------------------------------------------


def test_the_list_has_the_policy_the_claim_and_what_becomes_of_the_snapshot(
    inventory: InventoryWorld,
) -> None:
    first, handle = newest(inventory)
    pass_hours(inventory.world)
    lock(inventory.world, first)
    table = inventory.ok("snapshots", "list")
    assert "POLICY" in table
    assert "shop/data" in table
    assert "(auto)" in table
    assert "(locked)" in table
    found = {item["handle"]: item for item in inventory.document("snapshots", "list")["snapshots"]}
    assert found[handle]["snapshotPolicy"]["name"] == "hourly"
    assert [item["lockedByPolicy"] for item in found.values()].count(True) == 1
    assert found[handle]["owner"] == "snapshot policy"
    assert found[handle]["sourceClaim"] == {"namespace": "shop", "name": "data"}


def test_a_list_without_policies_is_as_before(array45: World, cluster: ApiServer) -> None:
    inventory = InventoryWorld(array45, cluster)
    volume = inventory.provisioned("data")
    inventory.taken("data-1", volume.volume_id)
    with array45.simulator.gateway.log.watching() as requests:
        assert "POLICY" not in inventory.ok("snapshots", "list")
    assert not [entry for entry in requests if "SnapshotPolicy" in entry.path]
    assert inventory.document("snapshots", "list")["snapshots"][0]["snapshotPolicy"] is None


def test_policy_snapshots_of_other_volumes_are_in_the_list_of_all(inventory45: InventoryWorld) -> None:
    world = inventory45.world
    policy_id = make_policy(world, "daily")
    foreign = inventory45.foreign("payroll").partition("-")[2]
    act_on_policy(world, policy_id, "addSourceVolumeToSnapshotPolicy", sourceVolumeId=foreign)
    pass_hours(world)
    assert len(auto_snapshots(world)) == 3
    assert len(inventory45.document("snapshots", "list")["snapshots"]) == 2
    assert len(inventory45.document("snapshots", "list", "--all")["snapshots"]) == 3


def test_policy_snapshots_are_no_orphans(inventory: InventoryWorld) -> None:
    snapshot, _ = newest(inventory)
    assert inventory.document("snapshots", "orphans", "--older-than", "0")["snapshots"] == []
    name = inventory.world.driver.snapshot(handle_of_claim(inventory)).snapshot_id
    named = inventory.name_of(name)
    inventory.world.driver.delete_snapshot(name)
    inventory.rename(handle_of(inventory.world, snapshot), named)
    assert inventory.document("snapshots", "orphans", "--older-than", "0")["snapshots"] == []


def handle_of_claim(inventory: InventoryWorld) -> str:
    (source,) = [item for item in inventory.world.array.volumes.values() if item.policy_of_source]
    return handle_of(inventory.world, source)


def test_show_tells_the_schedule(inventory: InventoryWorld) -> None:
    snapshot, handle = newest(inventory)
    text = inventory.ok("snapshots", "show", handle)
    assert "hourly, every 60 minutes, keeps 3; removed when it expires" in " ".join(text.split())
    lock(inventory.world, snapshot)
    assert "locked, so it is kept" in " ".join(inventory.ok("snapshots", "show", handle).split())
    assert "hourly, every 60 minutes, keeps 3" in inventory.ok("volumes", "show", "shop/data")
    assert inventory.document("volumes", "show", "shop/data")["snapshotPolicy"]["name"] == "hourly"


def test_where_policies_cannot_be_listed_their_ids_are_shown(inventory45: InventoryWorld) -> None:
    snapshot, handle = newest(inventory45)
    inventory45.world.simulator.gateway.inject(
        Fault(kind=FaultKind.ERROR, status=403, code=168, path="/api/types/SnapshotPolicy/*")
    )
    assert f"{snapshot.policy_of_snapshot}; removed" in inventory45.ok("snapshots", "show", handle)


# --- import --------------------------------------------------------------------------------------


def test_an_import_without_yes_changes_nothing_and_says_why(inventory: InventoryWorld) -> None:
    snapshot, handle = newest(inventory)
    message = inventory.refused("snapshots", "import", handle, *AS_COPY)
    assert "has taken it, and removes it when it expires. Give --yes to lock it" in message
    assert not snapshot.locked


def test_an_imported_snapshot_is_locked_and_does_not_expire(inventory: InventoryWorld) -> None:
    snapshot, handle = newest(inventory)
    text = inventory.ok("snapshots", "import", handle, *AS_COPY, "--yes")
    assert text.startswith(f"# snapshot {handle}, in pool pd1/sp1; it was locked, so snapshot policy hourly")
    content, wanted = yaml.safe_load_all(text)
    assert content["spec"]["source"] == {"snapshotHandle": handle}
    assert content["spec"]["deletionPolicy"] == "Retain"
    assert wanted["metadata"] == {"namespace": "shop", "name": "copy"}
    pass_hours(inventory.world, 6)
    assert inventory.world.array.volumes[snapshot.id].locked
    again = inventory.ok("snapshots", "import", handle, *AS_COPY)
    assert "it was locked" not in again
    inventory.world.driver.restore("pvc-2", handle)


def test_the_driver_may_not_delete_an_imported_one(inventory45: InventoryWorld) -> None:
    snapshot, handle = newest(inventory45)
    more = (*AS_COPY, "--yes", "--deletion-policy", "Delete")
    assert "the driver may not delete it" in inventory45.refused("snapshots", "import", handle, *more)
    assert not snapshot.locked


def test_an_ordinary_snapshot_is_imported_without_a_lock(array45: World, cluster: ApiServer) -> None:
    inventory = InventoryWorld(array45, cluster)
    volume = inventory.provisioned("data")
    handle = array45.driver.snapshot(volume.volume_id).snapshot_id
    with array45.simulator.gateway.log.watching() as requests:
        inventory.ok("snapshots", "import", handle, *AS_COPY, "--yes")
    assert not [entry for entry in requests if "lock" in entry.path]


@pytest.mark.parametrize("kind", [FaultKind.LOST_REPLY, FaultKind.RESET])
def test_an_import_whose_lock_got_no_answer_looks_again(inventory45: InventoryWorld, kind: FaultKind) -> None:
    snapshot, handle = newest(inventory45)
    gateway = inventory45.world.simulator.gateway
    gateway.inject(Fault(kind=kind, route="Volume.lockAutoSnapshot", times=1))
    inventory45.ok("snapshots", "import", handle, *AS_COPY, "--yes")
    assert inventory45.world.array.volumes[snapshot.id].locked


def test_a_lock_that_the_array_refuses_is_an_error(inventory45: InventoryWorld) -> None:
    _, handle = newest(inventory45)
    gateway = inventory45.world.simulator.gateway
    gateway.inject(Fault(kind=FaultKind.ERROR, status=403, code=168, route="Volume.lockAutoSnapshot"))
    assert "system" in inventory45.refused("snapshots", "import", handle, *AS_COPY, "--yes")


@pytest.mark.parametrize("late", [False, True])
def test_a_snapshot_that_expires_before_its_lock_is_not_imported(
    inventory45: InventoryWorld, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    snapshot, handle = newest(inventory45)
    lock_it = GatewayArray.lock_auto_snapshot

    def expired(array: GatewayArray, number: str) -> None:
        if late:
            lock_it(array, number)
        inventory45.world.array.volumes[snapshot.id].locked = False
        array.remove_volume(number)
        if not late:
            lock_it(array, number)

    monkeypatch.setattr(GatewayArray, "lock_auto_snapshot", expired)
    message = inventory45.refused("snapshots", "import", handle, *AS_COPY, "--yes")
    assert "does not exist any more: its snapshot policy or someone has removed it" in message


@pytest.mark.parametrize(("action", "method"), [("import", "lock"), ("unlock", "unlock")])
def test_a_lock_that_the_array_does_not_show_is_an_error(
    inventory45: InventoryWorld, monkeypatch: pytest.MonkeyPatch, action: str, method: str
) -> None:
    snapshot, handle = newest(inventory45)
    if action == "unlock":
        lock(inventory45.world, snapshot)
    monkeypatch.setattr(GatewayArray, f"{method}_auto_snapshot", lambda _array, _number: None)
    more = AS_COPY if action == "import" else ()
    message = inventory45.refused("snapshots", action, handle, *more, "--yes")
    assert "the array does not show that the lock of" in message


# --- unlock --------------------------------------------------------------------------------------


def test_an_unlocked_snapshot_is_its_policys_again(inventory: InventoryWorld) -> None:
    snapshot, handle = newest(inventory)
    inventory.ok("snapshots", "import", handle, *AS_COPY, "--yes")
    assert "would be unlocked" in inventory.ok("snapshots", "unlock", handle)
    assert snapshot.locked
    assert "was unlocked. The policy removes it" in inventory.ok("snapshots", "unlock", handle, "--yes")
    assert not inventory.world.array.volumes[snapshot.id].locked
    assert "is not locked." in inventory.ok("snapshots", "unlock", handle, "--yes")


def test_a_snapshot_that_kubernetes_has_is_not_unlocked(inventory45: InventoryWorld) -> None:
    snapshot, handle = newest(inventory45)
    lock(inventory45.world, snapshot)
    inventory45.content("content-1", handle, snapshot="copy")
    message = inventory45.refused("snapshots", "unlock", handle, "--yes")
    assert "VolumeSnapshotContent content-1 of driver csi.powerflex.dev has it" in message
    message = inventory45.refused("snapshots", "unlock", handle, "--yes", kubernetes=False)
    assert "it is not known whether Kubernetes has it" in message
    inventory45.ok("snapshots", "unlock", handle, "--yes", "--no-kubernetes", kubernetes=False)


def test_the_environment_of_the_controller_does_not_leave_out_the_check_of_an_unlock(
    inventory45: InventoryWorld,
) -> None:
    snapshot, handle = newest(inventory45)
    lock(inventory45.world, snapshot)
    inventory45.content("content-1", handle, snapshot="copy")
    env = {"POWERFLEX_CSI_CONTROLLER_KUBERNETES": "false"}
    message = inventory45.refused("snapshots", "unlock", handle, "--yes", kubernetes=False, env=env)
    assert "it is not known whether Kubernetes has it" in message
    assert inventory45.world.volume(handle).locked


def test_a_snapshot_that_a_persistent_volume_has_is_not_unlocked(inventory45: InventoryWorld) -> None:
    snapshot, handle = newest(inventory45)
    lock(inventory45.world, snapshot)
    inventory45.persistent_volume("pv-1", handle)
    message = inventory45.refused("snapshots", "unlock", handle, "--yes")
    assert "PersistentVolume pv-1 of driver csi.powerflex.dev has it" in message
    assert inventory45.world.volume(handle).locked


def test_a_snapshot_of_a_policy_is_not_imported_as_a_volume(array45: World, cluster: ApiServer) -> None:
    inventory = InventoryWorld(array45, cluster)
    make_policy(array45, snapshotAccessMode="ReadWrite")
    inventory.provisioned("data", parameters={"snapshotPolicy": "hourly"})
    pass_hours(array45)
    _, handle = newest(inventory)
    message = inventory.refused("volumes", "import", handle, "--clone", "--claim", "shop/copy", "--block")
    assert "it is a snapshot; import it with csi-powerflex snapshots import" in message


def test_a_snapshot_of_no_policy_is_not_unlocked(inventory45: InventoryWorld) -> None:
    handle = inventory45.world.driver.snapshot(handle_of_claim(inventory45)).snapshot_id
    message = inventory45.refused("snapshots", "unlock", handle)
    assert "cannot be unlocked: no snapshot policy has taken it" in message


def test_a_refused_unlock_is_an_error_and_one_without_an_answer_is_looked_at(
    inventory45: InventoryWorld,
) -> None:
    snapshot, handle = newest(inventory45)
    lock(inventory45.world, snapshot)
    gateway = inventory45.world.simulator.gateway
    fault = Fault(kind=FaultKind.ERROR, status=403, code=168, route="Volume.unlockAutoSnapshot", times=1)
    gateway.inject(fault)
    inventory45.refused("snapshots", "unlock", handle, "--yes")
    gateway.inject(Fault(kind=FaultKind.LOST_REPLY, route="Volume.unlockAutoSnapshot", times=1))
    inventory45.ok("snapshots", "unlock", handle, "--yes")


def test_an_expired_snapshot_may_go_when_it_is_unlocked(
    inventory45: InventoryWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot, handle = newest(inventory45)
    lock(inventory45.world, snapshot)
    unlock_it = GatewayArray.unlock_auto_snapshot

    def removed_at_once(array: GatewayArray, number: str) -> None:
        unlock_it(array, number)
        array.remove_volume(number)

    monkeypatch.setattr(GatewayArray, "unlock_auto_snapshot", removed_at_once)
    assert "was unlocked" in inventory45.ok("snapshots", "unlock", handle, "--yes")
    assert not auto_snapshots(inventory45.world)
