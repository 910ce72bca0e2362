"""Snapshots, and volumes made from them."""

from __future__ import annotations

import grpc
import pytest

from csi_powerflex.names import Kind, array_name
from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, PoolPlan
from csi_powerflex.simulator.settings import Settings
from csi_powerflex.simulator.simulator import SystemPlan
from tests.controller.conftest import MakeWorld
from tests.controller.driver import GIB, Driver, Mode, mount, refused
from tests.controller.world import World

EXISTS = grpc.StatusCode.ALREADY_EXISTS
NOT_FOUND = grpc.StatusCode.NOT_FOUND
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
FULL = grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_new_snapshot_is_read_only_and_ready_and_has_its_own_time(world: World, driver: Driver) -> None:
    volume = driver.create(gib=16)
    snapshot = driver.snapshot(volume.volume_id)
    made = world.volume(snapshot.snapshot_id)
    assert made.name == array_name(Kind.SNAPSHOT, "test", "snapshot-1")
    assert made.access_limit == "ReadOnly"
    assert snapshot.source_volume_id == volume.volume_id
    assert snapshot.size_bytes == 16 * GIB
    assert snapshot.creation_time.seconds == made.created
    assert snapshot.ready_to_use
    assert not snapshot.group_snapshot_id


def test_the_same_snapshot_again_gives_the_same_answer(world: World, driver: Driver) -> None:
    volume = driver.create()
    first = driver.snapshot(volume.volume_id)
    assert driver.snapshot(volume.volume_id) == first
    assert world.restart().snapshot(volume.volume_id) == first
    assert len(world.array.volumes) == 2


def test_a_snapshots_name_belongs_to_one_source(driver: Driver) -> None:
    first, second = driver.create("pvc-1"), driver.create("pvc-2")
    driver.snapshot(first.volume_id)
    assert "was not taken of volume" in refused(EXISTS, lambda: driver.snapshot(second.volume_id))


def test_a_snapshot_of_nothing_is_not_found(world: World, driver: Driver) -> None:
    refused(NOT_FOUND, lambda: driver.snapshot("fake-vol-id"))
    refused(NOT_FOUND, lambda: driver.snapshot(f"{world.array.system.id}-{'f' * 16}"))


def test_a_snapshot_is_deleted_and_a_repeated_call_succeeds(world: World, driver: Driver) -> None:
    volume = driver.create()
    snapshot = driver.snapshot(volume.volume_id)
    driver.delete_snapshot(snapshot.snapshot_id)
    driver.delete_snapshot(snapshot.snapshot_id)
    driver.delete_snapshot("fake-snapshot")
    assert len(world.array.volumes) == 1


def test_a_secure_snapshot_is_not_deleted_and_the_error_has_its_time(array45: World) -> None:
    volume = array45.driver.create()
    snapshot = array45.driver.snapshot(volume.volume_id, retentionMinutes="60")
    text = refused(PRECONDITION, lambda: array45.driver.delete_snapshot(snapshot.snapshot_id))
    assert "is secure and cannot be removed before" in text


def test_a_mapped_snapshot_is_not_deleted(array45: World) -> None:
    volume = array45.driver.create()
    snapshot = array45.driver.snapshot(volume.volume_id)
    array45.driver.publish(snapshot.snapshot_id, array45.node("a"), mount(Mode.MULTI_NODE_READER_ONLY))
    refused(PRECONDITION, lambda: array45.driver.delete_snapshot(snapshot.snapshot_id))


def test_a_snapshot_is_never_published_for_writing(array45: World) -> None:
    volume = array45.driver.create()
    snapshot = array45.driver.snapshot(volume.volume_id)
    text = refused(
        grpc.StatusCode.INVALID_ARGUMENT,
        lambda: array45.driver.publish(snapshot.snapshot_id, array45.node("a")),
    )
    assert "read-only on the array" in text


def test_the_error_for_a_full_tree_has_its_number_of_members(make_world: MakeWorld) -> None:
    world = make_world(settings=Settings(max_snapshots_per_vtree=2))
    volume = world.driver.create()
    world.driver.snapshot(volume.volume_id, "snapshot-1")
    world.driver.snapshot(volume.volume_id, "snapshot-2")
    tree = world.volume(volume.volume_id).vtree_id
    said = f"tree {tree} has 3 members"
    assert said in refused(FULL, lambda: world.driver.snapshot(volume.volume_id, "snapshot-3"))
    assert said in refused(FULL, lambda: world.driver.clone("pvc-2", volume.volume_id))


