"""A final error leaves nothing on the array, and a repeated call finds what an earlier one has created."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from csi_powerflex import names as names_module
from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.model import Volume
from tests.controller.driver import GIB, Driver, Mode, block, outcome, refused
from tests.controller.eventually import eventually
from tests.controller.final_codes import FinalCodes
from tests.controller.interruption import KilledController, KillTime
from tests.controller.world import World

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
NOT_FOUND = grpc.StatusCode.NOT_FOUND
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
OUT_OF_RANGE = grpc.StatusCode.OUT_OF_RANGE
PETABYTES = 2 * 1024 * 1024

COPY_ROUTES = ("System.snapshotVolumes", "System.createThinClone")


def inject(
    world: World, route: str, code: int = 0, *, kind: FaultKind = FaultKind.ERROR, **more: object
) -> int:
    """Let requests of ``route`` fail."""
    return world.simulator.gateway.inject(Fault(kind=kind, route=route, code=code, **more))  # type: ignore[arg-type]  # of a fault


def names(world: World) -> set[str | None]:
    return {volume.name for volume in world.array.volumes.values()}


def copier(driver: Driver, kind: str) -> Callable[..., csi_pb2.Volume]:
    """Makes copies of one new source of 8 GiB."""
    volume = driver.create("pvc-source").volume_id
    snapshot = driver.snapshot(volume).snapshot_id

    def copy(
        name: str = "pvc-copy", *, by: Driver = driver, gib: float = 16, **more: float
    ) -> csi_pb2.Volume:
        if kind == "snapshot":
            return by.restore(name, snapshot, gib=gib, **more)
        return by.clone(name, volume, gib=gib, **more)

    return copy


each_source = pytest.mark.parametrize("kind", ["snapshot", "volume"])


# --- sizes ---------------------------------------------------------------------------------------------


@each_source
def test_a_size_that_no_volume_can_have_is_refused_before_a_copy_is_created(
    world: World, driver: Driver, kind: str
) -> None:
    copy = copier(driver, kind)
    before = names(world)
    text = refused(OUT_OF_RANGE, lambda: copy(gib=PETABYTES))
    assert "2 PiB" in text or "2048 TiB" in text
    assert names(world) == before
    for route in COPY_ROUTES:
        assert len(world.simulator.gateway.log.find(route=route)) <= 1


FINAL = {
    309: EXHAUSTED,
    346: EXHAUSTED,
    190: OUT_OF_RANGE,
    225: OUT_OF_RANGE,
    64: grpc.StatusCode.INVALID_ARGUMENT,
    58: grpc.StatusCode.PERMISSION_DENIED,
    86: grpc.StatusCode.FAILED_PRECONDITION,
}


@each_source
@pytest.mark.parametrize("code", FINAL)
def test_a_copy_that_the_array_does_not_grow_is_removed(
    world: World, driver: Driver, kind: str, code: int
) -> None:
    copy = copier(driver, kind)
    before = names(world)
    inject(world, "Volume.setVolumeSize", code, times=2)
    for _ in range(2):
        refused(FINAL[code], copy)
        assert names(world) == before
    assert copy().capacity_bytes == 16 * GIB


def test_a_copy_that_is_not_grown_for_now_is_kept_and_grown_by_the_repeated_call(
    world: World, driver: Driver
) -> None:
    copy = copier(driver, "snapshot")
    inject(world, "Volume.setVolumeSize", 28, times=1)
    refused(grpc.StatusCode.ABORTED, copy)
    found = copy()
    assert found.capacity_bytes == 16 * GIB
    assert len(world.array.volumes) == 3


@pytest.mark.parametrize("code", [309, 190, 79])
def test_a_copy_that_an_earlier_call_created_is_not_removed(world: World, driver: Driver, code: int) -> None:
    """Another controller may answer OK for it. So the error is one after which the call is repeated."""
    copy = copier(driver, "snapshot")
    inject(world, "Volume.setVolumeSize", 28, times=1)
    refused(grpc.StatusCode.ABORTED, copy)
    inject(world, "Volume.setVolumeSize", code, times=1)
    assert "created by an earlier call" in refused(UNAVAILABLE, copy)
    assert len(world.array.volumes) == 3
    assert copy().capacity_bytes == 16 * GIB
    assert len(world.array.volumes) == 3


def test_a_copy_of_an_earlier_call_stays_when_its_growth_has_no_answer(world: World, driver: Driver) -> None:
    copy = copier(driver, "snapshot")
    inject(world, "Volume.setVolumeSize", 28, times=2)
    for _ in range(2):
        refused(grpc.StatusCode.ABORTED, copy)
    assert copy().capacity_bytes == 16 * GIB
    assert len(world.array.volumes) == 3


@pytest.mark.parametrize("route", ["Volume.setVolumeName", "Volume.get", "Volume.removeVolume"])
@pytest.mark.parametrize("after_effect", [False, True])
def test_a_removal_that_is_interrupted_is_completed_by_the_repeated_call(
    array45: World, route: str, *, after_effect: bool
) -> None:
    copy = copier(array45.driver, "volume")
    inject(array45, "Volume.setVolumeSize", 309, times=1)
    # The source is read first.
    skip = 1 if route == "Volume.get" else 0
    inject(array45, route, status=500, times=1, after_effect=after_effect, skip=skip)
    assert "it was not removed" in refused(UNAVAILABLE, copy)
    assert copy().capacity_bytes == 16 * GIB
    assert len(array45.array.volumes) == 3


def test_a_removal_goes_on_when_the_array_says_that_the_copy_has_its_new_name(array45: World) -> None:
    copy = copier(array45.driver, "volume")
    inject(array45, "Volume.setVolumeSize", 309, times=1)
    inject(array45, "Volume.setVolumeName", 99, times=1)
    refused(EXHAUSTED, copy)
    assert len(array45.array.volumes) == 2


@pytest.mark.parametrize("code", [79, 88])
def test_a_copy_that_is_removed_while_it_is_grown_is_created_again(array45: World, code: int) -> None:
    copy = copier(array45.driver, "volume")
    inject(array45, "Volume.setVolumeSize", code, times=1)
    assert "has grown or removed it" in refused(UNAVAILABLE, copy)
    assert copy().capacity_bytes == 16 * GIB
    assert len(array45.array.volumes) == 3


# --- two controllers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["Volume.setVolumeSize", "Volume.setVolumeName", "Volume.removeVolume"])
def test_a_copy_that_another_controller_answered_for_is_never_removed(array45: World, route: str) -> None:
    """The other controller answers while the first one, whose copy cannot be grown, waits at this request."""
    copy, gateway, other = copier(array45.driver, "volume"), array45.simulator.gateway, array45.another()
    refusing = inject(array45, "Volume.setVolumeSize", 309, times=1)
    frozen = inject(array45, route, kind=FaultKind.FREEZE, times=1)
    with ThreadPoolExecutor(1) as caller:
        first = caller.submit(outcome, copy)
        eventually(lambda: gateway.faults.struck(frozen) == 1)
        assert gateway.faults.struck(refusing) == 1
        answered = copy(by=other)
        gateway.faults.remove(frozen)
        assert first.result(timeout=60) in (UNAVAILABLE, grpc.StatusCode.OK)
    assert array45.volume(answered.volume_id).size_kb * 1024 == 16 * GIB
    assert copy() == answered
    assert copy(by=other) == answered
    assert len(array45.array.volumes) == 3


def test_a_copy_that_is_being_removed_is_not_answered_for(array45: World) -> None:
    """The other controller has found the copy, and grows it after it got the name of the removal."""
    copy, gateway, other = copier(array45.driver, "volume"), array45.simulator.gateway, array45.another()
    refusing = inject(array45, "Volume.setVolumeSize", 309, times=1)
    naming = inject(array45, "Volume.setVolumeName", kind=FaultKind.FREEZE, times=1)
    growing = inject(array45, "Volume.setVolumeSize", kind=FaultKind.FREEZE, skip=1, times=1)
    removing = inject(array45, "Volume.removeVolume", kind=FaultKind.FREEZE, times=1)
    with ThreadPoolExecutor(2) as caller:
        first = caller.submit(outcome, copy)
        eventually(lambda: gateway.faults.struck(naming) == 1)
        second = caller.submit(outcome, lambda: copy(by=other))
        eventually(lambda: gateway.faults.struck(growing) == 1)
        gateway.faults.remove(naming)
        eventually(lambda: gateway.faults.struck(removing) == 1)
        gateway.faults.remove(growing)
        assert second.result(timeout=60) is UNAVAILABLE
        gateway.faults.remove(removing)
        assert first.result(timeout=60) in (EXHAUSTED, UNAVAILABLE)
    assert gateway.faults.struck(refusing) == 1
    assert copy(by=other) == copy()
    assert len(array45.array.volumes) == 3


def test_a_copy_that_got_the_name_of_the_removal_while_it_was_looked_for_is_not_answered_for(
    array45: World,
) -> None:
    """The other controller has the id of the copy, and reads it after it got the name of the removal."""
    copy, gateway, other = copier(array45.driver, "volume"), array45.simulator.gateway, array45.another()
    inject(array45, "Volume.setVolumeSize", 309, times=1)
    naming = inject(array45, "Volume.setVolumeName", kind=FaultKind.FREEZE, times=1)
    removing = inject(array45, "Volume.removeVolume", kind=FaultKind.FREEZE, times=1)
    with ThreadPoolExecutor(2) as caller:
        first = caller.submit(outcome, copy)
        eventually(lambda: gateway.faults.struck(naming) == 1)
        # The source is read first.
        reading = inject(array45, "Volume.get", kind=FaultKind.FREEZE, skip=1, times=1)
        second = caller.submit(outcome, lambda: copy(by=other))
        eventually(lambda: gateway.faults.struck(reading) == 1)
        gateway.faults.remove(naming)
        eventually(lambda: gateway.faults.struck(removing) == 1)
        gateway.faults.remove(reading)
        assert second.result(timeout=60) is UNAVAILABLE
        gateway.faults.remove(removing)
        assert first.result(timeout=60) is EXHAUSTED
    assert copy(by=other) == copy()
    assert len(array45.array.volumes) == 3


def test_two_controllers_that_remove_the_same_copy_answer_with_one_volume(array45: World) -> None:
    """The other controller removes what the first one is about to remove, and creates a copy, for both."""
    copy, gateway, other = copier(array45.driver, "volume"), array45.simulator.gateway, array45.another()
    inject(array45, "Volume.setVolumeSize", 309, times=1)
    removing = inject(array45, "Volume.removeVolume", kind=FaultKind.FREEZE, times=1)
    with ThreadPoolExecutor(1) as caller:
        first = caller.submit(copy)
        eventually(lambda: gateway.faults.struck(removing) == 1)
        answered = copy(by=other)
        assert len(array45.array.volumes) == 3
        gateway.faults.remove(removing)
        assert first.result(timeout=60) == answered
    assert copy() == answered
    assert len(array45.array.volumes) == 3


def test_a_copy_that_was_grown_keeps_its_id_when_its_name_is_taken_meanwhile(array45: World) -> None:
    copy, gateway, other = copier(array45.driver, "volume"), array45.simulator.gateway, array45.another()
    inject(array45, "Volume.setVolumeSize", 309, times=1)
    naming = inject(array45, "Volume.setVolumeName", kind=FaultKind.FREEZE, times=1)
    inject(array45, "Volume.setVolumeName", 99, times=1, skip=1)
    with ThreadPoolExecutor(1) as caller:
        first = caller.submit(outcome, copy)
        eventually(lambda: gateway.faults.struck(naming) == 1)
        answered = copy(by=other)
        gateway.faults.remove(naming)
        assert first.result(timeout=60) is UNAVAILABLE
    assert array45.volume(answered.volume_id).size_kb * 1024 == 16 * GIB


# --- a controller that is killed between renaming and removal of a copy -----------------------------------


@pytest.fixture
def left(array45: World) -> Left:
    return Left(array45)


class Left:
    """Leaves a copy that cannot be grown, by killing a controller. The world's own one repeats the call."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.copy = copier(world.driver, "volume")
        self.before = names(world)

    def leave(self, when: KillTime = KillTime.AFTER) -> Volume:
        """Kill a controller after it has renamed its copy, or before it removes it. Returns the copy."""
        route = {KillTime.AFTER: "Volume.setVolumeName", KillTime.BEFORE: "Volume.removeVolume"}[when]
        position = self._position(route)
        inject(self.world, "Volume.setVolumeSize", 309, times=1)
        with self._controller(position, when) as controller:
            assert controller.was_killed_in(lambda driver: self.copy(by=driver))
        (found,) = (volume for volume in self.volumes() if volume.name not in self.before)
        assert names_module.belongs_to(found.name, "test")
        return found

    def _position(self, route: str) -> int:
        """The position of the request in the call of a new controller."""
        inject(self.world, "Volume.setVolumeSize", 309, times=1)
        log = self.world.simulator.gateway.log
        with self._controller(1000, KillTime.BEFORE) as controller, log.watching() as requests:
            assert not controller.was_killed_in(
                lambda driver: refused(EXHAUSTED, lambda: self.copy(by=driver))
            )
        assert names(self.world) == self.before
        return [entry.route for entry in requests].index(route)

    def _controller(self, position: int, when: KillTime) -> KilledController:
        return KilledController(self.world.settings("killed.sock"), self.world.folder, position, when)

    def repeat(self, code: grpc.StatusCode, **more: float) -> None:
        """Repeat the call, which fails with ``code``. The array is not compared: what is left is removed."""
        with contextlib.closing(Driver(self.world.folder / "csi.sock")) as driver:
            refused(code, lambda: self.copy(by=driver, **more))

    def volumes(self) -> list[Volume]:
        return list(self.world.array.volumes.values())


