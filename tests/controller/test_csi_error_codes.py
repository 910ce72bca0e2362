"""Each outcome that the CSI specification gives a code of its own for controllers (1.13.0, "Errors").

This file is complete, so it has also outcomes that another file tests in more detail.
"""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.message import Message

from csi_powerflex.csi.policy import POLICIES
from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.settings import Settings
from csi_powerflex.simulator.simulator import SystemPlan
from tests.controller.conftest import MakeWorld
from tests.controller.driver import GIB, Driver, Mode, block, mount, refused
from tests.controller.world import World

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
EXISTS = grpc.StatusCode.ALREADY_EXISTS
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
OUT_OF_RANGE = grpc.StatusCode.OUT_OF_RANGE
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
ABORTED = grpc.StatusCode.ABORTED

REQUESTS: dict[str, Message] = {
    "CreateVolume": csi_pb2.CreateVolumeRequest(name="x", volume_capabilities=[mount()]),
    "DeleteVolume": csi_pb2.DeleteVolumeRequest(volume_id="x"),
    "ControllerPublishVolume": csi_pb2.ControllerPublishVolumeRequest(
        volume_id="x", node_id="x", volume_capability=mount()
    ),
    "ControllerUnpublishVolume": csi_pb2.ControllerUnpublishVolumeRequest(volume_id="x"),
    "ValidateVolumeCapabilities": csi_pb2.ValidateVolumeCapabilitiesRequest(
        volume_id="x", volume_capabilities=[mount()]
    ),
    "ControllerGetVolume": csi_pb2.ControllerGetVolumeRequest(volume_id="x"),
    "ControllerGetVolumeHealth": csi_pb2.ControllerGetVolumeHealthRequest(volume_id="x"),
    "ControllerExpandVolume": csi_pb2.ControllerExpandVolumeRequest(
        volume_id="x", capacity_range=csi_pb2.CapacityRange(required_bytes=GIB)
    ),
    "ControllerModifyVolume": csi_pb2.ControllerModifyVolumeRequest(
        volume_id="x", mutable_parameters={"iopsLimit": "500"}
    ),
    "CreateSnapshot": csi_pb2.CreateSnapshotRequest(name="x", source_volume_id="x"),
    "DeleteSnapshot": csi_pb2.DeleteSnapshotRequest(snapshot_id="x"),
    "GetSnapshot": csi_pb2.GetSnapshotRequest(snapshot_id="x"),
    "CreateVolumeGroupSnapshot": csi_pb2.CreateVolumeGroupSnapshotRequest(name="x", source_volume_ids=["x"]),
    "DeleteVolumeGroupSnapshot": csi_pb2.DeleteVolumeGroupSnapshotRequest(group_snapshot_id="x"),
    "GetVolumeGroupSnapshot": csi_pb2.GetVolumeGroupSnapshotRequest(group_snapshot_id="x"),
}


def call(driver: Driver, rpc: str, request: Message) -> Message:
    stub = driver.group if "Group" in rpc else driver.controller
    answer: Message = getattr(stub, rpc)(request, timeout=30)
    return answer


# --- every call ----------------------------------------------------------------------------------------


def test_each_missing_field_is_invalid_before_any_gateway_request(array45: World) -> None:
    tried = 0
    for rpc, complete in REQUESTS.items():
        for field, _ in complete.ListFields():
            request = type(complete)()
            request.CopyFrom(complete)
            request.ClearField(field.name)
            text = refused(INVALID, lambda rpc=rpc, request=request: call(array45.driver, rpc, request))  # type: ignore[misc]  # bound by default
            assert field.name in text, rpc
            tried += 1
    assert tried == sum(len(POLICIES[rpc].required) for rpc in REQUESTS)
    assert not array45.simulator.gateway.log.find()


@pytest.mark.parametrize(
    "rpc",
    [
        "ControllerPublishVolume",
        "ValidateVolumeCapabilities",
        "ControllerGetVolume",
        "ControllerGetVolumeHealth",
        "ControllerExpandVolume",
        "ControllerModifyVolume",
        "CreateSnapshot",
        "GetSnapshot",
        "CreateVolumeGroupSnapshot",
        "GetVolumeGroupSnapshot",
    ],
)
def test_an_object_with_an_invalid_id_is_not_found(array45: World, rpc: str) -> None:
    assert "'x' does not exist" in refused(NOT_FOUND, lambda: call(array45.driver, rpc, REQUESTS[rpc]))