def test_a_storage_class_can_limit_the_members_of_a_tree(array45: World) -> None:
    volume = array45.driver.create()
    small = {"maxVtreeMembers": "2"}
    array45.driver.clone("pvc-2", volume.volume_id, parameters=small)
    text = refused(FULL, lambda: array45.driver.clone("pvc-3", volume.volume_id, parameters=small))
    assert "has 2 members, and maxVtreeMembers is 2" in text


@pytest.mark.parametrize("kind", ["snapshot", "volume"])
@pytest.mark.parametrize("gib", [8, 16, 24])
def test_a_copy_has_the_size_of_its_source_or_the_larger_requested_size(
    world: World, driver: Driver, kind: str, gib: int
) -> None:
    volume = driver.create(gib=8)
    if kind == "snapshot":
        copy = driver.restore("pvc-2", driver.snapshot(volume.volume_id).snapshot_id, gib=gib)
        assert copy.content_source.snapshot.snapshot_id
    else:
        copy = driver.clone("pvc-2", volume.volume_id, gib=gib)
        assert copy.content_source.volume.volume_id == volume.volume_id
    assert copy.capacity_bytes == gib * GIB
    assert dict(copy.volume_context) == {"origin": "copy"}
    made = world.volume(copy.volume_id)
    assert made.size_kb * 1024 == gib * GIB
    assert made.access_limit == "ReadWrite"


def test_a_copy_without_a_requested_size_has_the_size_of_its_source(driver: Driver) -> None:
    volume = driver.create(gib=24)
    assert driver.clone("pvc-2", volume.volume_id).capacity_bytes == 24 * GIB


def test_the_same_copy_again_gives_the_same_answer(world: World, driver: Driver) -> None:
    volume = driver.create()
    first = driver.clone("pvc-2", volume.volume_id, gib=16)
    assert driver.clone("pvc-2", volume.volume_id, gib=16) == first
    assert world.restart().clone("pvc-2", volume.volume_id, gib=16) == first
    assert len(world.array.volumes) == 2


def test_a_copy_that_was_not_yet_expanded_is_expanded_by_the_repeated_call(
    world: World, driver: Driver
) -> None:
    volume = driver.create()
    copy = driver.clone("pvc-2", volume.volume_id)
    assert driver.clone("pvc-2", volume.volume_id, gib=16).volume_id == copy.volume_id
    assert world.volume(copy.volume_id).size_kb * 1024 == 16 * GIB


def test_a_copy_is_expanded_by_the_repeated_call_also_after_its_source_was_expanded(
    world: World, driver: Driver
) -> None:
    """The copy is then smaller than its source. Otherwise the claim fails without end, and the copy stays."""
    volume = driver.create(gib=8)
    busy = Fault(kind=FaultKind.ERROR, route="Volume.setVolumeSize", code=28, times=1)
    world.simulator.gateway.inject(busy)
    refused(grpc.StatusCode.ABORTED, lambda: driver.clone("pvc-copy", volume.volume_id, gib=24))
    driver.expand(volume.volume_id, gib=16)
    copy = driver.clone("pvc-copy", volume.volume_id, gib=24)
    assert copy.capacity_bytes == 24 * GIB
    assert len(world.array.volumes) == 2


@pytest.mark.parametrize("limit", [0, 8])
def test_a_copy_does_not_change_in_a_repeated_call_after_its_source_was_expanded(
    driver: Driver, limit: int
) -> None:
    volume = driver.create(gib=8)
    copy = driver.clone("pvc-copy", volume.volume_id, limit=limit)
    driver.expand(volume.volume_id, gib=16)
    assert driver.clone("pvc-copy", volume.volume_id, limit=limit) == copy


def test_a_copy_that_filled_its_tree_is_found_by_the_repeated_call(make_world: MakeWorld) -> None:
    """Whether the storage class or the array limits the tree."""
    world = make_world(settings=Settings(max_snapshots_per_vtree=2))
    volume = world.driver.create()
    parameters = {"maxVtreeMembers": "2"}
    first = world.driver.clone("pvc-copy", volume.volume_id, parameters=parameters)
    assert world.driver.clone("pvc-copy", volume.volume_id, parameters=parameters) == first
    second = world.driver.clone("pvc-other", volume.volume_id)
    assert world.driver.clone("pvc-other", volume.volume_id) == second
    refused(FULL, lambda: world.driver.clone("pvc-third", volume.volume_id))


