"""Errors that an array reports rarely, and that the driver treats on their own."""

from __future__ import annotations

import grpc
import pytest

from csi_powerflex.operations.controller.create_history import CreateHistory, UngrownCopy
from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, PoolPlan
from csi_powerflex.simulator.simulator import SystemPlan
from tests.controller.changed_answers import ChangeAnswer, changed_answers, unreadable
from tests.controller.conftest import MakeWorld
from tests.controller.driver import GIB, refused
from tests.controller.topology import either_system
from tests.controller.world import World


def fail_next(
    world: World,
    route: str,
    code: int,
    *,
    message: str | None = None,
    status: int = 500,
    after_effect: bool = False,
    times: int = 1,
) -> None:
    """Let the next request of ``route`` fail, or the next ``times`` requests."""
    world.simulator.gateway.inject(
        Fault(
            kind=FaultKind.ERROR,
            route=route,
            code=code,
            times=times,
            message=message,
            status=status,
            after_effect=after_effect,
        )
    )


# --- mapping -------------------------------------------------------------------------------------


def test_a_mapping_to_another_host_that_the_volume_does_not_show_is_an_error(array45: World) -> None:
    """A new volume is read after the first refusal, and then mapped as any other one."""
    volume = array45.driver.create()
    fail_next(array45, "Volume.addMappedSdc", 306, times=2)
    text = refused(
        grpc.StatusCode.FAILED_PRECONDITION, lambda: array45.driver.publish(volume, array45.node("a"))
    )
    assert "is mapped to another node" in text
    assert array45.driver.publish(volume, array45.node("a"))


def test_a_mapping_that_exists_already_is_used(
    array45: World,
) -> None:
    volume = array45.driver.create()
    fail_next(array45, "Volume.addMappedSdc", 81, after_effect=True)
    assert array45.driver.publish(volume, array45.node("a"))
    assert len(array45.volume(volume.volume_id).mappings) == 1


def test_unpublish_looks_up_a_host_again_when_its_id_is_unknown(array45: World) -> None:
    volume = array45.driver.create()
    array45.driver.publish(volume, array45.node("a"))
    fail_next(array45, "Volume.removeMappedSdc", 80)
    array45.driver.unpublish(volume.volume_id, array45.node("a"))
    assert not array45.volume(volume.volume_id).mappings


# --- volumes -------------------------------------------------------------------------------------


def test_a_new_pool_of_the_same_name_is_looked_up(array45: World) -> None:
    array45.driver.create("pvc-warm")
    fail_next(array45, "Volume.create", 142)
    refused(grpc.StatusCode.INVALID_ARGUMENT, array45.driver.create)
    since = array45.simulator.gateway.log.last
    assert array45.driver.create().volume_id
    assert array45.simulator.gateway.log.find(since=since, route="StoragePool.list")


def test_an_id_that_the_gateway_cannot_parse_is_not_found(array45: World) -> None:
    volume = array45.driver.create()
    fail_next(array45, "Volume.get", 0, message="id must be a hexadecimal number (unsigned long)", status=400)
    refused(grpc.StatusCode.NOT_FOUND, lambda: array45.driver.get(volume.volume_id))


@pytest.fixture
def packed(make_world: MakeWorld) -> World:
    """A system with a pool that can compress."""
    pools = (PoolPlan("sp1"), PoolPlan("packed", layout="FineGranularity", compression="Normal"))
    return make_world(SystemPlan(initial_state=InitialState(domains=(DomainPlan(pools=pools),))))


@pytest.mark.parametrize(("provisioning", "method"), [("compressed", "Normal"), ("thin", "None")])
def test_a_volume_is_compressed_when_it_is_requested_and_the_pool_can(
    packed: World, provisioning: str, method: str
) -> None:
    parameters = {"storagepool": "packed", "provisioning": provisioning}
    volume = packed.driver.create(parameters=parameters)
    assert packed.volume(volume.volume_id).compression == method
    assert packed.driver.create(parameters=parameters).volume_id == volume.volume_id