@pytest.mark.parametrize(
    "rpc", ["DeleteVolume", "ControllerUnpublishVolume", "DeleteSnapshot", "DeleteVolumeGroupSnapshot"]
)
def test_an_object_with_an_invalid_id_is_already_deleted(array45: World, rpc: str) -> None:
    call(array45.driver, rpc, REQUESTS[rpc])
    assert not array45.simulator.gateway.log.find()


@pytest.mark.parametrize(
    ("rpc", "request_"),
    [
        ("ListVolumes", csi_pb2.ListVolumesRequest(max_entries=-1)),
        ("ListSnapshots", csi_pb2.ListSnapshotsRequest(max_entries=-1)),
        ("ControllerListVolumeHealth", csi_pb2.ControllerListVolumeHealthRequest(max_entries=-1)),
    ],
)
def test_a_negative_number_of_entries_is_invalid(array45: World, rpc: str, request_: Message) -> None:
    assert "max_entries" in refused(INVALID, lambda: call(array45.driver, rpc, request_))


@pytest.mark.parametrize(
    ("rpc", "request_"),
    [
        ("ListVolumes", csi_pb2.ListVolumesRequest(starting_token="x")),
        ("ListSnapshots", csi_pb2.ListSnapshotsRequest(starting_token="x")),
        ("ControllerListVolumeHealth", csi_pb2.ControllerListVolumeHealthRequest(starting_token="x")),
    ],
)
def test_an_unknown_token_is_aborted(array45: World, rpc: str, request_: Message) -> None:
    refused(ABORTED, lambda: call(array45.driver, rpc, request_))


# --- CreateVolume --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["snapshot", "volume"])
def test_create_from_a_source_that_does_not_exist_is_not_found(driver: Driver, kind: str) -> None:
    deleted = driver.create("pvc-deleted").volume_id
    driver.delete(deleted)
    copy = driver.restore if kind == "snapshot" else driver.clone
    refused(NOT_FOUND, lambda: copy("pvc-copy", deleted))


def test_create_with_an_unknown_parameter_is_invalid(driver: Driver) -> None:
    text = refused(INVALID, lambda: driver.create(parameters={"storagePol": "sp1"}))
    assert "storagepool" in text
    refused(INVALID, lambda: driver.create(mutable_parameters={"XXX_FakeKey": "1"}))


def test_create_of_a_name_that_has_another_size_source_or_provisioning_exists_already(driver: Driver) -> None:
    first = driver.create("pvc-1", gib=16)
    refused(EXISTS, lambda: driver.create("pvc-1", gib=24))
    refused(EXISTS, lambda: driver.create("pvc-1", gib=8, limit=8))
    other = driver.create("pvc-other", gib=16)
    refused(EXISTS, lambda: driver.clone("pvc-1", other.volume_id))
    driver.clone("pvc-copy", first.volume_id)
    refused(EXISTS, lambda: driver.clone("pvc-copy", other.volume_id))
    refused(EXISTS, lambda: driver.create("pvc-copy", gib=16))


def test_create_with_no_size_within_the_limits_is_out_of_range(driver: Driver) -> None:
    refused(OUT_OF_RANGE, lambda: driver.create(gib=1, limit=0.5))
    refused(OUT_OF_RANGE, lambda: driver.create(gib=1024 * 1024 + 1))


def test_create_without_free_capacity_or_reachable_system_is_resource_exhausted(
    world: World, driver: Driver
) -> None:
    nowhere = csi_pb2.TopologyRequirement(
        requisite=[csi_pb2.Topology(segments={"csi.powerflex.dev/0000000000000000": "true"})]
    )
    refused(EXHAUSTED, lambda: driver.create(accessibility_requirements=nowhere))
    world.simulator.gateway.set_full("sp1", full=True)
    refused(EXHAUSTED, driver.create)


# --- DeleteVolume --------------------------------------------------------------------------------------


def test_delete_of_a_volume_in_use_is_refused_and_changes_nothing(world: World, driver: Driver) -> None:
    volume = driver.create()
    driver.publish(volume, world.node("a"))
    before = world.volume(volume.volume_id)
    refused(PRECONDITION, lambda: driver.delete(volume.volume_id))
    assert world.volume(volume.volume_id) == before