def test_a_repeated_call_finds_its_object_in_a_full_pool(world: World) -> None:
    """Otherwise a caller whose first answer was lost would never delete the object."""

    def create(driver: Driver) -> list[str]:
        volume_id = driver.create().volume_id
        snapshot_id = driver.snapshot(volume_id).snapshot_id
        return [
            volume_id,
            snapshot_id,
            driver.restore("pvc-restored", snapshot_id).volume_id,
            driver.group_snapshot("group-1", volume_id).group_snapshot_id,
        ]

    first = create(world.driver)
    assert world.simulator.gateway.set_full("sp1", full=True)
    assert create(world.restart()) == first
    for call in (
        lambda: world.driver.create("pvc-2"),
        lambda: world.driver.snapshot(first[0], "snapshot-2"),
        lambda: world.driver.clone("pvc-clone", first[0]),
        lambda: world.driver.group_snapshot("group-2", first[0]),
    ):
        refused(FULL, call)


def test_a_name_in_use_cannot_be_the_name_of_another_copy(driver: Driver) -> None:
    first, second = driver.create("pvc-1"), driver.create("pvc-2")
    driver.clone("pvc-3", first.volume_id)
    assert "was not created from" in refused(EXISTS, lambda: driver.clone("pvc-3", second.volume_id))
    assert "was not created from" in refused(EXISTS, lambda: driver.clone("pvc-2", first.volume_id))
    assert "copy of another volume" in refused(EXISTS, lambda: driver.create("pvc-3"))


def test_a_copy_smaller_than_its_source_is_refused(array45: World) -> None:
    volume = array45.driver.create(gib=16)
    refused(
        grpc.StatusCode.OUT_OF_RANGE,
        lambda: array45.driver.clone("pvc-2", volume.volume_id, gib=8, limit=8),
    )


def test_a_copy_of_nothing_is_not_found(world: World, driver: Driver) -> None:
    refused(NOT_FOUND, lambda: driver.clone("pvc-2", "fake-vol-id"))
    refused(NOT_FOUND, lambda: driver.restore("pvc-2", f"{world.array.system.id}-{'f' * 16}"))


def test_a_source_without_a_type_is_refused(array45: World) -> None:
    source = csi_pb2.VolumeContentSource()
    refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: array45.driver.create(volume_content_source=source))


def test_a_copy_stays_in_its_sources_pool(make_world: MakeWorld) -> None:
    domain = DomainPlan(pools=(PoolPlan(name="sp1"), PoolPlan(name="sp2")))
    world = make_world(SystemPlan(initial_state=InitialState(domains=(domain,))))
    volume = world.driver.create(parameters={"storagepool": "sp2"})
    copy = world.driver.clone("pvc-2", volume.volume_id)
    assert world.volume(copy.volume_id).pool_id == world.volume(volume.volume_id).pool_id
    text = refused(
        grpc.StatusCode.INVALID_ARGUMENT,
        lambda: world.driver.clone("pvc-3", volume.volume_id, parameters={"storagepool": "sp1"}),
    )
    assert "pd1/sp2 of system" in text


def test_a_source_can_be_deleted_while_its_copies_exist(world: World, driver: Driver) -> None:
    volume = driver.create()
    snapshot = driver.snapshot(volume.volume_id)
    copy = driver.restore("pvc-2", snapshot.snapshot_id)
    driver.delete(volume.volume_id)
    driver.delete_snapshot(snapshot.snapshot_id)
    assert list(world.array.volumes) == [copy.volume_id.partition("-")[2]]


def get_snapshot(driver: Driver, snapshot_id: str) -> csi_pb2.Snapshot:
    request = csi_pb2.GetSnapshotRequest(snapshot_id=snapshot_id)
    return driver.controller.GetSnapshot(request, timeout=30).snapshot


def test_get_snapshot(driver: Driver) -> None:
    volume = driver.create()
    snapshot = driver.snapshot(volume.volume_id)
    assert get_snapshot(driver, snapshot.snapshot_id) == snapshot
    refused(NOT_FOUND, lambda: get_snapshot(driver, volume.volume_id))
    refused(NOT_FOUND, lambda: get_snapshot(driver, "fake-snapshot"))


def test_one_snapshot_has_one_time_in_every_answer(world: World, driver: Driver) -> None:
    """Dell's driver gives the volume's time in its first answer, and the snapshot's own time later."""
    volume = driver.create()
    world.array.clock.advance(3600)
    first = driver.snapshot(volume.volume_id)
    again = driver.snapshot(volume.volume_id)
    listed = driver.controller.ListSnapshots(
        csi_pb2.ListSnapshotsRequest(snapshot_id=first.snapshot_id), timeout=30
    )
    got = driver.controller.GetSnapshot(csi_pb2.GetSnapshotRequest(snapshot_id=first.snapshot_id), timeout=30)
    assert first == again == listed.entries[0].snapshot == got.snapshot
    assert first.creation_time.ToSeconds() == world.volume(first.snapshot_id).created
    assert first.creation_time.ToSeconds() >= world.volume(volume.volume_id).created + 3600