@pytest.mark.parametrize("when", KillTime)
def test_the_repeated_call_removes_what_a_killed_controller_left(left: Left, when: KillTime) -> None:
    left.leave(when)
    inject(left.world, "Volume.setVolumeSize", 309, times=1)
    left.repeat(EXHAUSTED)
    assert names(left.world) == left.before


def test_a_repeated_call_that_succeeds_removes_what_a_killed_controller_left(left: Left) -> None:
    found = left.leave()
    made = left.copy()
    assert made.capacity_bytes == 16 * GIB
    assert found.id not in left.world.array.volumes
    assert len(left.volumes()) == len(left.before) + 1


def test_a_repeated_call_of_an_impossible_size_removes_what_a_killed_controller_left(left: Left) -> None:
    left.leave()
    left.repeat(OUT_OF_RANGE, gib=PETABYTES)
    assert names(left.world) == left.before


def test_what_is_left_and_removed_meanwhile_is_no_error(left: Left) -> None:
    left.leave()
    inject(left.world, "Volume.removeVolume", 79, times=1)
    assert left.copy().capacity_bytes == 16 * GIB


def test_what_is_left_and_mapped_is_kept(left: Left) -> None:
    """An operator may have mapped it. Copies that cannot be grown later get another name."""
    found = left.leave()
    left.world.driver.publish(f"{left.world.array.system.id}-{found.id}", left.world.node("a"))
    inject(left.world, "Volume.setVolumeSize", 309, times=1)
    refused(EXHAUSTED, left.copy)
    assert names(left.world) == left.before | {found.name}
    assert len(found.mappings) == 1


