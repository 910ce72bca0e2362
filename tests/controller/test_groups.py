"""Snapshots of several volumes at one instant."""

from __future__ import annotations

import grpc
import pytest

from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.settings import Settings
from tests.controller.conftest import MakeWorld
from tests.controller.driver import Driver, Mode, mount, refused
from tests.controller.world import World

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND


def take(driver: Driver, *volume_ids: str, name: str = "groupsnapshot-1") -> csi_pb2.VolumeGroupSnapshot:
    request = csi_pb2.CreateVolumeGroupSnapshotRequest(name=name, source_volume_ids=volume_ids)
    return driver.group.CreateVolumeGroupSnapshot(request, timeout=30).group_snapshot


def get(driver: Driver, group_id: str, *snapshot_ids: str) -> csi_pb2.VolumeGroupSnapshot:
    request = csi_pb2.GetVolumeGroupSnapshotRequest(group_snapshot_id=group_id, snapshot_ids=snapshot_ids)
    return driver.group.GetVolumeGroupSnapshot(request, timeout=30).group_snapshot


def delete(driver: Driver, group_id: str, *snapshot_ids: str) -> None:
    request = csi_pb2.DeleteVolumeGroupSnapshotRequest(group_snapshot_id=group_id, snapshot_ids=snapshot_ids)
    driver.group.DeleteVolumeGroupSnapshot(request, timeout=30)


def volumes(driver: Driver, count: int = 3) -> list[str]:
    return [driver.create(f"pvc-{number}").volume_id for number in range(count)]


def test_a_group_is_taken_with_one_request_and_matched_by_source(world: World, driver: Driver) -> None:
    sources = volumes(driver)
    since = world.simulator.gateway.log.last
    group = take(driver, *reversed(sources))
    asked = [entry.route for entry in world.simulator.gateway.log.find(since=since)]
    assert len(asked) == 2
    assert [snapshot.source_volume_id for snapshot in group.snapshots] == sources[::-1]
    made = [world.volume(snapshot.snapshot_id) for snapshot in group.snapshots]
    assert len({snapshot.group_id for snapshot in made}) == 1
    assert {snapshot.group_snapshot_id for snapshot in group.snapshots} == {group.group_snapshot_id}
    assert group.ready_to_use


def test_a_group_is_taken_with_the_class_that_kubernetes_own_tests_make(driver: Driver) -> None:
    request = csi_pb2.CreateVolumeGroupSnapshotRequest(
        name="groupsnapshot-1",
        source_volume_ids=volumes(driver),
        parameters={"deletionPolicy": "Delete", "csi.storage.k8s.io/volumegroupsnapshot/name": "group"},
    )
    assert driver.group.CreateVolumeGroupSnapshot(request, timeout=30).group_snapshot.ready_to_use


def test_the_same_group_again_gives_the_same_answer(world: World, driver: Driver) -> None:
    sources = volumes(driver)
    first = take(driver, *sources)
    assert take(driver, *sources) == first
    assert take(world.restart(), *sources) == first
    assert len(world.array.volumes) == 6


def test_a_groups_name_belongs_to_its_volumes(driver: Driver) -> None:
    sources = volumes(driver)
    take(driver, *sources[:2])
    refused(grpc.StatusCode.ALREADY_EXISTS, lambda: take(driver, *sources))
    refused(grpc.StatusCode.ALREADY_EXISTS, lambda: take(driver, sources[0]))


def test_no_snapshot_is_taken_for_a_group_with_a_missing_volume(world: World, driver: Driver) -> None:
    sources = volumes(driver)
    missing = f"{world.array.system.id}-{'f' * 16}"
    refused(NOT_FOUND, lambda: take(driver, *sources, missing))
    refused(NOT_FOUND, lambda: take(driver, *sources, "fake-vol-id"))
    assert len(world.array.volumes) == 3


def test_a_volume_cannot_be_in_a_group_twice(array45: World) -> None:
    (source,) = volumes(array45.driver, 1)
    assert "named twice" in refused(INVALID, lambda: take(array45.driver, source, source))


