"""Moving a volume while other calls use, copy, grow, delete, hold or revert it, or its array changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from csi_powerflex.config.systems.schema import TrashSettings
from csi_powerflex.kube_objects.reader import VOLUMES
from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.inprocess import Client
from tests.controller.changed_answers import changed_answers
from tests.controller.cluster_world import NodesCluster, connect
from tests.controller.conftest import MakeWorld
from tests.controller.driver import GIB, Driver, outcome, refused
from tests.controller.eventually import eventually
from tests.controller.inventory_world import DRIVER, InventoryWorld
from tests.controller.moving import ABORTED, move, moved, pass_time, pool_of, sent, several_pools, sp1
from tests.controller.nvme import NODE, NQN, create_nvme_host, map_to, mapped_to, nvme_hosts
from tests.controller.world import World
from tests.kube.api_server import ApiServer

OK = grpc.StatusCode.OK
INVALID = grpc.StatusCode.INVALID_ARGUMENT
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
FULL = grpc.StatusCode.RESOURCE_EXHAUSTED
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


@pytest.fixture
def keeping(moving: World) -> World:
    """The same system with a trash."""
    return moving.reconfigured(trash=TrashSettings())


def begun(world: World, volume: csi_pb2.Volume, pool: str, **more: str) -> None:
    """Begin a move that takes its time."""
    refused(ABORTED, lambda: move(world, volume, pool, **more))


def act(world: World, volume: csi_pb2.Volume, action: str, **body: object) -> None:
    """What a user of the array does to the volume."""
    Client(world.simulator.gateway).act("Volume", volume.volume_id.partition("-")[2], action, **body)


# --- NVMe hosts ------------------------------------------------------------------------------------------


def test_a_volume_on_an_nvme_host_is_not_moved_to_another_protection_domain(moving: World) -> None:
    volume = moving.driver.create()
    moving.driver.publish(volume, NODE)
    calls = sent(
        moving,
        lambda: refused(
            PRECONDITION,
            lambda: move(moving, volume, "far", protectiondomain="pd2", iopsLimit="0", provisioning="thin"),
        ),
    )
    assert calls == []
    text = refused(PRECONDITION, lambda: move(moving, volume, "far", protectiondomain="pd2"))
    assert "cannot be moved from pool pd1/sp1 to pool pd2/far now" in text
    assert "an NVMe host, which reaches it by the SDTs of protection domain pd1" in text
    moving.driver.unpublish(volume.volume_id, NODE)
    moved(moving, volume, "far", protectiondomain="pd2")
    moving.driver.publish(volume, NODE)


def test_a_volume_on_an_nvme_host_is_moved_within_its_protection_domain(moving: World) -> None:
    volume = moving.driver.create()
    before = moving.driver.publish(volume, NODE)
    moved(moving, volume, "sp2")
    assert moving.driver.publish(volume, NODE) == before


def test_a_volume_on_an_sdc_is_moved_to_another_protection_domain(moving: World) -> None:
    volume = moving.driver.create()
    moving.driver.publish(volume, moving.node("a"))
    moved(moving, volume, "far", protectiondomain="pd2")
    assert len(moving.volume(volume.volume_id).mappings) == 1


def test_a_clone_on_an_nvme_host_keeps_its_tree_in_the_protection_domain(moving: World) -> None:
    volume = moving.driver.create()
    clone = moving.driver.clone("pvc-2", volume.volume_id)
    moving.driver.publish(clone, NODE)
    text = refused(
        PRECONDITION, lambda: move(moving, volume, "far", protectiondomain="pd2", migrateTree="true")
    )
    assert f"now: {clone.volume_id}" in text


def test_a_volume_on_its_way_to_another_protection_domain_is_not_published_over_nvme(moving: World) -> None:
    volume = moving.driver.create()
    begun(moving, volume, "far", protectiondomain="pd2")
    text = refused(PRECONDITION, lambda: moving.driver.publish(volume, NODE))
    assert "the array moves the volume to a pool in another protection domain" in text
    assert nvme_hosts(moving) == []
    moving.driver.publish(volume, f"{moving.node('a')},{NODE}")
    moving.driver.unpublish(volume.volume_id, moving.node("a"))
    pass_time(moving)
    context = moving.driver.publish(volume, NODE)
    assert context["transport"] == "nvme"


def test_a_volume_whose_next_pool_is_not_known_is_not_published_over_nvme(moving: World) -> None:
    volume = moving.driver.create()
    begun(moving, volume, "sp2")
    with changed_answers(moving) as change_answer:
        change_answer(
            "VTree.get",
            lambda tree: (
                tree | {"vtreeMigrationInfo": tree["vtreeMigrationInfo"] | {"destinationStoragePoolId": None}}
            ),
        )
        refused(PRECONDITION, lambda: moving.driver.publish(volume, NODE))


def test_a_volume_on_its_way_within_its_protection_domain_is_published_over_nvme(moving: World) -> None:
    volume = moving.driver.create()
    begun(moving, volume, "sp2")
    before = moving.driver.publish(volume, NODE)
    pass_time(moving)
    move(moving, volume, "sp2")
    assert moving.driver.publish(volume, NODE) == before


def test_a_volume_that_an_nvme_host_has_keeps_it_while_it_moves_away(moving: World) -> None:
    """Someone has mapped it since. The answer of the call that is repeated does not change."""
    volume = moving.driver.create()
    host = create_nvme_host(moving, nqn=NQN)
    begun(moving, volume, "far", protectiondomain="pd2")
    map_to(moving, volume, host)
    assert moving.driver.publish(volume, NODE)["transport"] == "nvme"
    assert mapped_to(moving, volume) == ["n1"]


def test_limits_that_an_nvme_host_cannot_have_are_refused_before_the_move(moving: World) -> None:
    volume = moving.driver.create()
    moving.driver.publish(volume, NODE)
    calls = sent(moving, lambda: refused(PRECONDITION, lambda: move(moving, volume, "sp2", iopsLimit="500")))
    assert calls == []
    moved(moving, volume, "sp2", iopsLimit="0")


def test_limits_that_an_nvme_host_cannot_have_are_no_final_error_while_the_volume_moves(
    moving: World,
) -> None:
    volume = moving.driver.create()
    begun(moving, volume, "sp2", iopsLimit="500")
    map_to(moving, volume, create_nvme_host(moving, nqn=NQN))
    text = refused(UNAVAILABLE, lambda: move(moving, volume, "sp2", iopsLimit="500"))
    assert f"the array moves volume {volume.volume_id}" in text
    assert "the array cannot limit an NVMe host" in text


def test_publishing_over_nvme_asks_for_the_tree_only_where_there_are_several_domains(
    moving: World, array45: World
) -> None:
    for world, more in ((array45, 0), (moving, 1)):
        volume = world.driver.create()
        world.driver.publish(volume, NODE)
        world.driver.unpublish(volume.volume_id, NODE)
        with world.simulator.gateway.log.watching() as requests:
            world.driver.publish(volume, NODE)
        assert len(requests) == 2 + more


# --- the trash -------------------------------------------------------------------------------------------


def test_a_volume_in_the_trash_is_not_moved(keeping: World) -> None:
    volume = keeping.driver.create()
    keeping.driver.delete(volume.volume_id)
    calls = sent(keeping, lambda: refused(grpc.StatusCode.NOT_FOUND, lambda: move(keeping, volume, "sp2")))
    assert calls == []


def test_a_volume_that_is_deleted_while_it_moves_is_not_found(moving: World) -> None:
    volume = moving.driver.create()
    begun(moving, volume, "sp2")
    moving.driver.delete(volume.volume_id)
    refused(grpc.StatusCode.NOT_FOUND, lambda: move(moving, volume, "sp2"))
    assert moving.array.volumes == {}


def test_a_volume_goes_into_the_trash_while_it_moves(keeping: World) -> None:
    volume = keeping.driver.create()
    begun(keeping, volume, "sp2")
    keeping.driver.delete(volume.volume_id)
    refused(grpc.StatusCode.NOT_FOUND, lambda: move(keeping, volume, "sp2"))
    assert len(keeping.array.volumes) == 1
    assert keeping.driver.create() != volume


def test_deleted_volumes_in_the_trash_move_along_without_asking(keeping: World) -> None:
    volume = keeping.driver.create()
    clone = keeping.driver.clone("pvc-2", volume.volume_id)
    keeping.driver.delete(volume.volume_id)
    moved(keeping, clone, "sp2")
    assert pool_of(keeping, volume) == "sp2"


def test_a_deleted_volume_that_a_host_still_has_counts_as_one_of_another_claim(keeping: World) -> None:
    volume = keeping.driver.create()
    clone = keeping.driver.clone("pvc-2", volume.volume_id)
    keeping.driver.delete(clone.volume_id)
    map_to(keeping, clone, create_nvme_host(keeping))
    assert clone.volume_id in refused(PRECONDITION, lambda: move(keeping, volume, "sp2"))


def test_a_deleted_volume_of_another_cluster_counts_as_one_of_another_claim(keeping: World) -> None:
    volume = keeping.driver.create()
    clone = keeping.driver.clone("pvc-2", volume.volume_id)
    keeping.driver.delete(clone.volume_id)
    name = keeping.volume(clone.volume_id).name
    assert name is not None
    act(keeping, clone, "setVolumeName", newName=f"tothr{name[5:]}")
    assert clone.volume_id in refused(PRECONDITION, lambda: move(keeping, volume, "sp2"))


def test_a_pool_that_is_too_small_because_of_the_trash_names_what_is_in_it(keeping: World) -> None:
    volume = keeping.driver.create(gib=160)
    clone = keeping.driver.clone("pvc-2", volume.volume_id)
    keeping.driver.delete(volume.volume_id)
    text = refused(FULL, lambda: move(keeping, clone, "small"))
    assert "its tree has 160 GiB as thin, and pool pd1/small takes at most" in text
    assert f"deleted volumes in the trash count too: {volume.volume_id}" in text


def test_what_is_in_the_trash_is_not_kept_as_moved(kept: World) -> None:
    world = kept.reconfigured(trash=TrashSettings())
    volume = world.driver.create()
    clone = world.driver.clone("pvc-2", volume.volume_id)
    world.driver.delete(volume.volume_id)
    moved(world, clone, "sp2")
    world.driver.delete(clone.volume_id)
    content = (world.folder / "state.db").read_bytes()
    assert volume.volume_id.encode() not in content


# --- holds and reverts -----------------------------------------------------------------------------------


@pytest.fixture
def following(moving: World, tmp_path: Path) -> Iterator[tuple[World, NodesCluster]]:
    """A controller that follows the PersistentVolumes of a cluster."""
    with NodesCluster(tmp_path) as cluster:
        yield connect(moving, cluster, tmp_path, remove_stale=False), cluster


def hold(cluster: ApiServer, handle: str, text: str) -> None:
    metadata = {"annotations": {f"{DRIVER}/hold": text}} if text else {}
    spec = {"csi": {"driver": DRIVER, "volumeHandle": handle, "volumeAttributes": {}}}
    cluster.put(VOLUMES, f"pv-{handle}", {"metadata": metadata, "spec": spec})


def held(driver: Driver, volume: csi_pb2.Volume, node: str) -> Callable[[], bool]:
    """Whether the controller has seen the hold."""
    return lambda: outcome(lambda: driver.publish(volume, node)) is PRECONDITION


def test_a_held_volume_is_not_moved_until_the_hold_ends(following: tuple[World, NodesCluster]) -> None:
    world, cluster = following
    volume = world.driver.create()
    clone = world.driver.clone("pvc-2", volume.volume_id)
    hold(cluster, clone.volume_id, "reverted by Eva")
    eventually(held(world.driver, clone, world.node("a")))
    for each in (volume, clone):
        calls = sent(
            world,
            lambda each=each: refused(  # type: ignore[misc]  # bound
                PRECONDITION, lambda: move(world, each, "sp2", migrateTree="true")
            ),
        )
        assert calls == []
    text = refused(PRECONDITION, lambda: move(world, volume, "sp2", migrateTree="true"))
    assert f"is not moved now: {clone.volume_id}" in text
    assert "is held: reverted by Eva" in text
    hold(cluster, clone.volume_id, "")
    eventually(lambda: outcome(lambda: move(world, volume, "sp2", migrateTree="true")) is ABORTED)


def test_a_move_that_runs_goes_on_while_the_volume_is_held(following: tuple[World, NodesCluster]) -> None:
    world, cluster = following
    volume = world.driver.create()
    begun(world, volume, "sp2")
    hold(cluster, volume.volume_id, "looked at by Eva")
    eventually(held(world.driver, volume, world.node("a")))
    begun(world, volume, "sp2")
    pass_time(world)
    move(world, volume, "sp2")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ApiServer]:
    with ApiServer(tmp_path) as server:
        yield server


def test_a_volume_that_moves_is_not_reverted(moving: World, cluster: ApiServer) -> None:
    inventory = InventoryWorld(moving, cluster)
    volume = inventory.provisioned("data")
    inventory.taken("before", volume.volume_id)
    begun(moving, volume, "sp2")
    arguments = ("volumes", "revert", "shop/data", "--to", "shop/before", "--yes")
    assert "the array moves it to another pool; wait until the move has ended" in inventory.refused(
        *arguments
    )
    pass_time(moving)
    inventory.ok(*arguments)


def test_a_volume_that_begins_to_move_is_not_reverted(moving: World, cluster: ApiServer) -> None:
    inventory = InventoryWorld(moving, cluster)
    volume = inventory.provisioned("data")
    inventory.taken("before", volume.volume_id)
    looks: list[object] = []

    def later(tree: dict[str, object]) -> dict[str, object]:
        """The first look, which is for the plan, does not show the move."""
        looks.append(tree)
        return tree if len(looks) > 1 else tree | {"vtreeMigrationInfo": None}

    begun(moving, volume, "sp2")
    with changed_answers(moving) as change_answer:
        change_answer("VTree.get", later)
        result = inventory.run("volumes", "revert", "shop/data", "--to", "shop/before", "--yes")
    assert result.exit_code != 0
    assert "was not reverted: the array moves it to another pool" in result.stderr
    assert moving.volume(volume.volume_id).restores == 0


# --- other calls while it moves --------------------------------------------------------------------------


def test_a_volume_is_expanded_while_it_moves(moving: World) -> None:
    volume = moving.driver.create()
    begun(moving, volume, "sp2")
    moving.driver.expand(volume.volume_id, gib=16)
    pass_time(moving)
    move(moving, volume, "sp2")
    assert moving.driver.get(volume.volume_id).volume.capacity_bytes == 16 * GIB


def test_snapshots_and_clones_that_are_made_while_it_moves_arrive_with_it(moving: World) -> None:
    volume = moving.driver.create()
    begun(moving, volume, "sp2")
    snapshot = moving.driver.snapshot(volume.volume_id)
    clone = moving.driver.clone("pvc-2", volume.volume_id)
    restored = moving.driver.restore("pvc-3", snapshot.snapshot_id)
    begun(moving, volume, "sp2")
    pass_time(moving)
    move(moving, volume, "sp2")
    made = [snapshot.snapshot_id, clone.volume_id, restored.volume_id]
    assert [pool_of(moving, each) for each in made] == ["sp2"] * 3


def test_a_clone_that_was_made_while_its_source_moved_is_found_afterwards(kept: World) -> None:
    volume = kept.driver.create()
    begun(kept, volume, "sp2")
    clone = kept.driver.clone("pvc-2", volume.volume_id, parameters={"storagepool": "sp1"})
    pass_time(kept)
    move(kept, volume, "sp2")
    assert kept.restart().clone("pvc-2", volume.volume_id, parameters={"storagepool": "sp1"}) == clone


def test_lists_and_topology_do_not_change_while_it_moves(moving: World) -> None:
    def listed() -> list[csi_pb2.ListVolumesResponse.Entry]:
        return list(moving.driver.controller.ListVolumes(csi_pb2.ListVolumesRequest(), timeout=30).entries)

    volume = moving.driver.create()
    moving.driver.publish(volume, moving.node("a"))
    before = listed()
    begun(moving, volume, "sp2")
    assert listed() == before
    pass_time(moving)
    move(moving, volume, "sp2")
    assert listed() == before
    assert (
        moving.driver.get(volume.volume_id).volume.accessible_topology == before[0].volume.accessible_topology
    )


@pytest.mark.parametrize("state", ["queued", "paused by a user", "paused without capacity"])
def test_the_former_class_takes_back_a_move_that_waits(moving: World, state: str) -> None:
    volume = moving.driver.create()
    begun(moving, volume, "sp2")
    if state == "paused by a user":
        act(moving, volume, "pauseVTreeMigration", pauseType="Gracefully")
        assert "UserInitiated" in refused(ABORTED, lambda: move(moving, volume, "sp2"))
    else:
        reasons = {
            "queued": {"migrationStatus": "PendingMigration"},
            "paused without capacity": {
                "migrationStatus": "Paused",
                "migrationPauseReason": "NoSpaceInDestinationStoragePool",
            },
        }
        act(moving, volume, "pauseVTreeMigration", pauseType="Gracefully")
        looks: list[object] = []

        def first(tree: dict[str, object]) -> dict[str, object]:
            looks.append(tree)
            info = dict(tree["vtreeMigrationInfo"])  # type: ignore[call-overload]  # it is an object
            return tree if len(looks) > 1 else tree | {"vtreeMigrationInfo": info | reasons[state]}

        with changed_answers(moving) as change_answer:
            change_answer("VTree.get", first)
            outcome(lambda: move(moving, volume, "sp1"))
    for _ in range(2):
        if outcome(lambda: move(moving, volume, "sp1")) is OK:
            break
        pass_time(moving)
    assert pool_of(moving, volume) == "sp1"
    assert moving.array.vtrees[moving.volume(volume.volume_id).vtree_id].migration is None


def test_a_second_controller_sends_back_what_the_first_has_begun(moving: World) -> None:
    volume = moving.driver.create()
    begun(moving, volume, "sp2")
    second = moving.another()
    outcome(lambda: second.modify(volume.volume_id, storagepool="sp1"))
    outcome(lambda: move(moving, volume, "sp1"))
    pass_time(moving)
    for driver in (second, moving.driver):
        driver.modify(volume.volume_id, storagepool="sp1")
    assert pool_of(moving, volume) == "sp1"


@pytest.mark.parametrize(
    ("running", "asked"),
    [
        ({"storagepool": "sp2"}, {"storagepool": "unpadded"}),
        ({"storagepool": "sp2"}, {"provisioning": "thick"}),
        ({"storagepool": "sp2"}, {"storagepool": "sp2", "provisioning": "thick"}),
        ({"storagepool": "sp2", "provisioning": "thick"}, {"storagepool": "sp2", "provisioning": "thin"}),
        ({"storagepool": "fine"}, {"storagepool": "fine", "provisioning": "compressed"}),
        ({"storagepool": "sp2"}, {"storagepool": "sp1", "provisioning": "thick"}),
    ],
)
def test_a_class_that_is_refused_after_the_move_of_another_one_changes_no_limits(
    moving: World, running: dict[str, str], asked: dict[str, str]
) -> None:
    volume = moving.driver.create()
    moving.driver.publish(volume, moving.node("a"))
    refused(ABORTED, lambda: moving.driver.modify(volume.volume_id, **{"provisioning": "thin", **running}))
    codes = []
    for _ in range(3):
        codes.append(outcome(lambda: moving.driver.modify(volume.volume_id, iopsLimit="700", **asked)))
        pass_time(moving)
    assert codes[-1] is INVALID
    assert moving.volume(volume.volume_id).mappings[0].limit_iops == 0


@pytest.mark.parametrize("more", [{}, {"provisioning": "thick"}, {"provisioning": "thin"}])
def test_the_limits_of_a_class_count_while_its_own_move_runs(moving: World, more: dict[str, str]) -> None:
    volume = moving.driver.create()
    begun(moving, volume, "sp2", iopsLimit="700", **more)
    moving.restart()
    moving.driver.publish(volume, moving.node("a"))
    assert moving.volume(volume.volume_id).mappings[0].limit_iops == 0
    begun(moving, volume, "sp2", iopsLimit="700", **more)
    assert moving.volume(volume.volume_id).mappings[0].limit_iops == 700


def test_limits_of_a_class_that_goes_back_apply_at_once(moving: World) -> None:
    volume = moving.driver.create()
    moving.driver.publish(volume, moving.node("a"))
    begun(moving, volume, "sp2")
    outcome(lambda: move(moving, volume, "sp1", iopsLimit="700", provisioning="thin"))
    assert moving.volume(volume.volume_id).mappings[0].limit_iops == 700


# --- the array changes meanwhile -------------------------------------------------------------------------


def test_a_pool_that_gets_another_name_while_the_volume_moves_there_is_no_final_error(moving: World) -> None:
    volume = moving.driver.create()
    begun(moving, volume, "sp3")
    pool = next(each for each in moving.array.pools.values() if each.name == "sp3")
    Client(moving.simulator.gateway).act("StoragePool", pool.id, "setStoragePoolName", name="fast")
    moving.restart()
    text = refused(ABORTED, lambda: move(moving, volume, "sp3"))
    assert "its class asks for one that is not found" in text
    pass_time(moving)
    assert "has no storage pool 'sp3'" in refused(INVALID, lambda: move(moving, volume, "sp3"))


def test_a_pool_that_does_not_exist_is_refused_also_on_powerflex_5(make_world: MakeWorld) -> None:
    world = make_world(several_pools("5.0"))
    volume = world.driver.create()
    assert "has no storage pool 'sp9'" in refused(INVALID, lambda: move(world, volume, "sp9"))


def test_a_pool_that_was_removed_since_it_was_read_is_refused(moving: World) -> None:
    volume = moving.driver.create()
    pool = next(each for each in moving.array.pools.values() if each.name == "sp3")
    Client(moving.simulator.gateway).act("StoragePool", pool.id, "removeStoragePool")
    assert outcome(lambda: move(moving, volume, "sp3")) in (INVALID, UNAVAILABLE, grpc.StatusCode.NOT_FOUND)
    assert "has no storage pool 'sp3'" in refused(INVALID, lambda: move(moving, volume, "sp3"))
    assert pool_of(moving, volume) == "sp1"
    assert sp1(moving)


def test_the_pools_are_read_again_when_the_array_does_not_know_the_pool_of_a_move(moving: World) -> None:
    volume = moving.driver.create()
    moving.simulator.gateway.inject(
        Fault(kind=FaultKind.ERROR, code=171, route="Volume.migrateVTree", times=1)
    )
    assert outcome(lambda: move(moving, volume, "sp3")) in (INVALID, grpc.StatusCode.NOT_FOUND)
    with moving.simulator.gateway.log.watching() as requests:
        refused(ABORTED, lambda: move(moving, volume, "sp3"))
    assert "StoragePool.list" in [request.route for request in requests]


@pytest.mark.parametrize("asked", [{"storagepool": "sp2", "migrateTree": "true"}, {"provisioning": "thick"}])
def test_the_handle_of_a_snapshot_does_not_move_the_volume(moving: World, asked: dict[str, str]) -> None:
    volume = moving.driver.create()
    handle = moving.driver.snapshot(volume.volume_id).snapshot_id
    message = refused(
        grpc.StatusCode.INVALID_ARGUMENT, lambda: moving.driver.modify(handle, iopsLimit="100", **asked)
    )
    assert "is a snapshot, and only volumes are moved" in message
    moving.driver.modify(handle, iopsLimit="100")
    pass_time(moving)
    assert pool_of(moving, volume) == "sp1"