def test_what_is_left_and_grown_gets_its_name_back(left: Left) -> None:
    """Another controller has grown it and answered for it, before the killed one gave it its name back."""
    found = left.leave()
    found.size_kb = 16 * GIB // 1024
    assert left.copy().volume_id.endswith(found.id)
    assert len(left.volumes()) == len(left.before) + 1


def test_a_copy_of_another_source_is_not_taken_for_what_is_left(left: Left) -> None:
    found = left.leave()
    found.ancestor_id = left.world.driver.create("pvc-other").volume_id.partition("-")[2]
    assert left.copy().capacity_bytes == 16 * GIB
    assert found.id in left.world.array.volumes


def test_a_copy_is_kept_while_other_volumes_have_every_name_for_its_removal(array45: World) -> None:
    copy = copier(array45.driver, "volume")
    inject(array45, "Volume.setVolumeSize", 309, times=1)
    inject(array45, "Volume.setVolumeName", 99, times=2)
    assert "it was not removed: other volumes have the names" in refused(UNAVAILABLE, copy)
    assert copy().capacity_bytes == 16 * GIB
    assert len(array45.array.volumes) == 3


# --- what an earlier call created ------------------------------------------------------------------------


@each_source
@pytest.mark.parametrize("gib", [8, 16])
def test_a_copy_is_found_after_its_source_was_deleted(
    world: World, driver: Driver, kind: str, gib: int
) -> None:
    source = driver.create("pvc-source").volume_id
    if kind == "snapshot":
        source = driver.snapshot(source).snapshot_id

    def copy(driver: Driver = driver) -> csi_pb2.Volume:
        make = driver.restore if kind == "snapshot" else driver.clone
        return make("pvc-copy", source, gib=gib)

    for route in COPY_ROUTES:
        inject(world, route, kind=FaultKind.LOST_REPLY, times=1)
    refused(UNAVAILABLE, copy)
    if kind == "snapshot":
        driver.delete_snapshot(source)
    else:
        driver.delete(source)
    found = copy()
    assert found.capacity_bytes == gib * GIB
    assert dict(found.volume_context) == {"origin": "copy"}
    assert copy(world.restart()) == found
    assert world.volume(found.volume_id).size_kb * 1024 == gib * GIB