def test_delete_of_a_volume_keeps_its_snapshots(world: World, driver: Driver) -> None:
    """The specification allows to refuse it. PowerFlex keeps the snapshots of a removed volume."""
    volume = driver.create()
    snapshot = driver.snapshot(volume.volume_id)
    driver.delete(volume.volume_id)
    request = csi_pb2.GetSnapshotRequest(snapshot_id=snapshot.snapshot_id)
    assert driver.controller.GetSnapshot(request, timeout=30).snapshot.ready_to_use
    assert driver.restore("pvc-restored", snapshot.snapshot_id).volume_id


# --- ControllerPublishVolume and ControllerUnpublishVolume ---------------------------------------------


def test_publish_of_an_unknown_volume_or_to_an_unknown_node_is_not_found(
    world: World, driver: Driver
) -> None:
    volume = driver.create()
    unknown = "sdc:00000000-0000-0000-0000-000000000000"
    assert unknown.removeprefix("sdc:") in refused(NOT_FOUND, lambda: driver.publish(volume, unknown)).lower()
    driver.delete(volume.volume_id)
    refused(NOT_FOUND, lambda: driver.publish(volume, world.node("a")))


def test_publish_again_with_another_access_exists_already(world: World, driver: Driver) -> None:
    volume = driver.create()
    driver.publish(volume, world.node("a"))
    refused(EXISTS, lambda: driver.publish(volume, world.node("a"), readonly=True))


def test_publish_to_a_second_node_is_refused_with_the_name_of_the_first(world: World, driver: Driver) -> None:
    volume = driver.create()
    driver.publish(volume, world.node("a"))
    text = refused(PRECONDITION, lambda: driver.publish(volume, world.node("b")))
    assert "is mapped to a (host id" in text


def test_publish_to_a_full_node_is_resource_exhausted(make_world: MakeWorld) -> None:
    world = make_world(settings=Settings(max_volumes_per_host=1))
    first, second = world.driver.create("pvc-1"), world.driver.create("pvc-2")
    world.driver.publish(first, world.node("a"))
    refused(EXHAUSTED, lambda: world.driver.publish(second, world.node("a")))


def test_unpublish_of_an_unpublished_or_deleted_volume_succeeds(world: World, driver: Driver) -> None:
    volume = driver.create()
    driver.unpublish(volume.volume_id, world.node("a"))
    driver.unpublish(volume.volume_id, "sdc:00000000-0000-0000-0000-000000000000")
    driver.unpublish(volume.volume_id)
    driver.delete(volume.volume_id)
    driver.unpublish(volume.volume_id, world.node("a"))


def test_unpublish_fails_if_its_result_is_unknown(world: World, driver: Driver) -> None:
    volume = driver.create()
    driver.publish(volume, world.node("a"))
    world.simulator.gateway.inject(Fault(kind=FaultKind.ERROR, status=503))
    request = csi_pb2.ControllerUnpublishVolumeRequest(volume_id=volume.volume_id, node_id=world.node("a"))
    refused(
        grpc.StatusCode.UNAVAILABLE, lambda: driver.controller.ControllerUnpublishVolume(request, timeout=3)
    )
    assert world.volume(volume.volume_id).mappings


# --- ValidateVolumeCapabilities ------------------------------------------------------------------------


def test_validate_confirms_all_that_was_requested(driver: Driver) -> None:
    volume = driver.create()
    request = csi_pb2.ValidateVolumeCapabilitiesRequest(
        volume_id=volume.volume_id,
        volume_context=volume.volume_context,
        volume_capabilities=[mount(), block(Mode.MULTI_NODE_MULTI_WRITER)],
        parameters={"storagepool": "sp1"},
        mutable_parameters={"iopsLimit": "500"},
    )
    confirmed = driver.controller.ValidateVolumeCapabilities(request, timeout=30).confirmed
    assert list(confirmed.volume_capabilities) == list(request.volume_capabilities)
    assert confirmed.volume_context == request.volume_context
    assert confirmed.parameters == request.parameters
    assert confirmed.mutable_parameters == request.mutable_parameters