def test_an_unsupported_provisioning_is_refused_with_a_supported_one(packed: World) -> None:
    for pool, provisioning in (("sp1", "compressed"), ("packed", "thick")):
        parameters = {"storagepool": pool, "provisioning": provisioning}
        text = refused(
            grpc.StatusCode.INVALID_ARGUMENT,
            lambda parameters=parameters: packed.driver.create(parameters=parameters),  # type: ignore[misc]  # bound
        )
        assert "use provisioning=thin" in text
    assert not packed.array.volumes


def test_a_deleted_volume_is_created_again(array45: World) -> None:
    first = array45.driver.create()
    array45.driver.delete(first.volume_id)
    second = array45.driver.create()
    assert second.volume_id != first.volume_id
    assert second.volume_id.partition("-")[2] in array45.array.volumes


def test_the_same_copy_with_another_size_exists_already(array45: World) -> None:
    driver = array45.driver
    source = driver.create().volume_id
    assert driver.clone("pvc-copy", source, gib=24).capacity_bytes == 24 * GIB
    for gib, limit in ((32, 0.0), (8, 16.0)):
        refused(
            grpc.StatusCode.ALREADY_EXISTS,
            lambda gib=gib, limit=limit: driver.clone("pvc-copy", source, gib=gib, limit=limit),  # type: ignore[misc]  # bound
        )
    assert len(array45.array.volumes) == 2


def test_an_array_that_cannot_be_reached_is_unavailable(array45: World) -> None:
    array45.driver.create("pvc-warm")
    array45.gateway.stop()
    text = refused(grpc.StatusCode.UNAVAILABLE, array45.driver.create)
    assert "cannot connect" in text


def test_a_call_is_unavailable_when_no_system_answers(pair: World) -> None:
    wanted = either_system(pair)
    pair.driver.create("pvc-warm", accessibility_requirements=wanted)
    for gateway in pair.simulator.gateways:
        gateway.inject(Fault(kind=FaultKind.ERROR, status=503))
    refused(grpc.StatusCode.UNAVAILABLE, lambda: pair.driver.create(accessibility_requirements=wanted))


def test_the_history_of_create_calls_is_limited() -> None:
    history = CreateHistory(max_created=2, max_unknown=2)
    for number in range(3):
        history.record_ungrown("array", f"ungrown-{number}", UngrownCopy(f"id-{number}", 8))
        history.record_created("array", f"created-{number}", f"id-{number}")
        history.record_unknown("array", f"unknown-{number}")
    created = [history.created_id("array", f"created-{number}") for number in range(3)]
    assert created == [None, "id-1", "id-2"]
    ungrown = [history.ungrown("array", f"ungrown-{number}") for number in range(3)]
    assert ungrown == [None, UngrownCopy("id-1", 8), UngrownCopy("id-2", 8)]
    assert [history.may_exist("array", f"unknown-{number}") for number in range(3)] == [False, True, True]


# --- snapshots -----------------------------------------------------------------------------------


def test_a_snapshot_that_was_removed_in_spite_of_an_error_is_deleted(array45: World) -> None:
    snapshot = array45.driver.snapshot(array45.driver.create().volume_id).snapshot_id
    fail_next(array45, "Volume.removeVolume", 9999, after_effect=True)
    array45.driver.delete_snapshot(snapshot)
    assert snapshot.partition("-")[2] not in array45.array.volumes


def test_a_snapshot_that_still_exists_after_an_error_is_not_deleted(array45: World) -> None:
    snapshot = array45.driver.snapshot(array45.driver.create().volume_id).snapshot_id
    fail_next(array45, "Volume.removeVolume", 9999)
    refused(grpc.StatusCode.UNAVAILABLE, lambda: array45.driver.delete_snapshot(snapshot))
    assert snapshot.partition("-")[2] in array45.array.volumes