def test_a_copy_is_found_if_its_source_is_deleted_while_the_call_runs(array45: World) -> None:
    driver = array45.driver
    source = driver.create("pvc-source").volume_id
    inject(array45, "System.snapshotVolumes", kind=FaultKind.LOST_REPLY, times=1)
    refused(UNAVAILABLE, lambda: driver.clone("pvc-copy", source))
    frozen = inject(array45, "System.snapshotVolumes", kind=FaultKind.FREEZE, times=1)
    with ThreadPoolExecutor(1) as caller:
        call = caller.submit(driver.clone, "pvc-copy", source)
        eventually(lambda: array45.simulator.gateway.faults.struck(frozen) == 1)
        driver.delete(source)
        array45.simulator.gateway.faults.remove(frozen)
        assert call.result(timeout=60).capacity_bytes == 8 * GIB
    assert len(array45.array.volumes) == 1


def test_a_volume_that_is_no_copy_of_the_missing_source_is_not_taken_for_one(driver: Driver) -> None:
    first, missing = driver.create("pvc-1").volume_id, driver.create("pvc-missing").volume_id
    driver.clone("pvc-copy", first)
    driver.delete(missing)
    for name in ("pvc-1", "pvc-copy", "pvc-new"):
        refused(NOT_FOUND, lambda name=name: driver.clone(name, missing))  # type: ignore[misc]  # bound