def test_validate_of_an_unsupported_use_has_no_confirmation_and_a_reason(driver: Driver) -> None:
    volume = driver.create()
    answer = driver.validate(volume.volume_id, mount(Mode.MULTI_NODE_MULTI_WRITER))
    assert not answer.HasField("confirmed")
    assert answer.message
    for wrong in ({"parameters": {"storagepol": "x"}}, {"mutable_parameters": {"iopsLimit": "3"}}):
        request = csi_pb2.ValidateVolumeCapabilitiesRequest(
            volume_id=volume.volume_id,
            volume_capabilities=[mount()],
            **wrong,
        )
        answer = driver.controller.ValidateVolumeCapabilities(request, timeout=30)
        assert not answer.HasField("confirmed")
        assert answer.message


def test_validate_of_a_snapshot_for_writing_is_not_confirmed(array45: World) -> None:
    snapshot = array45.driver.snapshot(array45.driver.create().volume_id)
    assert "read-only on the array" in array45.driver.validate(snapshot.snapshot_id).message
    reading = block(Mode.MULTI_NODE_READER_ONLY)
    assert array45.driver.validate(snapshot.snapshot_id, reading).HasField("confirmed")


# --- snapshots -----------------------------------------------------------------------------------------


def test_a_snapshot_name_that_another_source_has_exists_already(driver: Driver) -> None:
    first, second = driver.create("pvc-1"), driver.create("pvc-2")
    driver.snapshot(first.volume_id)
    refused(EXISTS, lambda: driver.snapshot(second.volume_id))


def test_snapshot_in_a_full_tree_is_resource_exhausted(make_world: MakeWorld) -> None:
    world = make_world(SystemPlan(settings=Settings(max_snapshots_per_vtree=1)))
    volume = world.driver.create().volume_id
    world.driver.snapshot(volume, "snapshot-1")
    refused(EXHAUSTED, lambda: world.driver.snapshot(volume, "snapshot-2"))


def test_snapshot_that_is_mapped_is_not_deleted(array45: World) -> None:
    snapshot = array45.driver.snapshot(array45.driver.create().volume_id).snapshot_id
    array45.driver.publish(snapshot, array45.node("a"), block(Mode.MULTI_NODE_READER_ONLY))
    refused(PRECONDITION, lambda: array45.driver.delete_snapshot(snapshot))


# --- expand and modify ---------------------------------------------------------------------------------


def test_expand_of_a_larger_volume_returns_its_real_size(driver: Driver) -> None:
    volume = driver.create(gib=16)
    assert driver.expand(volume.volume_id, gib=8).capacity_bytes == 16 * GIB


def test_expand_with_no_size_within_the_limits_is_out_of_range(driver: Driver) -> None:
    volume = driver.create(gib=16)
    refused(OUT_OF_RANGE, lambda: driver.expand(volume.volume_id, gib=8, limit=8))
    refused(OUT_OF_RANGE, lambda: driver.expand(volume.volume_id, gib=1024 * 1024 + 1))
    assert "negative" in refused(OUT_OF_RANGE, lambda: driver.expand(volume.volume_id, gib=-8))
    assert "negative" in refused(OUT_OF_RANGE, lambda: driver.expand(volume.volume_id, gib=8, limit=-8))


def test_modify_with_an_unknown_key_is_invalid(driver: Driver) -> None:
    volume = driver.create().volume_id
    assert "iopsLimit" in refused(INVALID, lambda: driver.modify(volume, iopsLimits="500"))


# --- groups --------------------------------------------------------------------------------------------


def test_delete_and_get_of_a_group_with_another_snapshot_is_invalid(driver: Driver) -> None:
    volumes = [driver.create(f"pvc-{number}").volume_id for number in range(2)]
    request = csi_pb2.CreateVolumeGroupSnapshotRequest(name="group-1", source_volume_ids=volumes)
    group = driver.group.CreateVolumeGroupSnapshot(request, timeout=30).group_snapshot
    other = driver.snapshot(volumes[0]).snapshot_id
    ids = {"group_snapshot_id": group.group_snapshot_id, "snapshot_ids": [other]}
    for kind in (csi_pb2.DeleteVolumeGroupSnapshotRequest, csi_pb2.GetVolumeGroupSnapshotRequest):
        request_ = kind(**ids)  # type: ignore[arg-type]  # text and texts
        name = kind.DESCRIPTOR.name.removesuffix("Request")
        assert other in refused(INVALID, lambda name=name, request_=request_: call(driver, name, request_))  # type: ignore[misc]  # bound by default
