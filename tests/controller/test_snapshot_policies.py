"""Snapshot policies of the array: putting volumes into them, taking them out, and deleting them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from csi_powerflex import names
from csi_powerflex.config.systems.schema import TrashSettings
from csi_powerflex.gateway.array import GatewayArray
from csi_powerflex.gateway.fleet import GatewayFleet
from csi_powerflex.kube_objects.reader import CONTENTS, VOLUMES
from csi_powerflex.model.trash import UnknownNeeds
from csi_powerflex.operations.controller.trash_sweep import TrashSweep
from csi_powerflex.pb import csi_pb2
from csi_powerflex.qos_store.kubernetes import CLASSES
from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, PoolPlan
from csi_powerflex.simulator.inprocess import Client
from csi_powerflex.simulator.settings import Settings
from csi_powerflex.simulator.simulator import SystemPlan
from tests.controller.api_server import DRIVER, released
from tests.controller.changed_answers import changed_answers
from tests.controller.cluster_world import NodesCluster, connect
from tests.controller.conftest import MakeWorld
from tests.controller.driver import outcome, refused
from tests.controller.eventually import eventually
from tests.controller.policies import (
    act_on_policy,
    auto_snapshots,
    client,
    handle_of,
    lock,
    make_policy,
    pass_hours,
    policy_of,
)
from tests.controller.world import World

INVALID = grpc.StatusCode.INVALID_ARGUMENT
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
HOURLY = {"snapshotPolicy": "hourly"}
BOTH = {**HOURLY, "deletePolicySnapshots": "true"}


def sent(world: World, call: Callable[[], object]) -> list[str]:
    """The routes of the requests that a call makes."""
    with world.simulator.gateway.log.watching() as requests:
        call()
    return [entry.route for entry in requests]


# --- creating ------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_id", [False, True])
def test_a_new_volume_is_put_into_the_policy_of_its_class(world: World, by_id: bool) -> None:
    policy_id = make_policy(world)
    named = policy_id if by_id else "hourly"
    volume = world.driver.create(parameters={"snapshotPolicy": named})
    assert policy_of(world, volume.volume_id) == "hourly"
    assert volume.volume_context["snapshotPolicy"] == named


def test_the_policy_takes_snapshots_of_it(world: World) -> None:
    make_policy(world)
    world.driver.create(parameters=HOURLY)
    pass_hours(world, 2)
    assert len(auto_snapshots(world)) == 2


def test_each_generation_has_its_own_action(world: World) -> None:
    make_policy(world)
    routes = sent(world, lambda: world.driver.create(parameters=HOURLY))
    new = world.array.dialect.second_generation
    assert routes[-1].endswith("assignSnapshotPolicy" if new else "addSourceVolumeToSnapshotPolicy")
    volume_id = world.driver.create(parameters=HOURLY).volume_id
    routes = sent(world, lambda: world.driver.modify(volume_id, snapshotPolicy="none"))
    assert routes[-1].endswith("unassignSnapshotPolicy" if new else "removeSourceVolumeFromSnapshotPolicy")


def test_clones_and_restored_volumes_are_put_into_the_policy(world: World) -> None:
    make_policy(world)
    source = world.driver.create().volume_id
    snapshot = world.driver.snapshot(source).snapshot_id
    clone = world.driver.clone("pvc-2", source, parameters=HOURLY)
    restored = world.driver.restore("pvc-3", snapshot, gib=16, parameters=HOURLY)
    assert policy_of(world, clone.volume_id) == policy_of(world, restored.volume_id) == "hourly"
    assert policy_of(world, source) is None


def test_a_restored_policy_snapshot_is_a_volume_of_its_own(world: World) -> None:
    make_policy(world)
    world.driver.create(parameters=HOURLY)
    pass_hours(world)
    (snapshot,) = auto_snapshots(world)
    restored = world.driver.restore("pvc-2", handle_of(world, snapshot))
    assert policy_of(world, restored.volume_id) is None
    pass_hours(world, 4)
    world.driver.get(restored.volume_id)


def test_the_attributes_class_of_a_new_claim_counts_before_its_storage_class(array45: World) -> None:
    make_policy(array45)
    make_policy(array45, "daily")
    volume = array45.driver.create(parameters=HOURLY, mutable_parameters={"snapshotPolicy": "daily"})
    assert policy_of(array45, volume.volume_id) == "daily"
    without = array45.driver.create("pvc-2", parameters=HOURLY, mutable_parameters={"snapshotPolicy": "none"})
    assert policy_of(array45, without.volume_id) is None


@pytest.mark.parametrize("copied", [False, True])
def test_an_unknown_policy_is_refused_before_anything_is_created(world: World, copied: bool) -> None:
    source = world.driver.create("pvc-source").volume_id
    before = len(world.array.volumes)

    def create() -> object:
        if copied:
            return world.driver.clone("pvc-1", source, parameters=HOURLY)
        return world.driver.create(parameters=HOURLY)

    assert "has no snapshot policy 'hourly'; it has: none. Correct snapshotPolicy" in refused(INVALID, create)
    make_policy(world, "daily")
    assert "it has: daily." in refused(INVALID, create)
    assert len(world.array.volumes) == before


def test_many_policies_are_not_all_named(array45: World) -> None:
    for number in range(23):
        make_policy(array45, f"policy-{number:02}")
    text = refused(INVALID, lambda: array45.driver.create(parameters=HOURLY))
    assert "policy-00, policy-01" in text
    assert "policy-19 and 3 more." in text


def test_a_paused_policy_is_refused_before_anything_is_created(world: World) -> None:
    make_policy(world, paused="true")
    text = refused(PRECONDITION, lambda: world.driver.create(parameters=HOURLY))
    assert "is paused, so it takes no snapshots; resume it at the array" in text
    assert not world.array.volumes


def test_an_empty_policy_is_refused(array45: World) -> None:
    text = refused(INVALID, lambda: array45.driver.create(parameters={"snapshotPolicy": ""}))
    assert "snapshotPolicy='': must not be empty" in text


def test_a_repeated_call_finds_the_volume_although_the_policy_was_paused_or_renamed(world: World) -> None:
    policy_id = make_policy(world)
    first = world.driver.create(parameters=HOURLY)
    act_on_policy(world, policy_id, "pauseSnapshotPolicy")
    assert world.driver.create(parameters=HOURLY).volume_id == first.volume_id
    act_on_policy(world, policy_id, "renameSnapshotPolicy", newName="other")
    assert world.restart().create(parameters=HOURLY).volume_id == first.volume_id


def test_no_error_is_final_after_the_volume_was_created(array45: World) -> None:
    policy_id = make_policy(array45)
    gateway = array45.simulator.gateway
    gateway.inject(Fault(kind=FaultKind.ERROR, code=67, route="*SnapshotPolicy.addSource*", times=1))
    text = refused(UNAVAILABLE, lambda: array45.driver.create(parameters=HOURLY))
    assert "was created, and then: PowerFlex system array0 refuses to put volume" in text
    act_on_policy(array45, policy_id, "pauseSnapshotPolicy")
    text = refused(UNAVAILABLE, lambda: array45.driver.create(parameters=HOURLY))
    assert "was created by an earlier call and is in no snapshot policy: snapshot policy hourly" in text
    act_on_policy(array45, policy_id, "resumeSnapshotPolicy")
    assert policy_of(array45, array45.driver.create(parameters=HOURLY).volume_id) == "hourly"
    assert len(array45.array.volumes) == 1


def test_a_system_that_does_not_list_its_policies_is_asked_again(array45: World) -> None:
    make_policy(array45)
    gateway = array45.simulator.gateway
    gateway.inject(Fault(kind=FaultKind.ERROR, code=28, path="/api/types/SnapshotPolicy/*", times=1))
    refused(grpc.StatusCode.ABORTED, lambda: array45.driver.create(parameters=HOURLY))
    assert not array45.array.volumes
    array45.driver.create(parameters=HOURLY)


def test_a_repeated_creation_does_not_undo_a_later_change(array45: World) -> None:
    make_policy(array45)
    make_policy(array45, "daily")
    volume = array45.driver.create(parameters=HOURLY)
    array45.driver.modify(volume.volume_id, snapshotPolicy="daily")
    array45.driver.create(parameters=HOURLY)
    assert policy_of(array45, volume.volume_id) == "daily"


def test_of_several_systems_the_one_with_the_policy_is_used(pair: World) -> None:
    second = pair.simulator.gateways[1]
    wanted = {
        "name": "hourly",
        "autoSnapshotCreationCadenceInMin": "60",
        "numOfRetainedSnapshotsPerLevel": ["3"],
    }
    Client(second).post("/api/types/SnapshotPolicy/instances", wanted)
    topologies = [
        csi_pb2.Topology(segments={f"csi.powerflex.dev/{gateway.array.system.id}": "true"})
        for gateway in pair.simulator.gateways
    ]
    requirement = csi_pb2.TopologyRequirement(requisite=topologies, preferred=topologies)
    volume = pair.driver.create(parameters=HOURLY, accessibility_requirements=requirement)
    assert volume.volume_id.startswith(second.array.system.id)
    text = refused(
        INVALID,
        lambda: pair.driver.create(
            "pvc-2", parameters={"snapshotPolicy": "daily"}, accessibility_requirements=requirement
        ),
    )
    assert "has no snapshot policy 'daily'" in text


# --- modifying -----------------------------------------------------------------------------------


def test_a_class_puts_a_volume_into_a_policy_and_another_one_into_another(world: World) -> None:
    make_policy(world)
    make_policy(world, "daily")
    volume_id = world.driver.create().volume_id
    for name in ("hourly", "daily", "daily"):
        world.driver.modify(volume_id, snapshotPolicy=name)
        assert policy_of(world, volume_id) == name


def test_a_class_without_the_key_changes_nothing(array45: World) -> None:
    make_policy(array45)
    volume_id = array45.driver.create(parameters=HOURLY).volume_id
    array45.driver.modify(volume_id, iopsLimit="500")
    assert policy_of(array45, volume_id) == "hourly"


@pytest.mark.parametrize("word", ["none", "None"])
def test_none_takes_a_volume_out_of_its_policy(array45: World, word: str) -> None:
    make_policy(array45)
    volume_id = array45.driver.create(parameters=HOURLY).volume_id
    array45.driver.modify(volume_id, snapshotPolicy=word)
    array45.driver.modify(volume_id, snapshotPolicy=word)
    assert policy_of(array45, volume_id) is None


def test_the_snapshots_of_a_policy_stay_when_the_volume_leaves_it(world: World) -> None:
    make_policy(world)
    volume_id = world.driver.create(parameters=HOURLY).volume_id
    pass_hours(world, 2)
    world.driver.modify(volume_id, snapshotPolicy="none")
    pass_hours(world, 6)
    assert (len(world.array.volumes), auto_snapshots(world)) == (3, [])


def test_nothing_is_changed_if_the_policy_cannot_be_had(array45: World) -> None:
    make_policy(array45)
    make_policy(array45, "idle", paused="true")
    volume_id = array45.driver.create(parameters=HOURLY).volume_id
    refused(INVALID, lambda: array45.driver.modify(volume_id, snapshotPolicy="weekly", iopsLimit="500"))
    refused(PRECONDITION, lambda: array45.driver.modify(volume_id, snapshotPolicy="idle", iopsLimit="500"))
    assert policy_of(array45, volume_id) == "hourly"
    array45.driver.publish(volume_id, array45.node("a"))
    assert array45.volume(volume_id).mappings[0].limit_iops == 0


def test_a_policy_that_takes_no_further_volume_is_a_final_error_before_a_change(array45: World) -> None:
    make_policy(array45)
    make_policy(array45, "daily")
    volume_id = array45.driver.create().volume_id
    fault = Fault(kind=FaultKind.ERROR, code=67, route="*SnapshotPolicy.addSource*", times=1)
    array45.simulator.gateway.inject(fault)
    text = refused(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        lambda: array45.driver.modify(volume_id, snapshotPolicy="hourly"),
    )
    assert f"refuses to put volume {volume_id} into snapshot policy" in text
    array45.driver.modify(volume_id, snapshotPolicy="hourly")
    array45.simulator.gateway.inject(fault)
    text = refused(UNAVAILABLE, lambda: array45.driver.modify(volume_id, snapshotPolicy="daily"))
    assert "has left snapshot policy" in text
    array45.driver.modify(volume_id, snapshotPolicy="daily")
    assert policy_of(array45, volume_id) == "daily"


def test_a_policy_that_is_removed_meanwhile_does_not_count_as_a_missing_volume(array45: World) -> None:
    make_policy(array45)
    volume_id = array45.driver.create().volume_id
    fault = Fault(kind=FaultKind.ERROR, code=3, route="*SnapshotPolicy.addSource*", times=1)
    array45.simulator.gateway.inject(fault)
    refused(UNAVAILABLE, lambda: array45.driver.modify(volume_id, snapshotPolicy="hourly"))


def test_a_call_gives_up_while_others_change_the_policy_too(
    array45: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    policies = [make_policy(array45, f"p{number}") for number in range(2)]
    make_policy(array45)
    volume_id = array45.driver.create(parameters={"snapshotPolicy": "p0"}).volume_id
    turns = iter([1, 0] * 4)

    def changed_by_another(self: GatewayArray, number: str, policy_id: str) -> None:
        array = array45.array
        with array.lock:
            array.change(array45.volume(volume_id), policy_of_source=policies[next(turns)])
            array.commit()
        raise_refusal(self, number, policy_id)

    raise_refusal = GatewayArray.leave_policy
    monkeypatch.setattr(GatewayArray, "leave_policy", changed_by_another)
    text = refused(UNAVAILABLE, lambda: array45.driver.modify(volume_id, snapshotPolicy="hourly"))
    assert "other calls change the snapshot policy of volume" in text


def test_a_change_that_another_controller_has_made_meanwhile_is_no_error(
    array45: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_policy(array45)
    daily = make_policy(array45, "daily")
    volume_id = array45.driver.create(parameters=HOURLY).volume_id
    leave = GatewayArray.leave_policy

    def after_another(self: GatewayArray, number: str, policy_id: str) -> None:
        array = array45.array
        with array.lock:
            array.change(array45.volume(volume_id), policy_of_source=daily)
            array.commit()
        leave(self, number, policy_id)

    monkeypatch.setattr(GatewayArray, "leave_policy", after_another)
    array45.driver.modify(volume_id, snapshotPolicy="daily")
    assert policy_of(array45, volume_id) == "daily"


# --- moving --------------------------------------------------------------------------------------


def test_writable_policy_snapshots_move_along_with_their_volume(make_world: MakeWorld) -> None:
    pools = (PoolPlan(), PoolPlan(name="sp2"))
    state = InitialState(domains=(DomainPlan(pools=pools),))
    world = make_world(SystemPlan(initial_state=state, settings=Settings(migration_kb_per_second=1024)))
    make_policy(world, snapshotAccessMode="ReadWrite")
    volume_id = world.driver.create(parameters=HOURLY).volume_id
    pass_hours(world)
    text = refused(
        grpc.StatusCode.ABORTED,
        lambda: world.driver.modify(volume_id, storagepool="sp2", snapshotPolicy="none"),
    )
    assert "is being moved" in text
    assert policy_of(world, volume_id) is None


# --- deleting ------------------------------------------------------------------------------------


def test_a_volume_whose_policy_has_no_snapshots_is_deleted(world: World) -> None:
    policy_id = make_policy(world)
    world.driver.delete(world.driver.create(parameters=HOURLY).volume_id)
    assert not world.array.volumes
    assert client(world).get(f"/api/instances/SnapshotPolicy::{policy_id}")["numOfSourceVolumes"] == 0


@pytest.mark.parametrize("restarted", [False, True])
def test_a_volume_with_policy_snapshots_is_not_deleted_and_the_answer_says_what_to_do(
    world: World, restarted: bool
) -> None:
    make_policy(world)
    volume_id = world.driver.create(parameters=HOURLY).volume_id
    pass_hours(world, 2)
    driver = world.restart() if restarted else world.driver
    text = refused(PRECONDITION, lambda: driver.delete(volume_id))
    assert "its snapshot policy hourly (id " in text
    assert "has taken 2 snapshots of it that nothing keeps. Lock those" in text
    assert "deletePolicySnapshots=true" in text
    assert len(world.array.volumes) == 3
    assert policy_of(world, volume_id) == "hourly"


def test_after_the_policy_has_let_go_the_volume_is_deleted(world: World) -> None:
    policy_id = make_policy(world)
    volume_id = world.driver.create(parameters=HOURLY).volume_id
    pass_hours(world)
    refused(PRECONDITION, lambda: world.driver.delete(volume_id))
    act_on_policy(
        world,
        policy_id,
        "removeSourceVolumeFromSnapshotPolicy",
        sourceVolumeId=volume_id.partition("-")[2],
        autoSnapshotRemovalAction="Remove",
    )
    world.driver.delete(volume_id)
    assert not world.array.volumes


def test_the_class_lets_the_snapshots_be_deleted_with_the_volume(world: World) -> None:
    make_policy(world)
    volume = world.driver.create(parameters=BOTH)
    other = world.driver.create("pvc-2", parameters=HOURLY)
    assert volume.volume_context["deletePolicySnapshots"] == "true"
    pass_hours(world, 2)
    world.driver.delete(volume.volume_id)
    assert {item.ancestor_id for item in auto_snapshots(world)} == {other.volume_id.partition("-")[2]}
    assert len(world.array.volumes) == 3


def test_the_class_counts_also_for_a_policy_that_was_named_later(array45: World) -> None:
    make_policy(array45)
    volume_id = array45.driver.create(parameters={"deletePolicySnapshots": "true"}).volume_id
    array45.driver.modify(volume_id, snapshotPolicy="hourly")
    pass_hours(array45)
    array45.driver.delete(volume_id)
    assert not array45.array.volumes


def test_snapshots_that_someone_needs_outlive_the_volume(world: World) -> None:
    make_policy(world)
    volume_id = world.driver.create(parameters=BOTH).volume_id
    own = world.driver.snapshot(volume_id)
    pass_hours(world, 3)
    locked, mapped, free = auto_snapshots(world)
    lock(world, locked)
    _map(world, mapped.id)
    world.driver.delete(volume_id)
    left = {own.snapshot_id.partition("-")[2], locked.id, mapped.id}
    assert world.array.volumes.keys() == left
    assert free.id not in left
    pass_hours(world, 9)
    assert world.array.volumes.keys() == left


def test_locked_snapshots_alone_do_not_hinder_the_deletion(world: World) -> None:
    make_policy(world)
    volume_id = world.driver.create(parameters=HOURLY).volume_id
    pass_hours(world)
    (snapshot,) = auto_snapshots(world)
    lock(world, snapshot)
    world.driver.delete(volume_id)
    assert list(world.array.volumes) == [snapshot.id]


def test_secure_snapshots_are_never_deleted(world: World) -> None:
    make_policy(world, secureSnapshots="true")
    volume_id = world.driver.create(parameters=BOTH).volume_id
    pass_hours(world)
    (snapshot,) = auto_snapshots(world)
    world.driver.delete(volume_id)
    assert list(world.array.volumes) == [snapshot.id]


def _map(world: World, number: str) -> None:
    """Map a snapshot as an administrator does it. The array maps none of PowerFlex 5, so its state is set."""
    volume = world.driver.create("pvc-mapped")
    world.driver.publish(volume, world.node("a"))
    array = world.array
    with array.lock:
        mappings = list(world.volume(volume.volume_id).mappings)
        array.change(array.volumes[number], mappings=mappings)
        array.commit()
    world.driver.unpublish(volume.volume_id, world.node("a"))
    world.driver.delete(volume.volume_id)


def test_a_mapped_volume_keeps_its_policy_and_snapshots(world: World) -> None:
    make_policy(world)
    volume = world.driver.create(parameters=BOTH)
    world.driver.publish(volume, world.node("a"))
    pass_hours(world)
    text = refused(PRECONDITION, lambda: world.driver.delete(volume.volume_id))
    assert "is mapped to" in text
    assert policy_of(world, volume.volume_id) == "hourly"
    assert len(auto_snapshots(world)) == 1


def test_a_snapshot_that_is_locked_while_it_is_to_be_removed_stays(array45: World) -> None:
    make_policy(array45)
    volume_id = array45.driver.create(parameters=BOTH).volume_id
    pass_hours(array45)
    (snapshot,) = auto_snapshots(array45)
    with changed_answers(array45) as change:
        unlocked = {"lockedAutoSnapshot": False}
        change("VTree.Volume", lambda items: [{**item, **unlocked} for item in items])
        lock(array45, snapshot)
        array45.driver.delete(volume_id)
    assert list(array45.array.volumes) == [snapshot.id]


def test_a_snapshot_that_expires_while_it_is_to_be_removed_is_no_error(array45: World) -> None:
    make_policy(array45)
    volume_id = array45.driver.create(parameters=BOTH).volume_id
    pass_hours(array45)
    (snapshot,) = auto_snapshots(array45)
    number = f"b1f00000{snapshot.id[8:]}"
    with changed_answers(array45) as change:
        change("VTree.Volume", lambda items: [*items, {**_of(items, snapshot.id), "id": number}])
        array45.driver.delete(volume_id)
    assert not array45.array.volumes


def _of(items: list[dict[str, Any]], number: str) -> dict[str, Any]:
    return next(item for item in items if item["id"] == number)


@pytest.mark.parametrize("effect", [False, True])
def test_a_removal_that_fails_is_looked_at_again(array45: World, effect: bool) -> None:
    make_policy(array45)
    volume_id = array45.driver.create(parameters=BOTH).volume_id
    pass_hours(array45)
    gateway = array45.simulator.gateway
    gateway.inject(
        Fault(
            kind=FaultKind.ERROR,
            status=500,
            code=28,
            route="Volume.removeVolume",
            times=1,
            after_effect=effect,
        )
    )
    if not effect:
        refused(grpc.StatusCode.ABORTED, lambda: array45.driver.delete(volume_id))
        assert len(array45.array.volumes) == 2
    array45.driver.delete(volume_id)
    assert not array45.array.volumes


def test_a_missing_tree_is_no_missing_volume(array45: World) -> None:
    make_policy(array45)
    volume_id = array45.driver.create(parameters=BOTH).volume_id
    gateway = array45.simulator.gateway
    gateway.inject(Fault(kind=FaultKind.ERROR, code=3, route="VTree.Volume", times=1))
    assert "was not found" in refused(UNAVAILABLE, lambda: array45.driver.delete(volume_id))
    array45.driver.delete(volume_id)
    assert not array45.array.volumes


def test_a_policy_of_an_administrator_is_seen_when_the_array_refuses_the_removal(array45: World) -> None:
    policy_id = make_policy(array45)
    volume_id = array45.driver.create().volume_id
    number = volume_id.partition("-")[2]
    act_on_policy(array45, policy_id, "addSourceVolumeToSnapshotPolicy", sourceVolumeId=number)
    gateway = array45.simulator.gateway
    gateway.inject(Fault(kind=FaultKind.ERROR, code=0, route="Volume.removeVolume", times=1))
    refused(UNAVAILABLE, lambda: array45.driver.delete(volume_id))
    routes = sent(array45, lambda: array45.driver.delete(volume_id))
    assert "SnapshotPolicy.removeSourceVolumeFromSnapshotPolicy" in routes
    assert not array45.array.volumes


def test_a_policy_of_another_controller_is_seen(array45: World) -> None:
    """One controller has created the volume, another one has put it into the policy."""
    array45.more["state_file"] = array45.folder / "state.db"
    array45.restart()
    make_policy(array45)
    volume_id = array45.driver.create(parameters={"deletePolicySnapshots": "true"}).volume_id
    array45.another().modify(volume_id, snapshotPolicy="hourly")
    pass_hours(array45)
    array45.driver.delete(volume_id)
    assert not array45.array.volumes


def test_a_deletion_that_fails_after_the_volume_has_left_its_policy_is_repeated(array45: World) -> None:
    make_policy(array45)
    volume = array45.driver.create(parameters=BOTH)
    gateway = array45.simulator.gateway
    gateway.inject(Fault(kind=FaultKind.ERROR, code=104, route="Volume.removeVolume", times=1))
    text = refused(UNAVAILABLE, lambda: array45.driver.delete(volume.volume_id))
    assert "has left its snapshot policy, and then:" in text
    array45.driver.delete(volume.volume_id)
    assert not array45.array.volumes


def test_policy_snapshots_are_not_the_drivers_to_delete(world: World) -> None:
    make_policy(world)
    world.driver.create(parameters=HOURLY)
    pass_hours(world)
    (snapshot,) = auto_snapshots(world)
    handle = handle_of(world, snapshot)
    assert "did not create it" in refused(PRECONDITION, lambda: world.driver.delete_snapshot(handle))
    with world.array.lock:
        world.array.change(snapshot, name="csivol-1")
        world.array.commit()
    world.reconfigured(adopt_snapshots=("csivol-",))
    refused(PRECONDITION, lambda: world.driver.delete_snapshot(handle))
    assert auto_snapshots(world)


def test_lists_of_snapshots_have_a_policys_snapshot_only_if_they_are_asked_for_it(world: World) -> None:
    make_policy(world)
    volume_id = world.driver.create(parameters=HOURLY).volume_id
    pass_hours(world)
    (snapshot,) = auto_snapshots(world)
    handle = handle_of(world, snapshot)

    def listed(snapshot_id: str = "", source_volume_id: str = "") -> list[str]:
        request = csi_pb2.ListSnapshotsRequest(snapshot_id=snapshot_id, source_volume_id=source_volume_id)
        answer = world.driver.controller.ListSnapshots(request, timeout=30)
        return [entry.snapshot.snapshot_id for entry in answer.entries]

    assert listed() == listed(source_volume_id=volume_id) == []
    assert listed(snapshot_id=handle) == [handle]
    request = csi_pb2.GetSnapshotRequest(snapshot_id=handle)
    found = world.driver.controller.GetSnapshot(request, timeout=30).snapshot
    assert (found.source_volume_id, found.ready_to_use) == (volume_id, True)


# --- the trash -----------------------------------------------------------------------------------


def test_with_a_trash_the_snapshots_go_at_once_and_the_volume_stays(world: World) -> None:
    world.reconfigured(trash=TrashSettings())
    make_policy(world)
    kept = world.driver.create("pvc-1", parameters=HOURLY).volume_id
    volume_id = world.driver.create("pvc-2", parameters=BOTH).volume_id
    pass_hours(world)
    refused(PRECONDITION, lambda: world.driver.delete(kept))
    world.driver.delete(volume_id)
    assert names.trashed(world.volume(volume_id).name) is not None
    assert policy_of(world, volume_id) is None
    assert len(auto_snapshots(world)) == 1
    pass_hours(world)
    assert len(auto_snapshots(world)) == 2


def sweep(world: World) -> None:
    """A round of the sweep of a further controller, in two days."""
    seconds = 2 * 86400
    with (
        contextlib.closing(GatewayFleet(world.systems, retry_seconds=0.001)) as fleet,
        world.in_future(seconds),
    ):
        TrashSweep(fleet, "test", UnknownNeeds(), now=lambda: time.time() + seconds).step()


def test_the_sweep_takes_a_volume_out_of_a_policy_before_it_removes_it(array45: World) -> None:
    array45.reconfigured(trash=TrashSettings())
    policy_id = make_policy(array45)
    numbers = []
    for name in ("pvc-1", "pvc-2"):
        volume_id = array45.driver.create(name).volume_id
        array45.driver.delete(volume_id)
        numbers.append(volume_id.partition("-")[2])
        act_on_policy(array45, policy_id, "addSourceVolumeToSnapshotPolicy", sourceVolumeId=numbers[-1])
    fault = Fault(kind=FaultKind.ERROR, code=28, route="SnapshotPolicy.removeSource*", times=1)
    array45.simulator.gateway.inject(fault)
    routes = sent(array45, lambda: sweep(array45))
    assert routes.count("SnapshotPolicy.removeSourceVolumeFromSnapshotPolicy") == 2
    assert not array45.array.volumes.keys() & set(numbers)


# --- Kubernetes ----------------------------------------------------------------------------------


@pytest.fixture
def cluster(array45: World, tmp_path: Path) -> Iterator[NodesCluster]:
    """The cluster that the controller of ``array45`` follows."""
    with NodesCluster(tmp_path) as cluster:
        connect(array45, cluster, tmp_path, remove_stale=False)
        yield cluster


def put_volume(
    world: World, cluster: NodesCluster, handle: str, class_name: str = "", **attributes: str
) -> None:
    """A PersistentVolume that the controller has seen: its hold shows that."""
    spec = {"csi": {"driver": DRIVER, "volumeHandle": handle, "volumeAttributes": attributes}}
    if class_name:
        spec["volumeAttributesClassName"] = class_name  # type: ignore[assignment]  # of other types
    metadata = {"annotations": {f"{DRIVER}/hold": "test"}}
    cluster.put(VOLUMES, f"pv-{handle}", {"metadata": metadata, **released(spec)})

    def is_held() -> bool:
        if outcome(lambda: world.driver.publish(handle, world.node("a"))) is PRECONDITION:
            return True
        world.driver.unpublish(handle, world.node("a"))
        return False

    eventually(is_held)


def let_classes_be_seen(cluster: NodesCluster) -> None:
    """Wait until the controller has seen the last change of the VolumeAttributesClasses."""
    version = cluster.bookmark(CLASSES)

    def seen() -> bool:
        cluster.end_watches()
        return version in cluster.watched_from(CLASSES)

    eventually(seen)


def content(cluster: NodesCluster, handle: str) -> None:
    """A VolumeSnapshotContent that an administrator has made by hand."""
    spec = {"driver": DRIVER, "source": {"snapshotHandle": handle}}
    cluster.put(CONTENTS, "content-1", {"spec": spec})


def test_in_kubernetes_the_persistent_volume_says_what_becomes_of_the_snapshots(
    array45: World, cluster: NodesCluster
) -> None:
    make_policy(array45)
    for name, attributes in (("pvc-1", HOURLY), ("pvc-2", BOTH)):
        volume = array45.driver.create(name, parameters=attributes)
        put_volume(array45, cluster, volume.volume_id, **volume.volume_context)
        pass_hours(array45)
    first, second = [item for item in array45.array.volumes.values() if item.policy_of_source]
    refused(PRECONDITION, lambda: array45.driver.delete(handle_of(array45, first)))
    array45.driver.delete(handle_of(array45, second))
    assert len(auto_snapshots(array45)) == 2


def test_a_snapshot_that_kubernetes_has_is_not_deleted(array45: World, cluster: NodesCluster) -> None:
    make_policy(array45)
    volume = array45.driver.create(parameters=BOTH)
    put_volume(array45, cluster, volume.volume_id, **volume.volume_context)
    pass_hours(array45, 2)
    _, needed = auto_snapshots(array45)
    content(cluster, handle_of(array45, needed))
    array45.driver.delete(volume.volume_id)
    assert list(array45.array.volumes) == [needed.id]


def test_a_snapshot_that_a_persistent_volume_has_is_not_deleted(
    array45: World, cluster: NodesCluster
) -> None:
    make_policy(array45)
    volume = array45.driver.create(parameters=BOTH)
    put_volume(array45, cluster, volume.volume_id, **volume.volume_context)
    pass_hours(array45, 2)
    _, needed = auto_snapshots(array45)
    source = {"driver": "other.example.org", "volumeHandle": handle_of(array45, needed)}
    cluster.put(VOLUMES, "pv-of-snapshot", {"spec": {"csi": source}})
    array45.driver.delete(volume.volume_id)
    assert list(array45.array.volumes) == [needed.id]


@pytest.mark.parametrize("last", [{}, BOTH])
def test_of_two_persistent_volumes_both_must_want_that_snapshots_are_deleted(
    array45: World, cluster: NodesCluster, last: dict[str, str]
) -> None:
    make_policy(array45)
    handle = array45.driver.create(parameters=BOTH).volume_id
    first = {} if last else BOTH
    source = {"driver": DRIVER, "volumeHandle": handle, "volumeAttributes": first}
    cluster.put(VOLUMES, "pv-first", released({"csi": source}))
    put_volume(array45, cluster, handle, **last)
    pass_hours(array45)
    refused(PRECONDITION, lambda: array45.driver.delete(handle))
    assert len(auto_snapshots(array45)) == 1


@pytest.mark.parametrize("own", [True, False])
def test_a_snapshot_is_not_expanded_or_put_into_a_policy(world: World, own: bool) -> None:
    make_policy(world)
    volume = world.driver.create(parameters=HOURLY).volume_id
    if own:
        handle = world.driver.snapshot(volume, snapshotAccessMode="ReadWrite").snapshot_id
    else:
        pass_hours(world)
        handle = handle_of(world, auto_snapshots(world)[-1])
    before = dict(world.array.volumes)
    message = refused(INVALID, lambda: world.driver.modify(handle, snapshotPolicy="hourly"))
    assert "is a snapshot, and only volumes are moved or put into snapshot policies" in message
    refused(INVALID, lambda: world.driver.modify(handle, snapshotPolicy="none"))
    refused(INVALID, lambda: world.driver.expand(handle, gib=16))
    assert world.array.volumes == before


def test_without_an_answer_of_kubernetes_no_snapshot_is_deleted(
    array45: World, cluster: NodesCluster
) -> None:
    make_policy(array45)
    volume = array45.driver.create(parameters=BOTH)
    put_volume(array45, cluster, volume.volume_id, **volume.volume_context)
    pass_hours(array45)
    cluster.refused[CONTENTS] = 403
    text = refused(UNAVAILABLE, lambda: array45.driver.delete(volume.volume_id))
    assert "it is not known which snapshots Kubernetes has, so none was deleted" in text
    assert len(array45.array.volumes) == 2


@pytest.mark.parametrize(
    ("parameters", "seen"), [(HOURLY, True), ({"snapshotPolicy": "none"}, False), ({}, False)]
)
def test_a_volume_with_a_class_that_names_a_policy_is_read_before_its_deletion(
    array45: World, cluster: NodesCluster, parameters: dict[str, str], seen: bool
) -> None:
    """Another controller may have put it into the policy."""
    policy_id = make_policy(array45)
    volume_id = array45.driver.create().volume_id
    cluster.put_class("class-1", **parameters)
    put_volume(array45, cluster, volume_id, class_name="class-1")
    number = volume_id.partition("-")[2]
    act_on_policy(array45, policy_id, "addSourceVolumeToSnapshotPolicy", sourceVolumeId=number)
    let_classes_be_seen(cluster)
    routes = sent(array45, lambda: array45.driver.delete(volume_id))
    assert ("SnapshotPolicy.removeSourceVolumeFromSnapshotPolicy" in routes) is seen


# --- requests ------------------------------------------------------------------------------------


def cost(world: World, call: Callable[[], object]) -> int:
    return len(sent(world, call))


def test_creating_in_a_policy_costs_two_requests_more(world: World) -> None:
    make_policy(world)
    world.driver.create("pvc-warm")
    without = cost(world, lambda: world.driver.create("pvc-1"))
    assert cost(world, lambda: world.driver.create("pvc-2", parameters=HOURLY)) == without + 2
    again = cost(world, lambda: world.driver.create("pvc-1"))
    assert cost(world, lambda: world.driver.create("pvc-2", parameters=HOURLY)) == again + 1
    source = world.driver.create("pvc-3").volume_id
    without = cost(world, lambda: world.driver.clone("pvc-4", source))
    assert cost(world, lambda: world.driver.clone("pvc-5", source, parameters=HOURLY)) == without + 2


def test_modifying_costs_one_request_for_each_step(world: World) -> None:
    make_policy(world)
    daily = make_policy(world, "daily")
    volume_id = world.driver.create().volume_id

    def modified(policy: str) -> int:
        return cost(world, lambda: world.driver.modify(volume_id, snapshotPolicy=policy))

    assert modified("hourly") == 3  # the volume, the policies, in
    assert modified("hourly") == 2
    assert modified("daily") == 4  # also out of the former one
    assert modified(daily) == 1
    assert modified("none") == 2
    assert modified("none") == 1


def test_deleting_costs_four_requests_and_one_for_each_snapshot(world: World) -> None:
    make_policy(world)
    first = world.driver.create("pvc-1", parameters=BOTH).volume_id
    assert cost(world, lambda: world.driver.delete(first)) == 4  # the volume, its tree, out, removed
    second = world.driver.create("pvc-2", parameters=BOTH).volume_id
    pass_hours(world, 2)
    world.driver.create("pvc-warm")
    assert cost(world, lambda: world.driver.delete(second)) == 6
    assert cost(world, lambda: world.driver.delete(second)) == 1
