"""Moving a volume to another pool by ControllerModifyVolume, while nodes use it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import grpc
import pytest
from prometheus_client import REGISTRY

from csi_powerflex.config.systems.schema import ZoneSettings
from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, PoolPlan
from csi_powerflex.simulator.inprocess import Client
from csi_powerflex.simulator.settings import Settings
from csi_powerflex.simulator.simulator import SystemPlan
from tests.controller.api_server import Cluster
from tests.controller.changed_answers import changed_answers
from tests.controller.conftest import MakeWorld
from tests.controller.driver import GIB, outcome, refused
from tests.controller.eventually import eventually
from tests.controller.moving import ABORTED, move, moved, pass_time, pool_of, sent, several_pools, sp1
from tests.controller.world import World

OK = grpc.StatusCode.OK
INVALID = grpc.StatusCode.INVALID_ARGUMENT
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
FULL = grpc.StatusCode.RESOURCE_EXHAUSTED


# --- moving ----------------------------------------------------------------------------------------------


def test_the_call_is_aborted_until_the_array_has_moved_the_volume(moving: World) -> None:
    volume = moving.driver.create()
    text = refused(ABORTED, lambda: move(moving, volume, "sp2"))
    assert "is being moved from pool pd1/sp1 to pool pd1/sp2" in text
    assert pool_of(moving, volume) == "sp1"
    pass_time(moving)
    move(moving, volume, "sp2")
    assert pool_of(moving, volume) == "sp2"


def test_a_repeated_call_begins_one_move_only(moving: World) -> None:
    volume = moving.driver.create()

    def repeated() -> None:
        for _ in range(3):
            refused(ABORTED, lambda: move(moving, volume, "sp2"))
        moving.restart()
        refused(ABORTED, lambda: move(moving, volume, "sp2"))
        refused(ABORTED, lambda: moving.another().modify(volume.volume_id, storagepool="sp2"))

    assert sent(moving, repeated).count("migrateVTree") == 1


def test_a_finished_move_is_not_begun_again(moving: World) -> None:
    volume = moving.driver.create()
    moved(moving, volume, "sp2")
    assert sent(moving, lambda: move(moving, volume, "sp2")) == []


def test_the_former_class_moves_the_volume_back(moving: World) -> None:
    volume = moving.driver.create()
    moved(moving, volume, "sp2")
    moved(moving, volume, "sp1")


def test_the_former_class_sends_a_volume_back_that_is_still_moving(moving: World) -> None:
    volume = moving.driver.create()
    refused(ABORTED, lambda: move(moving, volume, "sp2"))
    back = sent(moving, lambda: outcome(lambda: move(moving, volume, "sp1")))
    assert back == ["pauseVTreeMigration", "migrateVTree"]
    assert sent(moving, lambda: outcome(lambda: move(moving, volume, "sp1"))) == []
    pass_time(moving)
    move(moving, volume, "sp1")
    assert pool_of(moving, volume) == "sp1"


def test_the_other_class_waits_until_a_volume_that_is_sent_back_has_arrived(moving: World) -> None:
    volume = moving.driver.create()
    refused(ABORTED, lambda: move(moving, volume, "sp2"))
    back = {"sourceStoragePoolId": sp1(moving), "destinationStoragePoolId": sp1(moving)}
    with changed_answers(moving) as change_answer:
        change_answer(
            "VTree.get",
            lambda tree: tree | {"vtreeMigrationInfo": tree["vtreeMigrationInfo"] | back},
        )
        for pool in ("sp1", "sp2"):
            text = refused(ABORTED, lambda pool=pool: move(moving, volume, pool))  # type: ignore[misc]  # bound
            assert "is being moved from pool pd1/sp1 to pool pd1/sp1" in text


def test_a_third_pool_waits_for_the_end_of_the_running_move(moving: World) -> None:
    volume = moving.driver.create()
    refused(ABORTED, lambda: move(moving, volume, "sp2"))
    text = refused(ABORTED, lambda: move(moving, volume, "sp3"))
    assert "is being moved from pool pd1/sp1 to pool pd1/sp2" in text
    assert "until it is in pool pd1/sp3" in text
    pass_time(moving)
    moved(moving, volume, "sp3")


def test_nodes_keep_the_volume_while_it_moves_and_afterwards(moving: World) -> None:
    volume = moving.driver.create(parameters={"iopsLimit": "500"})
    moving.driver.publish(volume, moving.node("a"))
    before = moving.volume(volume.volume_id).mappings[:]
    refused(ABORTED, lambda: move(moving, volume, "sp2"))
    listed = moving.driver.get(volume.volume_id)
    assert list(listed.status.published_node_ids) == [moving.node("a")]
    assert listed.volume.capacity_bytes == 8 * GIB
    pass_time(moving)
    move(moving, volume, "sp2")
    assert moving.driver.get(volume.volume_id) == listed
    assert moving.volume(volume.volume_id).mappings == before
    moving.driver.unpublish(volume.volume_id, moving.node("a"))
    moving.driver.publish(volume, moving.node("b"))
    assert moving.volume(volume.volume_id).mappings[0].limit_iops == 500


def test_limits_of_the_class_apply_at_once_and_the_move_does_not_change_them(moving: World) -> None:
    volume = moving.driver.create()
    moving.driver.publish(volume, moving.node("a"))
    refused(ABORTED, lambda: move(moving, volume, "sp2", iopsLimit="700"))
    assert moving.volume(volume.volume_id).mappings[0].limit_iops == 700
    pass_time(moving)
    move(moving, volume, "sp2", iopsLimit="700")
    assert moving.volume(volume.volume_id).mappings[0].limit_iops == 700


def test_a_class_without_a_pool_does_not_move_or_send_back(moving: World) -> None:
    volume = moving.driver.create()
    refused(ABORTED, lambda: move(moving, volume, "sp2"))
    assert sent(moving, lambda: moving.driver.modify(volume.volume_id, iopsLimit="700")) == []
    refused(ABORTED, lambda: moving.driver.modify(volume.volume_id, provisioning="thin"))
    pass_time(moving)
    moving.driver.modify(volume.volume_id, provisioning="thin")
    assert pool_of(moving, volume) == "sp2"


def test_the_capacity_of_both_pools_follows(moving: World) -> None:
    def available(pool: str) -> int:
        request = csi_pb2.GetCapacityRequest(parameters={"storagepool": pool})
        return moving.driver.controller.GetCapacity(request, timeout=30).available_capacity

    volume = moving.driver.create(gib=80)
    full, empty = available("sp1"), available("sp2")
    refused(ABORTED, lambda: move(moving, volume, "sp2"))
    pass_time(moving)
    moving.restart()
    assert (available("sp1"), available("sp2")) == (empty, full)


# --- requests --------------------------------------------------------------------------------------------


def cost(world: World, call: Callable[[], object]) -> int:
    """How many requests the call makes."""
    log = world.simulator.gateway.log
    since = log.last
    call()
    return len(log.find(since=since))


def test_the_number_of_requests_of_each_step_of_a_move(moving: World) -> None:
    volume = moving.driver.create()
    # The volume, its tree, the members and the data of the tree, the pool, the move, and how far it is.
    assert cost(moving, lambda: refused(ABORTED, lambda: move(moving, volume, "sp2"))) == 8
    # The volume, its tree, and how far it is.
    assert cost(moving, lambda: refused(ABORTED, lambda: move(moving, volume, "sp2"))) == 3
    pass_time(moving, 20)  # Not so long that the token expires.
    assert cost(moving, lambda: move(moving, volume, "sp2")) == 2
    refused(ABORTED, lambda: move(moving, volume, "sp1"))
    # The volume and its tree, and two actions, after each of which the tree is read.
    assert cost(moving, lambda: outcome(lambda: move(moving, volume, "sp2"))) <= 7
    # Limits alone cost no more than before there were moves.
    assert cost(moving, lambda: moving.driver.modify(volume.volume_id, iopsLimit="500")) == 1


def test_a_refusal_because_of_the_pools_costs_two_requests(moving: World) -> None:
    volume = moving.driver.create()
    assert cost(moving, lambda: refused(INVALID, lambda: move(moving, volume, "unpadded"))) == 2


# --- how far it is ---------------------------------------------------------------------------------------


def test_the_message_says_how_far_the_move_is(moving: World) -> None:
    volume = moving.driver.create()
    with changed_answers(moving) as change_answer:
        figures = {"netCapacityInUseInKb": 128 * 2**20, "vtreeMigrationProgress": 25}
        change_answer("VTree.Statistics", lambda answer: answer | figures)
        text = refused(ABORTED, lambda: move(moving, volume, "sp2"))
    assert "is being moved from pool pd1/sp1 to pool pd1/sp2: 25 % of 128 GiB are moved" in text


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"migrationStatus": "PendingMigration", "migrationQueuePosition": 3}, "waits at position 3 in the"),
        (
            {"migrationStatus": "PendingRebalance", "migrationQueuePosition": None},
            "waits for its turn in the array's queue",
        ),
        ({"migrationStatus": "GracefullyPausing"}, "and the array pauses this"),
        ({"migrationStatus": "SomethingNew"}, "is being moved from pool pd1/sp1"),
        (
            {"migrationStatus": "Paused", "migrationPauseReason": "NoSpaceInDestinationStoragePool"},
            "(NoSpaceInDestinationStoragePool): free capacity in that pool",
        ),
        ({"migrationStatus": "Paused", "migrationPauseReason": "UserInitiated"}, "resume it there"),
        ({"migrationStatus": "Paused", "migrationPauseReason": "Unheard"}, "(Unheard): look at the array's"),
        ({"migrationStatus": "Paused", "migrationPauseReason": None}, "(no reason given)"),
        (
            {"migrationStatus": "NotInMigration", "migrationPauseReason": "MigrationError"},
            "(MigrationError): look at the array's alerts",
        ),
        ({"migrationStatus": "Paused", "destinationStoragePoolId": "f" * 16}, f"to pool {'f' * 16}"),
    ],
)
def test_the_message_says_what_the_array_does_with_the_move(
    moving: World, info: dict[str, object], expected: str
) -> None:
    volume = moving.driver.create()
    refused(ABORTED, lambda: move(moving, volume, "sp2"))
    with changed_answers(moving) as change_answer:
        change_answer(
            "VTree.get",
            lambda tree: tree | {"vtreeMigrationInfo": tree["vtreeMigrationInfo"] | info},
        )
        text = refused(ABORTED, lambda: move(moving, volume, "sp2"))
    assert expected in text


def test_a_move_that_the_array_is_still_pausing_is_sent_back_by_the_repeated_call(moving: World) -> None:
    volume = moving.driver.create()
    refused(ABORTED, lambda: move(moving, volume, "sp2"))

    def pausing(tree: dict[str, Any]) -> dict[str, Any]:
        if tree["vtreeMigrationInfo"]["migrationStatus"] == "Paused":
            tree["vtreeMigrationInfo"]["migrationStatus"] = "GracefullyPausing"
        return tree

    with changed_answers(moving) as change_answer:
        change_answer("VTree.get", pausing)
        assert "the array pauses this" in refused(ABORTED, lambda: move(moving, volume, "sp1"))
        assert sent(moving, lambda: refused(ABORTED, lambda: move(moving, volume, "sp1"))) == []
    assert sent(moving, lambda: outcome(lambda: move(moving, volume, "sp1"))) == ["migrateVTree"]


def test_a_tree_without_information_about_moves_stays_in_its_pool(moving: World) -> None:
    volume = moving.driver.create()
    with changed_answers(moving) as change_answer:
        change_answer("VTree.get", lambda tree: tree | {"vtreeMigrationInfo": None})
        move(moving, volume, "sp1")
        text = refused(ABORTED, lambda: move(moving, volume, "sp2"))
    assert "is in pool pd1/sp1 and not yet in pool pd1/sp2" in text


def test_metrics_show_running_moves_until_they_end(moving: World) -> None:
    def running(state: str) -> float | None:
        labels = {"system": "array0", "state": state}
        return REGISTRY.get_sample_value("csi_powerflex_moves_running", labels)

    def left() -> float | None:
        return REGISTRY.get_sample_value("csi_powerflex_moves_left_bytes", {"system": "array0"})

    def ended(result: str) -> float:
        labels = {"system": "array0", "result": result}
        return REGISTRY.get_sample_value("csi_powerflex_moves_total", labels) or 0

    before = {result: ended(result) for result in ("begun", "finished", "returned")}
    volume = moving.driver.create()
    with changed_answers(moving) as change_answer:
        figures = {"netCapacityInUseInKb": 128 * 2**20, "vtreeMigrationProgress": 25}
        change_answer("VTree.Statistics", lambda answer: answer | figures)
        refused(ABORTED, lambda: move(moving, volume, "sp2"))
    assert (running("moving"), running("paused"), left()) == (1, 0, 96 * GIB)
    pass_time(moving)
    move(moving, volume, "sp2")
    assert (running("moving"), left()) == (0, 0)
    refused(ABORTED, lambda: move(moving, volume, "sp3"))
    outcome(lambda: move(moving, volume, "sp2"))
    pass_time(moving)
    move(moving, volume, "sp2")
    assert {result: ended(result) - before[result] for result in before} == {
        "begun": 2,
        "finished": 2,
        "returned": 1,
    }


# --- other calls at the same time ------------------------------------------------------------------------


def test_a_move_that_another_call_has_begun_since_the_look_is_waited_for(moving: World) -> None:
    volume = moving.driver.create()
    looks: list[str] = []

    def late(tree: dict[str, Any]) -> dict[str, Any]:
        """The first look does not show the move yet."""
        looks.append(tree["id"])
        return tree if len(looks) > 1 else tree | {"vtreeMigrationInfo": None}

    refused(ABORTED, lambda: move(moving, volume, "sp2"))
    with changed_answers(moving) as change_answer:
        change_answer("VTree.get", late)
        assert "is being moved" in refused(ABORTED, lambda: move(moving, volume, "sp2"))


def test_a_move_that_another_call_lets_go_on_is_not_sent_back(moving: World) -> None:
    volume = moving.driver.create()
    refused(ABORTED, lambda: move(moving, volume, "sp2"))
    paused = {"migrationStatus": "Paused", "migrationPauseReason": "UserInitiated"}
    with changed_answers(moving) as change_answer:
        change_answer(
            "VTree.get",
            lambda tree: tree | {"vtreeMigrationInfo": tree["vtreeMigrationInfo"] | paused},
        )
        refused(ABORTED, lambda: move(moving, volume, "sp1"))
    moved(moving, volume, "sp2")


def test_a_move_that_the_array_finishes_at_once_is_answered_at_once(make_world: MakeWorld) -> None:
    world = make_world(several_pools(settings=Settings(migration_kb_per_second=2**60)))
    volume = world.driver.create()
    move(world, volume, "sp2")
    assert pool_of(world, volume) == "sp2"


def test_a_pool_whose_capacity_the_array_does_not_report_is_asked_again(moving: World) -> None:
    volume = moving.driver.create()
    with changed_answers(moving) as change_answer:
        change_answer("StoragePool.Statistics", lambda _: {})
        text = refused(grpc.StatusCode.UNAVAILABLE, lambda: move(moving, volume, "sp2"))
    assert "reports no capacity for pool pd1/sp2 now" in text
    refused(ABORTED, lambda: move(moving, volume, "sp2"))


# --- which pool ------------------------------------------------------------------------------------------


def test_a_pool_without_domain_is_looked_for_in_the_domain_of_the_volume_first(moving: World) -> None:
    near = moving.driver.create("pvc-1")
    far = moving.driver.create("pvc-2", parameters={"protectiondomain": "pd2", "storagepool": "far"})
    for volume in (near, far):
        refused(ABORTED, lambda volume=volume: move(moving, volume, "sp2"))  # type: ignore[misc]  # bound
    pass_time(moving)
    for volume in (near, far):
        move(moving, volume, "sp2")
    domains = [moving.array.pools[moving.volume(each.volume_id).pool_id].domain_id for each in (near, far)]
    assert [moving.array.domains[domain].name for domain in domains] == ["pd1", "pd2"]
    assert [pool_of(moving, each) for each in (near, far)] == ["sp2", "sp2"]


def test_a_pool_whose_name_only_another_protection_domain_has_is_found(moving: World) -> None:
    volume = moving.driver.create()
    moved(moving, volume, "far")
    refused(ABORTED, lambda: move(moving, volume, sp1(moving)))
    pass_time(moving)
    move(moving, volume, sp1(moving))
    assert pool_of(moving, volume) == "sp1"


def test_a_pool_that_is_newer_than_the_last_look_is_found(moving: World) -> None:
    volume = moving.driver.create()
    pool = next(each for each in moving.array.pools.values() if each.name == "far")
    Client(moving.simulator.gateway).act("StoragePool", pool.id, "setStoragePoolName", name="farther")
    moved(moving, volume, "farther")


def test_a_name_that_several_other_protection_domains_have_needs_a_domain(make_world: MakeWorld) -> None:
    domains = (DomainPlan(), *(DomainPlan(name=name, pools=(PoolPlan(name="x"),)) for name in ("pd2", "pd3")))
    world = make_world(
        SystemPlan(initial_state=InitialState(domains=domains)), protection_domain=None, storage_pool=None
    )
    volume = world.driver.create(parameters={"storagepool": "sp1"})
    assert "pd2/x, pd3/x" in refused(INVALID, lambda: move(world, volume, "x"))


def test_a_class_can_name_the_pool_of_another_protection_domain(moving: World) -> None:
    volume = moving.driver.create()
    moved(moving, volume, "far", protectiondomain="pd2")


def test_a_pool_that_does_not_exist_is_refused(moving: World) -> None:
    volume = moving.driver.create()
    text = refused(INVALID, lambda: move(moving, volume, "sp9", iopsLimit="700"))
    assert "has no storage pool 'sp9'" in text


def test_a_domain_without_a_pool_is_refused(moving: World) -> None:
    volume = moving.driver.create()
    text = refused(INVALID, lambda: moving.driver.modify(volume.volume_id, protectiondomain="pd2"))
    assert "needs storagepool" in text


# --- what is refused -------------------------------------------------------------------------------------


def test_powerflex_5_refuses_in_words_and_points_to_a_copy(make_world: MakeWorld) -> None:
    world = make_world(several_pools("5.0"))
    volume = world.driver.create()
    world.driver.publish(volume, world.node("a"))
    log = world.simulator.gateway.log
    since = log.last
    text = refused(INVALID, lambda: move(world, volume, "sp2", iopsLimit="700"))
    assert "erasure-coded (PowerFlex 5)" in text
    assert "create a claim with the StorageClass of the other pool" in text
    assert [entry.method for entry in log.find(since=since)] == ["GET"]
    move(world, volume, "sp1", provisioning="thin")
    refused(INVALID, lambda: move(world, volume, "sp1", provisioning="compressed"))


@pytest.mark.parametrize(
    ("source", "target", "problem"),
    [
        ("sp1", "unpadded", "one of them has zero padding"),
        ("unpadded", "sp1", "one of them has zero padding"),
        ("unpadded", "fine", "fine granularity and takes only volumes of pools with zero padding"),
        ("fine", "unpadded", "has no zero padding, so the volume could show data of deleted volumes"),
    ],
)
def test_pools_whose_padding_does_not_fit_are_refused(
    moving: World, source: str, target: str, problem: str
) -> None:
    volume = moving.driver.create(parameters={"storagepool": source, "allowUnpaddedPool": "true"})
    moving.driver.publish(volume, moving.node("a"))
    calls = sent(moving, lambda: refused(INVALID, lambda: move(moving, volume, target, iopsLimit="700")))
    assert calls == []
    assert problem in refused(INVALID, lambda: move(moving, volume, target))


@pytest.mark.parametrize(
    ("source", "target"),
    [("sp1", "fine"), ("fine", "sp1"), ("fine", "fine2"), ("unpadded", "unpadded2")],
)
def test_pools_whose_padding_fits_are_accepted(moving: World, source: str, target: str) -> None:
    volume = moving.driver.create(parameters={"storagepool": source, "allowUnpaddedPool": "true"})
    moved(moving, volume, target)


@pytest.mark.parametrize("size", [32, 160])
def test_a_pool_without_free_capacity_is_refused_with_the_figures(moving: World, size: int) -> None:
    volume = moving.driver.create(gib=size)
    text = refused(FULL, lambda: move(moving, volume, "small"))
    assert f"its tree has {size} GiB as thin, and pool pd1/small takes at most" in text


def test_a_volume_that_the_array_replicates_is_refused(moving: World) -> None:
    volume = moving.driver.create()
    marked = {"volumeReplicationState": "MarkedForReplication"}
    with changed_answers(moving) as change_answer:
        change_answer("VTree.Volume", lambda answer: [each | marked for each in answer])
        text = refused(PRECONDITION, lambda: move(moving, volume, "sp2"))
    assert f"the array replicates {volume.volume_id}" in text


def test_a_pool_with_less_free_capacity_than_the_data_of_the_tree_is_refused(moving: World) -> None:
    volume = moving.driver.create()
    with changed_answers(moving) as change_answer:
        change_answer("VTree.Statistics", lambda answer: answer | {"netCapacityInUseInKb": 2**40})
        text = refused(FULL, lambda: move(moving, volume, "sp2"))
    assert "its tree has 1024 TiB of data, and pool pd1/sp2 has" in text


def test_a_pool_of_another_zone_is_refused(make_world: MakeWorld) -> None:
    zones = (
        ZoneSettings(name="z1", protection_domain="pd1", storage_pools=("sp1", "sp3")),
        ZoneSettings(name="z2", protection_domain="pd1", storage_pools=("sp2",)),
    )
    world = make_world(several_pools(), zones=zones, protection_domain=None, storage_pool=None)
    volume = world.driver.create(parameters={"storagepool": "sp1"})
    text = refused(INVALID, lambda: move(world, volume, "sp2"))
    assert "pool pd1/sp1 is in zone z1" in text
    assert "not yet" not in text
    refused(INVALID, lambda: move(world, volume, "far", protectiondomain="pd2"))
    moved(world, volume, "sp3")


# --- the whole tree --------------------------------------------------------------------------------------


def test_snapshots_of_the_volume_move_along(moving: World) -> None:
    volume = moving.driver.create()
    snapshot = moving.driver.snapshot(volume.volume_id)
    member = moving.driver.group_snapshot("group-1", volume.volume_id).snapshots[0]
    moved(moving, volume, "sp2")
    assert [pool_of(moving, each.snapshot_id) for each in (snapshot, member)] == ["sp2", "sp2"]


def test_a_clone_is_named_and_moves_along_only_if_the_class_allows_it(moving: World) -> None:
    volume = moving.driver.create()
    clone = moving.driver.clone("pvc-2", volume.volume_id)
    for each, other in ((volume, clone), (clone, volume)):
        text = refused(PRECONDITION, lambda each=each: move(moving, each, "sp2"))  # type: ignore[misc]  # bound
        assert "these members are not its own snapshots" in text
        assert other.volume_id in text
        assert "migrateTree=true" in text
    moved(moving, clone, "sp2", migrateTree="true")
    assert pool_of(moving, volume) == "sp2"


def test_a_message_names_five_members_of_a_tree_and_counts_the_rest(moving: World) -> None:
    volume = moving.driver.create()
    for number in range(7):
        moving.driver.clone(f"pvc-clone-{number}", volume.volume_id)
    text = refused(PRECONDITION, lambda: move(moving, volume, "sp2"))
    assert text.count("(on the array") == 6
    assert "and 2 more" in text


def test_a_snapshot_of_a_deleted_clone_counts_as_one_of_another_claim(moving: World) -> None:
    volume = moving.driver.create()
    clone = moving.driver.clone("pvc-2", volume.volume_id)
    snapshot = moving.driver.snapshot(clone.volume_id)
    moving.driver.delete(clone.volume_id)
    assert snapshot.snapshot_id in refused(PRECONDITION, lambda: move(moving, volume, "sp2"))


@pytest.mark.parametrize(
    ("access", "mapped", "own"),
    [("ReadOnly", False, True), ("ReadOnly", True, False), ("ReadWrite", False, False)],
)
def test_a_snapshot_of_the_array_moves_along_unless_it_can_be_in_use(
    moving: World, access: str, mapped: bool, own: bool
) -> None:
    volume = moving.driver.create()
    client = Client(moving.simulator.gateway)
    definition = {"volumeId": volume.volume_id.partition("-")[2], "snapshotName": "policy-1"}
    made = client.act(
        "System", moving.array.system.id, "snapshotVolumes", snapshotDefs=[definition], accessModeLimit=access
    )
    if mapped:
        host = next(iter(moving.array.hosts.values()))
        client.act("Volume", made["volumeIdList"][0], "addMappedSdc", sdcId=host.id, accessMode="ReadOnly")
    if own:
        moved(moving, volume, "sp2")
    else:
        assert "policy-1" in refused(PRECONDITION, lambda: move(moving, volume, "sp2"))


# --- CreateVolume ----------------------------------------------------------------------------------------


def test_the_mutable_parameters_choose_the_pool_of_a_new_volume(moving: World) -> None:
    wanted = {"storagepool": "fine", "provisioning": "compressed", "iopsLimit": "500"}
    volume = moving.driver.create(parameters={"storagepool": "sp1"}, mutable_parameters=wanted)
    assert pool_of(moving, volume) == "fine"
    assert moving.volume(volume.volume_id).compression == "Normal"
    assert moving.driver.create(parameters={"storagepool": "sp1"}, mutable_parameters=wanted) == volume
    moving.driver.modify(volume.volume_id, **wanted)


def test_a_volume_that_was_moved_is_found_by_the_call_that_created_it(kept: World) -> None:
    parameters = {"storagepool": "sp1", "provisioning": "thick"}
    volume = kept.driver.create(parameters=parameters)
    refused(ABORTED, lambda: move(kept, volume, "fine", provisioning="thin"))
    assert kept.driver.create(parameters=parameters) == volume
    pass_time(kept)
    move(kept, volume, "fine")
    assert kept.driver.create(parameters=parameters) == volume
    assert kept.restart().create(parameters=parameters) == volume
    refused(ABORTED, lambda: move(kept, volume, "sp1"))
    pass_time(kept)
    move(kept, volume, "sp1")
    assert kept.driver.create(parameters=parameters) == volume
    assert len(kept.array.volumes) == 1


def test_a_volume_that_was_not_moved_does_not_fit_another_pool(kept: World) -> None:
    kept.driver.create(parameters={"storagepool": "sp1"})
    exists = grpc.StatusCode.ALREADY_EXISTS
    refused(exists, lambda: kept.driver.create(parameters={"storagepool": "sp2"}))
    refused(exists, lambda: kept.driver.create(parameters={"storagepool": "sp1", "provisioning": "thick"}))


def test_a_moved_volume_still_has_to_have_the_requested_size(kept: World) -> None:
    volume = kept.driver.create()
    moved(kept, volume, "sp2")
    refused(grpc.StatusCode.ALREADY_EXISTS, lambda: kept.driver.create(gib=16))


def test_a_copy_that_was_moved_is_found_by_the_call_that_created_it(kept: World) -> None:
    volume = kept.driver.create()
    parameters = {"storagepool": "sp1"}
    clone = kept.driver.clone("pvc-2", volume.volume_id, parameters=parameters)
    moved(kept, clone, "sp2", migrateTree="true")
    assert kept.restart().clone("pvc-2", volume.volume_id, parameters=parameters) == clone
    kept.driver.delete(volume.volume_id)
    assert kept.driver.clone("pvc-2", volume.volume_id, parameters=parameters) == clone


def test_a_new_copy_of_a_moved_volume_needs_a_class_with_its_pool(kept: World) -> None:
    volume = kept.driver.create()
    moved(kept, volume, "sp2")
    parameters = {"storagepool": "sp1"}
    text = refused(INVALID, lambda: kept.driver.clone("pvc-2", volume.volume_id, parameters=parameters))
    assert "give the claim a VolumeAttributesClass with that storagepool" in text
    clone = kept.driver.clone(
        "pvc-2", volume.volume_id, parameters=parameters, mutable_parameters={"storagepool": "sp2"}
    )
    assert pool_of(kept, clone) == "sp2"


def test_a_deleted_volume_is_removed_from_the_state_file(kept: World) -> None:
    volume = kept.driver.create()
    moved(kept, volume, "sp2")
    kept.driver.delete(volume.volume_id)
    with closing(sqlite3.connect(kept.folder / "state.db")) as database:
        assert database.execute("SELECT count(*) FROM moved_volumes").fetchone() == (0,)


def test_in_kubernetes_a_volume_with_a_persistent_volume_may_have_been_moved(moving: World) -> None:
    with Cluster(moving.folder / "cluster") as cluster:
        kubeconfig = moving.folder / "kubeconfig"
        kubeconfig.write_text(json.dumps(cluster.kubeconfig()))
        moving.more |= {"in_kubernetes": True, "kubeconfig": kubeconfig}
        driver = moving.restart()
        volume = driver.create(parameters={"storagepool": "sp1"})
        refused(grpc.StatusCode.ALREADY_EXISTS, lambda: driver.create(parameters={"storagepool": "sp2"}))
        cluster.put_volume(volume.volume_id, "gold", **dict(volume.volume_context))
        moved(moving, volume, "sp2")
        moving.restart()
        eventually(lambda: outcome(lambda: moving.driver.create(parameters={"storagepool": "sp1"})) is OK)
        moving.more.clear()
        moving.restart()


# --- thin, thick and compressed --------------------------------------------------------------------------


def test_a_move_converts_between_thin_and_thick(moving: World) -> None:
    volume = moving.driver.create()
    moved(moving, volume, "sp2", provisioning="thick")
    assert moving.volume(volume.volume_id).type == "ThickProvisioned"
    moved(moving, volume, "sp3")
    assert moving.volume(volume.volume_id).type == "ThickProvisioned"
    moved(moving, volume, "sp1", provisioning="thin")
    assert moving.volume(volume.volume_id).type == "ThinProvisioned"


def test_a_conversion_in_the_same_pool_is_refused(moving: World) -> None:
    volume = moving.driver.create()
    text = refused(INVALID, lambda: moving.driver.modify(volume.volume_id, provisioning="thick"))
    assert "the array converts a volume only while it moves it" in text
    moving.driver.modify(volume.volume_id, provisioning="thin")


def test_a_pool_of_fine_granularity_takes_no_thick_volume_unless_it_may_become_thin(moving: World) -> None:
    volume = moving.driver.create(parameters={"provisioning": "thick"})
    assert "thin volumes only" in refused(INVALID, lambda: move(moving, volume, "fine"))
    moved(moving, volume, "fine", provisioning="thin")


def test_only_a_pool_of_fine_granularity_takes_compressed_volumes(moving: World) -> None:
    volume = moving.driver.create(parameters={"storagepool": "fine", "provisioning": "compressed"})
    assert "cannot compress single volumes" in refused(INVALID, lambda: move(moving, volume, "sp1"))
    moved(moving, volume, "sp1", provisioning="thin")


def test_a_copy_cannot_become_thick(moving: World) -> None:
    volume = moving.driver.create()
    clone = moving.driver.clone("pvc-2", volume.volume_id)
    for pool in ("sp1", "sp2"):
        text = refused(
            INVALID,
            lambda pool=pool: move(moving, clone, pool, provisioning="thick", migrateTree="true"),  # type: ignore[misc]  # bound
        )
        assert "copies are always thin" in text
