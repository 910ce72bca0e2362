"""What an array answers seldom, and the driver has an answer of its own to."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from csi_powerflex.operations.controller.create_history import CreateHistory
from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, PoolPlan
from csi_powerflex.simulator.simulator import SystemPlan
from tests.controller.conftest import MakeWorld
from tests.controller.driver import GIB, refused
from tests.controller.test_placement import AWAY, either, two_systems
from tests.controller.test_unreadable_answers import Change, change, changing, unreadable
from tests.controller.world import World

__all__ = ["change"]  # a fixture

Changing = Callable[[str, Change], None]


def strike(
    world: World,
    route: str,
    code: int,
    *,
    message: str | None = None,
    status: int = 500,
    after_effect: bool = False,
) -> None:
    """Let the next request of ``route`` be refused."""
    world.simulator.gateway.inject(
        Fault(
            kind=FaultKind.ERROR,
            route=route,
            code=code,
            times=1,
            message=message,
            status=status,
            after_effect=after_effect,
        )
    )


# --- mapping -------------------------------------------------------------------------------------


def test_a_mapping_refused_for_another_host_that_is_not_to_be_seen_is_no_mapping(array45: World) -> None:
    volume = array45.driver.create()
    strike(array45, "Volume.addMappedSdc", 306)
    text = refused(
        grpc.StatusCode.FAILED_PRECONDITION, lambda: array45.driver.publish(volume, array45.node("a"))
    )
    assert "is mapped to another node" in text
    assert array45.driver.publish(volume, array45.node("a"))


def test_a_mapping_that_was_made_though_the_array_says_it_was_there_is_the_one_asked_for(
    array45: World,
) -> None:
    volume = array45.driver.create()
    strike(array45, "Volume.addMappedSdc", 81, after_effect=True)
    assert array45.driver.publish(volume, array45.node("a"))
    assert len(array45.volume(volume.volume_id).mappings) == 1


def test_a_host_whose_id_is_not_known_any_more_is_looked_up_again_to_unmap_it(array45: World) -> None:
    volume = array45.driver.create()
    array45.driver.publish(volume, array45.node("a"))
    strike(array45, "Volume.removeMappedSdc", 80)
    array45.driver.unpublish(volume.volume_id, array45.node("a"))
    assert not array45.volume(volume.volume_id).mappings


# --- volumes -------------------------------------------------------------------------------------


def test_a_pool_that_was_made_anew_is_looked_up_by_its_name_again(array45: World) -> None:
    array45.driver.create("pvc-warm")
    strike(array45, "Volume.create", 142)
    refused(grpc.StatusCode.INVALID_ARGUMENT, array45.driver.create)
    since = array45.simulator.gateway.log.last
    assert array45.driver.create().volume_id
    assert array45.simulator.gateway.log.find(since=since, route="StoragePool.list")


def test_an_id_that_the_gateway_calls_none_is_not_found(array45: World) -> None:
    volume = array45.driver.create()
    strike(array45, "Volume.get", 0, message="id must be a hexadecimal number (unsigned long)", status=400)
    refused(grpc.StatusCode.NOT_FOUND, lambda: array45.driver.get(volume.volume_id))


@pytest.fixture
def packed(make_world: MakeWorld) -> World:
    """A system with a pool that can compress."""
    pools = (PoolPlan("sp1"), PoolPlan("packed", layout="FineGranularity", compression="Normal"))
    return make_world(SystemPlan(initial_state=InitialState(domains=(DomainPlan(pools=pools),))))


@pytest.mark.parametrize(("provisioning", "method"), [("compressed", "Normal"), ("thin", "None")])
def test_a_pool_that_compresses_does_so_for_the_volumes_that_ask(
    packed: World, provisioning: str, method: str
) -> None:
    parameters = {"storagepool": "packed", "provisioning": provisioning}
    volume = packed.driver.create(parameters=parameters)
    assert packed.volume(volume.volume_id).compression == method
    assert packed.driver.create(parameters=parameters).volume_id == volume.volume_id


def test_what_a_pool_cannot_is_refused_with_the_remedy(packed: World) -> None:
    for pool, provisioning in (("sp1", "compressed"), ("packed", "thick")):
        parameters = {"storagepool": pool, "provisioning": provisioning}
        text = refused(
            grpc.StatusCode.INVALID_ARGUMENT,
            lambda parameters=parameters: packed.driver.create(parameters=parameters),  # type: ignore[misc]  # bound
        )
        assert "use provisioning=thin" in text
    assert not packed.array.volumes


def test_a_volume_that_was_deleted_behind_the_driver_is_made_anew(array45: World) -> None:
    first = array45.driver.create()
    array45.driver.delete(first.volume_id)
    second = array45.driver.create()
    assert second.volume_id != first.volume_id
    assert second.volume_id.partition("-")[2] in array45.array.volumes


def test_a_copy_of_the_name_but_of_another_size_is_another_volume(array45: World) -> None:
    driver = array45.driver
    source = driver.create().volume_id
    assert driver.clone("pvc-copy", source, gib=24).capacity_bytes == 24 * GIB
    for gib, limit in ((32, 0.0), (8, 16.0)):
        refused(
            grpc.StatusCode.ALREADY_EXISTS,
            lambda gib=gib, limit=limit: driver.clone("pvc-copy", source, gib=gib, limit=limit),  # type: ignore[misc]  # bound
        )
    assert len(array45.array.volumes) == 2


def test_an_array_that_cannot_be_reached_is_unavailable_and_nothing_is_doubted(array45: World) -> None:
    array45.driver.create("pvc-warm")
    array45.gateway.stop()
    text = refused(grpc.StatusCode.UNAVAILABLE, array45.driver.create)
    assert "cannot connect" in text


def test_where_no_system_answers_the_call_is_repeated(make_world: MakeWorld) -> None:
    world = two_systems(make_world)
    wanted = either(world)
    world.driver.create("pvc-warm", accessibility_requirements=wanted)
    for gateway in world.simulator.gateways:
        gateway.inject(Fault(kind=AWAY.kind, status=AWAY.status))
    refused(grpc.StatusCode.UNAVAILABLE, lambda: world.driver.create(accessibility_requirements=wanted))


def test_only_so_many_attempts_are_remembered() -> None:
    history = CreateHistory(max_created=2, max_unknown=2)
    for number in range(3):
        history.record_created("array", f"created-{number}", f"id-{number}")
        history.record_unknown("array", f"unknown-{number}")
    created = [history.created_id("array", f"created-{number}") for number in range(3)]
    assert created == [None, "id-1", "id-2"]
    assert [history.may_exist("array", f"unknown-{number}") for number in range(3)] == [False, True, True]


# --- snapshots -----------------------------------------------------------------------------------


def test_a_snapshot_that_went_though_the_array_answered_with_an_error_is_deleted(array45: World) -> None:
    snapshot = array45.driver.snapshot(array45.driver.create().volume_id).snapshot_id
    strike(array45, "Volume.removeVolume", 9999, after_effect=True)
    array45.driver.delete_snapshot(snapshot)
    assert snapshot.partition("-")[2] not in array45.array.volumes


def test_a_snapshot_that_is_still_there_after_an_error_is_not_deleted(array45: World) -> None:
    snapshot = array45.driver.snapshot(array45.driver.create().volume_id).snapshot_id
    strike(array45, "Volume.removeVolume", 9999)
    refused(grpc.StatusCode.UNAVAILABLE, lambda: array45.driver.delete_snapshot(snapshot))
    assert snapshot.partition("-")[2] in array45.array.volumes


def test_a_group_that_another_removes_at_the_same_time_is_deleted(array45: World) -> None:
    volumes = [array45.driver.create(name).volume_id for name in ("pvc-1", "pvc-2")]
    request = csi_pb2.CreateVolumeGroupSnapshotRequest(name="group", source_volume_ids=volumes)
    group = array45.driver.group.CreateVolumeGroupSnapshot(request, timeout=30).group_snapshot
    strike(array45, "System.removeConsistencyGroupSnapshots", 183, after_effect=True)
    array45.driver.group.DeleteVolumeGroupSnapshot(
        csi_pb2.DeleteVolumeGroupSnapshotRequest(group_snapshot_id=group.group_snapshot_id), timeout=30
    )
    assert len(array45.array.volumes) == 2


# --- what a gateway tells of itself ----------------------------------------------------------------


def test_a_gateway_of_several_systems_is_refused(array45: World, change: Changing) -> None:
    change("System.list", lambda answer: answer * 2)
    assert "lists 2 systems, and one was expected" in unreadable(array45.driver.create)


def capacity(world: World) -> csi_pb2.GetCapacityResponse:
    return world.driver.controller.GetCapacity(csi_pb2.GetCapacityRequest(), timeout=30)


@pytest.mark.parametrize("limits", [[], [{"type": "volumeSizeGb", "maxVal": "0"}]])
def test_a_system_without_a_largest_volume_has_no_capacity_to_tell(
    array45: World, change: Changing, limits: object
) -> None:
    change("System.querySystemLimits", lambda _: {"systemLimitEntryList": limits})
    assert "does not report the limit volumeSizeGb" in unreadable(lambda: capacity(array45))


def test_a_pool_without_its_figures_has_no_capacity_to_tell(make_world: MakeWorld) -> None:
    world = make_world(SystemPlan("5.0"))
    with changing(world) as change:
        change("metrics", lambda answer: answer | {"resources": []})
        assert "did not report these metrics of a pool: logical_provisioned" in unreadable(
            lambda: capacity(world)
        )


def test_a_pool_with_failed_capacity_makes_its_volumes_inaccessible(array45: World, change: Changing) -> None:
    volume = array45.driver.create()
    change("StoragePool.Statistics", lambda answer: answer | {"failedCapacityInKb": 8})
    request = csi_pb2.ControllerGetVolumeHealthRequest(volume_id=volume.volume_id)
    health = array45.driver.controller.ControllerGetVolumeHealth(request, timeout=30).volume_health
    assert [csi_pb2.VolumeHealthErrorType.Name(entry.status) for entry in health.health_statuses] == [
        "INACCESSIBLE"
    ]


def test_a_group_of_which_a_member_is_not_to_be_seen_is_not_answered(
    array45: World, change: Changing
) -> None:
    volumes = [array45.driver.create(name).volume_id for name in ("pvc-1", "pvc-2")]
    change("Volume.queryBySelectedIds", lambda answer: answer[:1])
    request = csi_pb2.CreateVolumeGroupSnapshotRequest(name="group", source_volume_ids=volumes)
    text = unreadable(lambda: array45.driver.group.CreateVolumeGroupSnapshot(request, timeout=30))
    assert "of 2 volumes were asked for and the array shows 1" in text