def test_a_group_must_be_on_one_system(pair: World) -> None:
    sources = [
        pair.driver.create(f"pvc-{name}", parameters={"systemID": name}).volume_id
        for name in ("array0", "array1")
    ]
    assert "one PowerFlex system" in refused(INVALID, lambda: take(pair.driver, *sources))


def test_no_snapshot_is_taken_for_a_group_with_a_full_tree(make_world: MakeWorld) -> None:
    world = make_world(settings=Settings(max_snapshots_per_vtree=1))
    sources = volumes(world.driver, 2)
    world.driver.snapshot(sources[1])
    refused(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: take(world.driver, *sources))
    assert len(world.array.volumes) == 3


def test_get_group_with_or_without_its_members(driver: Driver) -> None:
    group = take(driver, *volumes(driver))
    members = [snapshot.snapshot_id for snapshot in group.snapshots]
    for found in (get(driver, group.group_snapshot_id, *members), get(driver, group.group_snapshot_id)):
        assert sorted(snapshot.snapshot_id for snapshot in found.snapshots) == sorted(members)
        assert found.group_snapshot_id == group.group_snapshot_id


def test_an_unknown_group_is_not_found(world: World, driver: Driver) -> None:
    refused(NOT_FOUND, lambda: get(driver, "fake-group"))
    refused(NOT_FOUND, lambda: get(driver, f"{world.array.system.id}-{'f' * 16}"))


def test_a_snapshot_that_is_not_a_member_is_refused_and_nothing_is_deleted(
    world: World, driver: Driver
) -> None:
    sources = volumes(driver)
    group = take(driver, *sources)
    other = driver.snapshot(sources[0]).snapshot_id
    refused(INVALID, lambda: delete(driver, group.group_snapshot_id, other))
    refused(INVALID, lambda: get(driver, group.group_snapshot_id, other))
    assert len(world.array.volumes) == 7


def test_a_group_is_deleted_completely_and_a_repeated_call_succeeds(world: World, driver: Driver) -> None:
    group = take(driver, *volumes(driver))
    members = [snapshot.snapshot_id for snapshot in group.snapshots]
    delete(driver, group.group_snapshot_id, *members)
    assert len(world.array.volumes) == 3
    delete(driver, group.group_snapshot_id, *members)
    delete(driver, group.group_snapshot_id)
    delete(driver, "fake-group")


def test_a_group_with_a_mapped_member_is_not_deleted(array45: World) -> None:
    driver = array45.driver
    group = take(driver, *volumes(driver))
    member = group.snapshots[0].snapshot_id
    driver.publish(member, array45.node("a"), mount(Mode.MULTI_NODE_READER_ONLY))
    refused(grpc.StatusCode.FAILED_PRECONDITION, lambda: delete(driver, group.group_snapshot_id))
    assert len(array45.array.volumes) == 6


def test_a_volume_can_be_created_from_a_member(driver: Driver) -> None:
    group = take(driver, *volumes(driver))
    assert driver.restore("pvc-restored", group.snapshots[0].snapshot_id).volume_id


@pytest.mark.parametrize("others", [(2,), (0,), (0, 2), (0, 1, 2)], ids=["other", "fewer", "mixed", "more"])
def test_a_group_name_in_use_is_refused_for_any_other_volumes(
    driver: Driver, others: tuple[int, ...]
) -> None:
    sources = volumes(driver)
    group = take(driver, *sources[:2])
    text = refused(
        grpc.StatusCode.ALREADY_EXISTS, lambda: take(driver, *(sources[number] for number in others))
    )
    assert "use another name" in text
    # The order of the volumes does not matter.
    assert take(driver, sources[1], sources[0]).group_snapshot_id == group.group_snapshot_id


def test_a_group_without_one_of_its_members_can_be_shown_and_deleted(world: World, driver: Driver) -> None:
    """After a member was deleted by hand, the others must not stay on the array permanently."""
    group = take(driver, *volumes(driver))
    ids = [member.snapshot_id for member in group.snapshots]
    driver.delete_snapshot(ids[1])
    shown = get(driver, group.group_snapshot_id, *ids)
    assert {member.snapshot_id for member in shown.snapshots} == {ids[0], ids[2]}
    delete(driver, group.group_snapshot_id, *ids)
    assert len(world.array.volumes) == 3
