"""Ids of the wrong kind, or of objects that this cluster did not make: refused, and nothing is removed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import grpc
import pytest

from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.gateway.fleet import GatewayFleet
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.names import Kind, array_name
from csi_powerflex.operations.controller.ownership import Ownership
from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.inprocess import Client
from csi_powerflex.simulator.simulator import SystemPlan
from tests.controller.conftest import MakeWorld
from tests.controller.driver import Driver, Mode, mount, refused
from tests.controller.world import World
from tests.figures import Figures

OK = grpc.StatusCode.OK
INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION


def foreign_volume(world: World, name: str | None) -> str:
    """A volume that another driver, another cluster or a person has made."""
    (pool,) = world.array.pools.values()
    body = {
        "protectionDomainId": pool.domain_id,
        "storagePoolId": pool.id,
        "volumeSizeInKb": str(8 * 1024 * 1024),
        "volumeType": "ThinProvisioned",
        **({"name": name} if name else {}),
    }
    made = Client(world.simulator.gateway).post("/api/types/Volume/instances", body)["id"]
    return f"{world.array.system.id}-{made}"


def foreign_snapshot(world: World, volume_id: str, name: str) -> str:
    """A snapshot that this cluster has not made."""
    actions = {"snapshotVolumes": {"accessModeLimit": "ReadOnly"}, "createSnapshot": {}}
    action = (
        "createSnapshot"
        if world.array.is_erasure_coded(world.volume(volume_id).pool_id)
        else "snapshotVolumes"
    )
    definitions = [{"volumeId": volume_id.partition("-")[2], "snapshotName": name}]
    body = {"snapshotDefs": definitions, **actions[action]}
    system = world.array.system.id
    made = Client(world.simulator.gateway).act("System", system, action, **body)["volumeIdList"]
    return f"{system}-{made[0]}"


@pytest.fixture
def ids(world: World) -> dict[str, str]:
    """The id of one object of each kind."""
    driver = world.driver
    volume = driver.create("pvc-volume").volume_id
    snapshot = driver.snapshot(volume, "snapshot-1").snapshot_id
    clone = driver.clone("pvc-clone", volume).volume_id
    group = driver.group_snapshot("group-1", volume)
    other = foreign_volume(world, array_name(Kind.VOLUME, "othr", "pvc-1"))
    system = world.array.system.id

    def group_of(object_id: str) -> str:
        return f"{system}-{world.volume(object_id).group_id}"

    made = {
        "volume": volume,
        "clone": clone,
        "snapshot": snapshot,
        "member": group.snapshots[0].snapshot_id,
        "foreign": foreign_volume(world, "csivol-0123456789"),
        "unnamed": foreign_volume(world, None),
        "other's volume": other,
        "other's snapshot": foreign_snapshot(world, other, array_name(Kind.SNAPSHOT, "othr", "snapshot-1")),
        "group": group.group_snapshot_id,
    }
    made |= {
        f"group of the {kind}": group_of(made[kind]) for kind in ("clone", "snapshot", "other's snapshot")
    }
    return made


def get_group(driver: Driver, group_id: str) -> object:
    request = csi_pb2.GetVolumeGroupSnapshotRequest(group_snapshot_id=group_id)
    return driver.group.GetVolumeGroupSnapshot(request, timeout=30)


def get_snapshot(driver: Driver, snapshot_id: str) -> object:
    request = csi_pb2.GetSnapshotRequest(snapshot_id=snapshot_id)
    return driver.controller.GetSnapshot(request, timeout=30)


def listed(driver: Driver, snapshot_id: str) -> object:
    request = csi_pb2.ListSnapshotsRequest(snapshot_id=snapshot_id)
    assert not driver.controller.ListSnapshots(request, timeout=30).entries
    return None


CALLS: dict[str, Callable[[World, str], object]] = {
    "DeleteVolume": lambda world, given: world.driver.delete(given),
    "DeleteSnapshot": lambda world, given: world.driver.delete_snapshot(given),
    "DeleteVolumeGroupSnapshot": lambda world, given: world.driver.delete_group(given),
    "DeleteVolumeGroupSnapshot with members": lambda world, given: world.driver.delete_group(
        given, *_members(world, given)
    ),
    "GetVolumeGroupSnapshot": lambda world, given: get_group(world.driver, given),
    "GetSnapshot": lambda world, given: get_snapshot(world.driver, given),
    "ListSnapshots": lambda world, given: listed(world.driver, given),
    "ControllerExpandVolume": lambda world, given: world.driver.expand(given, gib=16),
    "ControllerPublishVolume": lambda world, given: world.driver.publish(given, world.node("a")),
    "CreateVolume of the snapshot": lambda world, given: world.driver.restore("pvc-new", given),
    "CreateVolume of the volume": lambda world, given: world.driver.clone("pvc-new", given),
    "CreateSnapshot": lambda world, given: world.driver.snapshot(given, "snapshot-new"),
    "CreateVolumeGroupSnapshot": lambda world, given: world.driver.group_snapshot("group-new", given),
}


def _members(world: World, group_id: str) -> list[str]:
    system, _, group = group_id.partition("-")
    return [f"{system}-{volume.id}" for volume in world.array.volumes.values() if volume.group_id == group]


GROUPS = ("group", "group of the clone", "group of the snapshot", "group of the other's snapshot")

# The calls that must not do anything, and the code that each one ends with.
REFUSED: dict[str, dict[str, grpc.StatusCode]] = {
    "DeleteVolume": {
        "snapshot": INVALID,
        "member": INVALID,
        "foreign": PRECONDITION,
        "unnamed": PRECONDITION,
        "other's volume": PRECONDITION,
        "other's snapshot": PRECONDITION,
        **dict.fromkeys(GROUPS, OK),
    },
    "DeleteSnapshot": {
        "volume": INVALID,
        "clone": INVALID,
        "foreign": PRECONDITION,
        "unnamed": PRECONDITION,
        "other's volume": PRECONDITION,
        "other's snapshot": PRECONDITION,
        **dict.fromkeys(GROUPS, OK),
    },
    "DeleteVolumeGroupSnapshot": {
        "volume": OK,
        "snapshot": OK,
        "group of the clone": INVALID,
        "group of the snapshot": INVALID,
        "group of the other's snapshot": PRECONDITION,
    },
    "DeleteVolumeGroupSnapshot with members": {
        "group of the clone": INVALID,
        "group of the snapshot": INVALID,
        "group of the other's snapshot": PRECONDITION,
    },
    "GetVolumeGroupSnapshot": {
        "volume": NOT_FOUND,
        "group of the clone": NOT_FOUND,
        "group of the snapshot": NOT_FOUND,
    },
    "GetSnapshot": dict.fromkeys(("volume", "clone", "foreign", "other's volume", *GROUPS), NOT_FOUND),
    "ListSnapshots": dict.fromkeys(("volume", "clone", "foreign", "other's volume", *GROUPS), OK),
    "ControllerExpandVolume": {
        **dict.fromkeys(("snapshot", "member", "other's snapshot"), INVALID),
        **dict.fromkeys(GROUPS, NOT_FOUND),
    },
    "ControllerPublishVolume": {
        **dict.fromkeys(("snapshot", "member", "other's snapshot"), INVALID),
        **dict.fromkeys(GROUPS, NOT_FOUND),
    },
    "CreateVolume of the snapshot": dict.fromkeys(
        ("volume", "clone", "foreign", "unnamed", "other's volume", *GROUPS), NOT_FOUND
    ),
    "CreateVolume of the volume": dict.fromkeys(
        ("snapshot", "member", "other's snapshot", *GROUPS), NOT_FOUND
    ),
    "CreateSnapshot": dict.fromkeys(GROUPS, NOT_FOUND),
    "CreateVolumeGroupSnapshot": dict.fromkeys(GROUPS, NOT_FOUND),
}


@pytest.mark.parametrize("restarted", [False, True], ids=["remembered", "after a restart"])
@pytest.mark.parametrize("rpc", REFUSED)
def test_an_id_of_the_wrong_kind_changes_nothing(
    world: World, ids: dict[str, str], rpc: str, figures: Figures, *, restarted: bool
) -> None:
    if restarted:
        world.restart()
    before = world.final_codes.state()
    for kind, code in REFUSED[rpc].items():
        call = CALLS[rpc]
        if code is OK:
            call(world, ids[kind])
        else:
            text = refused(code, lambda call=call, given=ids[kind]: call(world, given))  # type: ignore[misc]  # bound
            assert ids[kind].partition("-")[2] in text or "Could not find the volume" in text, (rpc, kind)
        assert world.final_codes.state() == before, (rpc, kind)
        figures.add("ids of the wrong kind refused")


ACCEPTED = {
    "DeleteVolume": ("volume", "clone"),
    "DeleteSnapshot": ("snapshot", "member"),
    "DeleteVolumeGroupSnapshot": ("group",),
    "GetVolumeGroupSnapshot": ("group",),
    "GetSnapshot": ("snapshot", "member", "other's snapshot"),
    "ControllerExpandVolume": ("volume", "clone", "foreign", "unnamed", "other's volume"),
    "ControllerPublishVolume": ("volume", "clone", "foreign", "other's volume"),
    "CreateVolume of the snapshot": ("snapshot",),
    "CreateVolume of the volume": ("volume",),
}


@pytest.mark.parametrize("rpc", ACCEPTED)
def test_an_id_of_the_right_kind_is_accepted(world: World, ids: dict[str, str], rpc: str) -> None:
    world.restart()
    for kind in ACCEPTED[rpc]:
        CALLS[rpc](world, ids[kind])
        if rpc.startswith("Delete") and kind != "group":
            assert ids[kind].partition("-")[2] not in world.array.volumes


@pytest.mark.parametrize("kind", ["snapshot", "member"])
def test_a_snapshot_that_the_array_does_not_map_is_refused_in_words(make_world: MakeWorld, kind: str) -> None:
    world = make_world(SystemPlan(version="5.0"))
    volume = world.driver.create().volume_id
    if kind == "snapshot":
        snapshot = world.driver.snapshot(volume).snapshot_id
    else:
        snapshot = world.driver.group_snapshot("group-1", volume).snapshots[0].snapshot_id
    reading = mount(Mode.MULTI_NODE_READER_ONLY)
    text = refused(INVALID, lambda: world.driver.publish(snapshot, world.node("a"), reading, readonly=True))
    assert "the array maps none to nodes; create a volume from it" in text
    assert world.driver.validate(snapshot, reading).message == text


# --- objects of other drivers --------------------------------------------------------------------------


@pytest.fixture
def adopting(make_world: MakeWorld) -> World:
    """A controller that may delete what was moved from another driver."""
    return make_world(adopt_volumes=("csivol-", "voldx"), adopt_snapshots=("snapshot-",))


def test_a_moved_volume_is_deleted_if_the_systems_file_names_it(adopting: World) -> None:
    moved, other = foreign_volume(adopting, "csivol-1"), foreign_volume(adopting, "data")
    adopting.driver.delete(moved)
    adopting.driver.delete(moved)
    text = refused(PRECONDITION, lambda: adopting.driver.delete(other))
    assert "is called 'data', so cluster test did not create it" in text
    assert "adoptVolumes or adoptSnapshots of system array0" in text
    assert [volume.name for volume in adopting.array.volumes.values()] == ["data"]


def test_a_moved_volume_is_never_deleted_as_a_snapshot(adopting: World) -> None:
    moved, wrong = foreign_volume(adopting, "csivol-1"), foreign_volume(adopting, "snapshot-1")
    refused(INVALID, lambda: adopting.driver.delete_snapshot(moved))
    refused(INVALID, lambda: adopting.driver.delete_snapshot(wrong))
    assert len(adopting.array.volumes) == 2


def test_a_moved_snapshot_is_deleted_if_the_systems_file_names_it(adopting: World) -> None:
    moved = foreign_volume(adopting, "csivol-1")
    snapshot = foreign_snapshot(adopting, moved, "snapshot-1")
    other = foreign_snapshot(adopting, moved, "nightly-1")
    refused(INVALID, lambda: adopting.driver.delete(snapshot))
    refused(PRECONDITION, lambda: adopting.driver.delete_snapshot(other))
    adopting.driver.delete_snapshot(snapshot)
    assert {volume.name for volume in adopting.array.volumes.values()} == {"csivol-1", "nightly-1"}


def test_the_beginning_of_a_name_never_changes_the_kind_of_an_own_object(make_world: MakeWorld) -> None:
    world = make_world(adopt_volumes=("stest",), adopt_snapshots=("vtest",))
    volume = world.driver.create().volume_id
    snapshot = world.driver.snapshot(volume).snapshot_id
    driver = world.restart()
    refused(INVALID, lambda: driver.delete(snapshot))
    refused(INVALID, lambda: driver.delete_snapshot(volume))
    driver.delete_snapshot(snapshot)
    driver.delete(volume)


# --- the price -------------------------------------------------------------------------------------------


def cost(world: World, call: Callable[[], object]) -> int:
    since = world.simulator.gateway.log.last
    call()
    return len(world.simulator.gateway.log.find(since=since))


def test_only_an_object_that_this_process_does_not_know_is_read_before_its_deletion(array45: World) -> None:
    driver = array45.driver
    volume, seen = driver.create("pvc-1"), driver.create("pvc-2")
    snapshot, read = (driver.snapshot(volume.volume_id, name).snapshot_id for name in ("s-1", "s-2"))
    assert cost(array45, lambda: driver.delete_snapshot(snapshot)) == 1
    assert cost(array45, lambda: driver.delete(volume.volume_id)) == 1
    driver = array45.restart()
    driver.publish(seen, array45.node("a"))
    driver.unpublish(seen.volume_id, array45.node("a"))
    assert cost(array45, lambda: driver.delete(seen.volume_id)) == 1
    assert cost(array45, lambda: driver.delete_snapshot(read)) == 2


def test_an_object_that_was_renamed_a_minute_after_it_was_read_is_not_deleted(array45: World) -> None:
    volumes = [array45.driver.create(name).volume_id for name in ("pvc-1", "pvc-2")]
    handles = [VolumeHandle.parse(volume) for volume in volumes]
    now = [0.0]
    ownership = Ownership("test", clock=lambda: now[0])
    with contextlib.closing(GatewayFleet(array45.systems)) as fleet:
        (array,) = fleet.arrays()
        for handle in handles:
            ownership.created(handle, Kind.VOLUME)
            array45.array.change(array45.volume(str(handle)), name=f"kept-{handle.volume_id}")
        now[0] = 59.0
        assert ownership.require_volume(array, handles[0]) is None
        now[0] = 61.0
        with pytest.raises(FailedPrecondition, match="is called 'kept-"):
            ownership.require_volume(array, handles[1])


def test_the_remembered_objects_are_limited() -> None:
    ownership = Ownership("test", max_remembered=2)
    handles = [VolumeHandle("0" * 16, f"{number:016x}") for number in range(3)]
    for handle in handles:
        ownership.created(handle, Kind.VOLUME)
    assert list(ownership._kinds) == handles[1:]
    ownership.forget(handles[1])
    assert list(ownership._kinds) == handles[2:]