def test_a_found_copy_of_a_missing_source_must_have_a_size_within_the_limits(driver: Driver) -> None:
    source = driver.create("pvc-source").volume_id
    driver.clone("pvc-copy", source, gib=16)
    driver.delete(source)
    refused(grpc.StatusCode.ALREADY_EXISTS, lambda: driver.clone("pvc-copy", source, limit=8))


@pytest.mark.parametrize("cloned", [False, True], ids=["of a volume", "of a clone"])
def test_a_snapshot_is_found_after_its_source_was_deleted(
    world: World, driver: Driver, *, cloned: bool
) -> None:
    source = driver.create("pvc-source").volume_id
    if cloned:
        source = driver.clone("pvc-clone", source).volume_id
    first = driver.snapshot(source, "snapshot-1")
    driver.delete(source)
    assert driver.snapshot(source, "snapshot-1").snapshot_id == first.snapshot_id
    assert world.restart().snapshot(source, "snapshot-1").snapshot_id == first.snapshot_id
    refused(NOT_FOUND, lambda: world.driver.snapshot(source, "snapshot-2"))


def test_a_snapshot_of_another_volume_is_not_taken_for_one_of_the_missing_source(driver: Driver) -> None:
    other, missing = driver.create("pvc-1").volume_id, driver.create("pvc-missing").volume_id
    driver.snapshot(other, "snapshot-1")
    driver.delete(missing)
    refused(NOT_FOUND, lambda: driver.snapshot(missing, "snapshot-1"))


def test_an_orphaned_snapshot_is_not_one_of_a_source_that_exists(driver: Driver) -> None:
    other, missing = driver.create("pvc-1").volume_id, driver.create("pvc-missing").volume_id
    driver.snapshot(missing, "snapshot-1")
    driver.delete(missing)
    refused(grpc.StatusCode.ALREADY_EXISTS, lambda: driver.snapshot(other, "snapshot-1"))


def test_a_group_is_found_after_one_of_its_sources_was_deleted(world: World, driver: Driver) -> None:
    sources = [driver.create(f"pvc-{number}").volume_id for number in range(3)]
    first = driver.group_snapshot("group-1", *sources)
    driver.delete(sources[1])
    again = driver.group_snapshot("group-1", *sources)
    assert again.group_snapshot_id == first.group_snapshot_id
    assert [item.snapshot_id for item in again.snapshots] == [item.snapshot_id for item in first.snapshots]
    refused(NOT_FOUND, lambda: driver.group_snapshot("group-2", *sources))
    assert len(world.array.volumes) == 5


def test_a_group_of_other_volumes_is_not_taken_for_one_of_the_missing_source(driver: Driver) -> None:
    sources = [driver.create(f"pvc-{number}").volume_id for number in range(3)]
    driver.group_snapshot("group-1", *sources[:2])
    driver.delete(sources[2])
    refused(NOT_FOUND, lambda: driver.group_snapshot("group-1", *reversed(sources[1:])))