def test_a_group_that_is_removed_at_the_same_time_is_deleted(array45: World) -> None:
    volumes = [array45.driver.create(name).volume_id for name in ("pvc-1", "pvc-2")]
    request = csi_pb2.CreateVolumeGroupSnapshotRequest(name="group", source_volume_ids=volumes)
    group = array45.driver.group.CreateVolumeGroupSnapshot(request, timeout=30).group_snapshot
    fail_next(array45, "System.removeConsistencyGroupSnapshots", 183, after_effect=True)
    array45.driver.group.DeleteVolumeGroupSnapshot(
        csi_pb2.DeleteVolumeGroupSnapshotRequest(group_snapshot_id=group.group_snapshot_id), timeout=30
    )
    assert len(array45.array.volumes) == 2


# --- what a gateway reports ----------------------------------------------------------------------


def test_a_gateway_of_several_systems_is_refused(array45: World, change_answer: ChangeAnswer) -> None:
    change_answer("System.list", lambda answer: answer * 2)
    assert "lists 2 systems instead of one" in unreadable(array45.driver.create)


def capacity(world: World) -> csi_pb2.GetCapacityResponse:
    return world.driver.controller.GetCapacity(csi_pb2.GetCapacityRequest(), timeout=30)


@pytest.mark.parametrize("limits", [[], [{"type": "volumeSizeGb", "maxVal": "0"}]])
def test_capacity_needs_the_maximum_volume_size(
    array45: World, change_answer: ChangeAnswer, limits: object
) -> None:
    change_answer("System.querySystemLimits", lambda _: {"systemLimitEntryList": limits})
    assert "does not report the limit volumeSizeGb" in unreadable(lambda: capacity(array45))


def test_capacity_needs_the_metrics_of_the_pool(make_world: MakeWorld) -> None:
    world = make_world(SystemPlan("5.0"))
    with changed_answers(world) as change_answer:
        change_answer("metrics", lambda answer: answer | {"resources": []})
        assert "did not report these metrics of a pool: logical_provisioned" in unreadable(
            lambda: capacity(world)
        )


def test_a_pool_with_failed_capacity_makes_its_volumes_inaccessible(
    array45: World, change_answer: ChangeAnswer
) -> None:
    volume = array45.driver.create()
    change_answer("StoragePool.Statistics", lambda answer: answer | {"failedCapacityInKb": 8})
    request = csi_pb2.ControllerGetVolumeHealthRequest(volume_id=volume.volume_id)
    health = array45.driver.controller.ControllerGetVolumeHealth(request, timeout=30).volume_health
    assert [csi_pb2.VolumeHealthErrorType.Name(entry.status) for entry in health.health_statuses] == [
        "INACCESSIBLE"
    ]


def test_a_group_with_a_missing_member_is_an_error(array45: World, change_answer: ChangeAnswer) -> None:
    volumes = [array45.driver.create(name).volume_id for name in ("pvc-1", "pvc-2")]
    change_answer("Volume.queryBySelectedIds", lambda answer: answer[:1])
    request = csi_pb2.CreateVolumeGroupSnapshotRequest(name="group", source_volume_ids=volumes)
    text = unreadable(lambda: array45.driver.group.CreateVolumeGroupSnapshot(request, timeout=30))
    assert "group snapshot group was taken, and then: system array0 does not have volume" in text


def test_a_group_whose_members_have_several_groups_is_an_error(
    array45: World, change_answer: ChangeAnswer
) -> None:
    volumes = [array45.driver.create(name).volume_id for name in ("pvc-1", "pvc-2")]
    change_answer(
        "Volume.queryBySelectedIds",
        lambda answer: [answer[0] | {"consistencyGroupId": "1" * 16}, *answer[1:]],
    )
    request = csi_pb2.CreateVolumeGroupSnapshotRequest(name="group", source_volume_ids=volumes)
    text = unreadable(lambda: array45.driver.group.CreateVolumeGroupSnapshot(request, timeout=30))
    assert "the array shows 2 and not all of them in one group" in text
