"""What the messages say of requests that the array refuses: which object, what was found, what to do."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest

from csi_powerflex.gateway import codes
from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, PoolPlan
from csi_powerflex.simulator.simulator import SystemPlan
from tests.controller.conftest import MakeWorld
from tests.controller.driver import Driver, mount, refused
from tests.controller.world import World

NOT_FOUND = grpc.StatusCode.NOT_FOUND
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED

REMOVED: dict[str, Callable[[World, csi_pb2.Volume], object]] = {
    "ControllerPublishVolume": lambda world, volume: world.driver.publish(volume, world.node("a")),
    "ControllerExpandVolume": lambda world, volume: world.driver.expand(volume.volume_id, gib=16),
    "CreateSnapshot": lambda world, volume: world.driver.snapshot(volume.volume_id),
    "CreateVolume": lambda world, volume: world.driver.clone("pvc-copy", volume.volume_id, gib=8),
    "ControllerModifyVolume": lambda world, volume: world.driver.controller.ControllerModifyVolume(
        csi_pb2.ControllerModifyVolumeRequest(
            volume_id=volume.volume_id, mutable_parameters={"iopsLimit": "100"}
        )
    ),
    "ControllerGetVolume": lambda world, volume: world.driver.controller.ControllerGetVolume(
        csi_pb2.ControllerGetVolumeRequest(volume_id=volume.volume_id)
    ),
    "ValidateVolumeCapabilities": lambda world, volume: world.driver.controller.ValidateVolumeCapabilities(
        csi_pb2.ValidateVolumeCapabilitiesRequest(volume_id=volume.volume_id, volume_capabilities=[mount()])
    ),
}


@pytest.mark.parametrize("call", REMOVED)
def test_a_call_for_a_volume_that_was_removed_at_the_array_names_it(world: World, call: str) -> None:
    volume = world.driver.create()
    world.simulator.gateway.array.volumes.pop(volume.volume_id.partition("-")[2])
    text = refused(NOT_FOUND, lambda: REMOVED[call](world, volume))
    assert volume.volume_id in text
    assert "the array does not have it any more: someone removed it there, or its id is wrong" in text


def small_pool(make_world: MakeWorld) -> World:
    state = InitialState(domains=(DomainPlan(name="pd1", pools=(PoolPlan(name="sp1", raw_gib=512),)),))
    return make_world(SystemPlan(initial_state=state))


FULL: dict[str, Callable[[Driver, csi_pb2.Volume], object]] = {
    "CreateVolume": lambda driver, _: driver.create("pvc-large", gib=4096),
    "ControllerExpandVolume": lambda driver, volume: driver.expand(volume.volume_id, gib=4096),
    "CreateVolume of a copy": lambda driver, volume: driver.clone("pvc-large", volume.volume_id, gib=4096),
}
FULL_NAMES = {
    "CreateVolume": "volume pvc-large (thin, 4 TiB, on the array vtest",
    "ControllerExpandVolume": "4 TiB for volume ",
    "CreateVolume of a copy": "volume pvc-large, a copy of volume ",
}


@pytest.mark.parametrize("call", FULL)
def test_a_full_pool_is_named_with_its_figures(make_world: MakeWorld, call: str) -> None:
    world = small_pool(make_world)
    volume = world.driver.create("pvc-small", gib=8)
    text = refused(EXHAUSTED, lambda: FULL[call](world.driver, volume))
    assert f"no space for {FULL_NAMES[call]}" in text
    assert "free capacity in the pool, add devices to it, or use another pool" in text
    assert "Pool pd1/sp1 has " in text
    assert "are not written; " in text
    assert "8 GiB are provisioned in it, " in text
    assert "the array allows at most " in text


def test_a_snapshot_in_a_full_pool_has_the_pool_and_its_source(array45: World) -> None:
    volume = array45.driver.create()
    array45.simulator.gateway.inject(Fault(kind=FaultKind.ERROR, path="*/action/snapshotVolumes", code=191))
    text = refused(EXHAUSTED, lambda: array45.driver.snapshot(volume.volume_id))
    assert f"of volume {volume.volume_id} (on the array stest" in text
    assert "Pool pd1/sp1 has " in text


def test_without_figures_the_message_for_a_full_pool_is_the_arrays(array45: World) -> None:
    array45.driver.create("pvc-warm")
    faults = array45.simulator.gateway
    faults.inject(Fault(kind=FaultKind.ERROR, method="POST", path="/api/types/Volume/instances", code=346))
    faults.inject(Fault(kind=FaultKind.ERROR, path="*/relationships/Statistics", code=168, status=403))
    text = refused(EXHAUSTED, array45.driver.create)
    assert "(code 346); free capacity in the pool" in text
    assert "are provisioned" not in text


@pytest.mark.parametrize("known", [True, False])
def test_a_size_that_the_array_does_not_have_is_refused_with_its_limit(array45: World, known: bool) -> None:
    array45.driver.create("pvc-warm")
    if not known:
        array45.simulator.gateway.inject(Fault(kind=FaultKind.ERROR, path="*/querySystemLimits", code=28))
    text = refused(grpc.StatusCode.OUT_OF_RANGE, lambda: array45.driver.create("pvc-1", gib=2 << 20))
    assert "volume pvc-1 (thin, 2048 TiB, on the array vtest" in text
    assert ("The largest volume of system array0 has 1024 TiB" in text) is known


def test_an_expansion_beyond_the_arrays_limit_is_refused_with_the_limit(array45: World) -> None:
    volume = array45.driver.create()
    text = refused(grpc.StatusCode.OUT_OF_RANGE, lambda: array45.driver.expand(volume.volume_id, gib=2 << 20))
    assert f"2048 TiB for volume {volume.volume_id} (on the array vtest" in text
    assert "The largest volume of system array0 has 1024 TiB" in text


def test_a_host_with_as_many_volumes_as_allowed_is_named_with_the_volume(array45: World) -> None:
    volume = array45.driver.create()
    array45.simulator.gateway.inject(Fault(kind=FaultKind.ERROR, route="Volume.addMappedSdc", code=303))
    text = refused(EXHAUSTED, lambda: array45.driver.publish(volume, array45.node("a")))
    assert f"refuses to map volume {volume.volume_id} to host a (sdc:" in text
    assert "move pods with volumes to other nodes" in text


def test_a_right_that_the_user_lacks_is_named_with_the_page_that_lists_them(array45: World) -> None:
    array45.driver.create("pvc-warm")
    array45.simulator.gateway.inject(
        Fault(kind=FaultKind.ERROR, method="POST", path="/api/types/Volume/instances", status=403, code=168)
    )
    text = refused(grpc.StatusCode.PERMISSION_DENIED, array45.driver.create)
    assert codes.MORE_RIGHTS in text


def test_each_code_says_what_to_do_unless_the_driver_handles_it() -> None:
    handled = {"NameInUse", "AlreadyMapped", "NotMapped", "VolumeMapped", "MappedElsewhere"}
    handled |= {"HostNotApproved", "TreeFull", "InPoolAlready"}
    silent = {row.symbol for row in codes.CODES if not row.remedy and row.error.__name__ not in handled}
    assert silent == {"NOTHING_TO_DO", "VOL_NOT_FOUND_FOR_SNAP_GROUP"}


def test_a_volume_that_is_in_use_is_named_as_the_array_shows_it(array45: World) -> None:
    volume = array45.driver.create()
    array45.driver.publish(volume, array45.node("a"))
    text = refused(
        grpc.StatusCode.FAILED_PRECONDITION, lambda: array45.driver.publish(volume, array45.node("b"))
    )
    assert f"volume {volume.volume_id} (on the array {array45.volume(volume.volume_id).name}) is" in text


def test_a_request_for_many_volumes_names_the_first_and_the_number_of_the_others(array45: World) -> None:
    ids = [array45.driver.create(f"pvc-{number}").volume_id for number in range(13)]
    array45.simulator.gateway.array.volumes.pop(ids[12].partition("-")[2])
    text = refused(NOT_FOUND, lambda: array45.driver.group_snapshot("group-1", *ids))
    assert f"to take a snapshot of volume {', '.join(ids[:10])} and 3 more: " in text