# --- reading what was created ----------------------------------------------------------------------------


@pytest.mark.parametrize("code", [79, 58])
def test_a_snapshot_that_cannot_be_read_is_no_final_error(array45: World, code: int) -> None:
    volume = array45.driver.create().volume_id
    inject(array45, "Volume.get", code, times=1)
    assert "snapshot snapshot-1 was taken, and then" in refused(
        UNAVAILABLE, lambda: array45.driver.snapshot(volume, "snapshot-1")
    )
    inject(array45, "Volume.get", 28, times=1)
    refused(grpc.StatusCode.ABORTED, lambda: array45.driver.snapshot(volume, "snapshot-1"))
    assert array45.driver.snapshot(volume, "snapshot-1").ready_to_use
    assert len(array45.array.volumes) == 2


def test_a_group_that_cannot_be_read_is_no_final_error(array45: World) -> None:
    volume = array45.driver.create().volume_id
    inject(array45, "Volume.queryBySelectedIds", 58, times=1)
    refused(UNAVAILABLE, lambda: array45.driver.group_snapshot("group-1", volume))
    assert array45.driver.group_snapshot("group-1", volume).ready_to_use
    assert len(array45.array.volumes) == 2


# --- expanding and modifying -----------------------------------------------------------------------------


@pytest.mark.parametrize("code", [58, 64])
def test_limits_that_are_refused_after_the_expansion_are_no_final_error(array45: World, code: int) -> None:
    volume = array45.driver.create(parameters={"iopsPerGiB": "100"})
    array45.driver.publish(volume, array45.node("a"))
    inject(array45, "Volume.setMappedSdcLimits", code, times=1)
    text = refused(UNAVAILABLE, lambda: array45.driver.expand(volume.volume_id, gib=16))
    assert "was expanded to 16 GiB, and then" in text
    array45.driver.expand(volume.volume_id, gib=16)
    (mapping,) = array45.volume(volume.volume_id).mappings
    assert mapping.limit_iops == 1600


def test_limits_that_are_refused_for_the_second_mapping_are_no_final_error(array45: World) -> None:
    shared = block(Mode.MULTI_NODE_MULTI_WRITER)
    volume = array45.driver.create(capabilities=[shared])
    for node in ("a", "b"):
        array45.driver.publish(volume, array45.node(node), shared)
    inject(array45, "Volume.setMappedSdcLimits", 64, times=1)
    refused(
        grpc.StatusCode.INVALID_ARGUMENT, lambda: array45.driver.modify(volume.volume_id, iopsLimit="500")
    )
    inject(array45, "Volume.setMappedSdcLimits", 64, times=1, skip=1)
    text = refused(UNAVAILABLE, lambda: array45.driver.modify(volume.volume_id, iopsLimit="500"))
    assert "has the new limits" in text
    array45.driver.modify(volume.volume_id, iopsLimit="500")
    assert [mapping.limit_iops for mapping in array45.volume(volume.volume_id).mappings] == [500, 500]


def test_a_mapping_that_is_removed_while_the_volume_is_modified_is_no_error(array45: World) -> None:
    volume = array45.driver.create()
    array45.driver.publish(volume, array45.node("a"))
    frozen = inject(array45, "Volume.setMappedSdcLimits", kind=FaultKind.FREEZE, times=1)
    other = array45.another()
    with ThreadPoolExecutor(1) as caller:
        call = caller.submit(array45.driver.modify, volume.volume_id, iopsLimit="500")
        eventually(lambda: array45.simulator.gateway.faults.struck(frozen) == 1)
        other.unpublish(volume.volume_id, array45.node("a"))
        array45.simulator.gateway.faults.remove(frozen)
        call.result(timeout=60)
    array45.driver.publish(volume, array45.node("a"))
    (mapping,) = array45.volume(volume.volume_id).mappings
    assert mapping.limit_iops == 500


# --- the check itself ------------------------------------------------------------------------------------


def test_the_check_of_all_tests_sees_what_a_final_error_leaves(array45: World) -> None:
    states = iter(["as before", "with a copy"])
    driver = Driver(array45.folder / "csi.sock", final_codes=FinalCodes(lambda: next(states)))
    with pytest.raises(AssertionError, match="left something behind"):
        driver.create(gib=PETABYTES)
    driver.close()
