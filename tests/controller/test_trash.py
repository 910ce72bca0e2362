"""The trash: deleted volumes that the array keeps for some time."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
import yaml
from prometheus_client import REGISTRY

from csi_powerflex import names
from csi_powerflex.config.systems.schema import TrashSettings
from csi_powerflex.errors import InvalidArgument, Unavailable
from csi_powerflex.gateway.array import GatewayArray
from csi_powerflex.gateway.fleet import GatewayFleet
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.kube_objects.reader import VOLUMES
from csi_powerflex.model.array import NameInUse
from csi_powerflex.model.trash import UnknownNeeds
from csi_powerflex.operations.controller.inventory import undeleting
from csi_powerflex.operations.controller.trash import Trash
from csi_powerflex.operations.controller.trash_sweep import SPARE_SECONDS, TrashSweep
from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator import asgi
from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, PoolPlan
from csi_powerflex.simulator.settings import Settings
from csi_powerflex.simulator.simulator import SystemPlan
from tests.controller.api_server import released
from tests.controller.changed_answers import ChangeAnswer
from tests.controller.cluster_world import NodesCluster, connect
from tests.controller.conftest import MakeWorld
from tests.controller.driver import GIB, Driver, outcome, refused
from tests.controller.ended import Killed, Life
from tests.controller.eventually import eventually
from tests.controller.inventory_world import DRIVER, InventoryWorld
from tests.controller.nvme import NODE, create_nvme_host, map_to
from tests.controller.world import World
from tests.kube.api_server import ApiServer

pytestmark = pytest.mark.usefixtures("untouched_logging")

DAY = 86400
TRASH = {"keep": "24h"}
# How the names in the trash of the cluster "test" begin.
IN_TRASH = "t" + "test"


def trashed(world: World) -> list[names.TrashName]:
    """What is in the trash of the first system."""
    found = (names.trashed(volume.name) for volume in world.array.volumes.values())
    return [name for name in found if name is not None]


@pytest.fixture
def keeping(world: World) -> World:
    """One system of each generation that keeps deleted volumes for a day."""
    return world.reconfigured(trash=TrashSettings())


@pytest.fixture
def keeping45(array45: World) -> World:
    return array45.reconfigured(trash=TrashSettings())


class Needs(UnknownNeeds):
    """Handles that PersistentVolumes have."""

    def __init__(self, *handles: str) -> None:
        self.handles = handles

    def is_needed(self, handle: VolumeHandle) -> bool:
        return str(handle) in self.handles


class Sweeping:
    """Rounds of the sweep of a further controller, which sees a time in the future, as the systems do."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.needs = Needs()
        # The handles that PersistentVolumes have, also those of other drivers.
        self.needed: tuple[str, ...] = ()

    def after(self, seconds: float) -> None:
        with self.world.in_future(seconds):
            self.round(seconds)

    def round(self, seconds: float = 0) -> None:
        """A round of a controller whose clock is ahead by these seconds."""
        with self.sweep(seconds) as sweep:
            assert sweep.step() == 600

    @contextlib.contextmanager
    def sweep(self, seconds: float) -> Iterator[TrashSweep]:
        """The sweep of a controller whose clock is ahead by these seconds."""
        with contextlib.closing(GatewayFleet(self.world.systems, retry_seconds=0.001)) as fleet:
            yield TrashSweep(
                fleet,
                "test",
                self.needs,
                needed=lambda: self.needed,
                now=lambda: time.time() + seconds,
            )


@pytest.fixture
def sweeping(keeping45: World) -> Sweeping:
    return Sweeping(keeping45)


# --- deleting ------------------------------------------------------------------------------------


def test_a_deleted_volume_is_kept_under_another_name(keeping: World) -> None:
    volume = keeping.driver.create("pvc-1")
    keeping.driver.delete(volume.volume_id)
    (name,) = trashed(keeping)
    assert keeping.volume(volume.volume_id).name == str(name)
    assert name.cluster_id == "test"
    assert abs(name.due - time.time() - DAY) < 600
    assert names.is_trash_of(name, "pvc-1")


def test_without_the_key_a_volume_is_removed_at_once(array45: World) -> None:
    array45.driver.delete(array45.driver.create().volume_id)
    assert not array45.array.volumes


def test_a_volume_in_the_trash_does_not_exist_for_any_call(keeping: World) -> None:
    driver = keeping.driver
    volume = driver.create("pvc-1")
    driver.delete(volume.volume_id)
    handle = volume.volume_id
    calls: list[Callable[[], object]] = [
        lambda: driver.get(handle),
        lambda: driver.publish(volume, keeping.node("a")),
        lambda: driver.expand(handle, gib=16),
        lambda: driver.modify(handle, iopsLimit="500"),
        lambda: driver.clone("pvc-2", handle),
        lambda: driver.validate(handle),
    ]
    refused(grpc.StatusCode.NOT_FOUND, lambda: driver.snapshot(handle))
    refused(grpc.StatusCode.NOT_FOUND, lambda: driver.group_snapshot("group-1", handle))
    for call in calls:
        assert f"was deleted and is in the trash as {IN_TRASH}" in refused(grpc.StatusCode.NOT_FOUND, call)
    assert not driver.controller.ListVolumes(csi_pb2.ListVolumesRequest(), timeout=30).entries
    driver.unpublish(handle, keeping.node("a"))


def test_the_deletion_can_be_repeated_at_any_controller(keeping: World) -> None:
    volume = keeping.driver.create()
    keeping.driver.delete(volume.volume_id)
    before = trashed(keeping)
    keeping.driver.delete(volume.volume_id)
    keeping.restart().delete(volume.volume_id)
    assert trashed(keeping) == before


@pytest.mark.parametrize("keep", ["24h", "0"])
def test_a_name_that_an_administrator_has_given_is_respected_by_the_controller_that_made_the_volume(
    array45: World, keep: str
) -> None:
    world = array45.reconfigured(trash=TrashSettings(keep=keep))
    volume = world.driver.create().volume_id
    with world.array.lock:
        world.array.change(world.volume(volume), name="payroll")
        world.array.commit()
    refused(grpc.StatusCode.FAILED_PRECONDITION, lambda: world.driver.delete(volume))
    assert world.volume(volume).name == "payroll"


def test_the_name_of_a_volume_in_the_trash_is_free(keeping: World) -> None:
    first = keeping.driver.create("pvc-1")
    keeping.driver.delete(first.volume_id)
    second = keeping.driver.create("pvc-1")
    assert second.volume_id != first.volume_id
    keeping.driver.delete(second.volume_id)
    assert len(trashed(keeping)) == 2


def test_a_mapped_volume_is_not_put_into_the_trash(keeping: World) -> None:
    volume = keeping.driver.create()
    keeping.driver.publish(volume, keeping.node("a"))
    message = refused(grpc.StatusCode.FAILED_PRECONDITION, lambda: keeping.driver.delete(volume.volume_id))
    assert "is mapped to" in message
    assert not trashed(keeping)
    keeping.driver.unpublish(volume.volume_id, keeping.node("a"))
    keeping.driver.delete(volume.volume_id)
    assert trashed(keeping)


@pytest.mark.parametrize("node", ["a", "nvme and a", None])
def test_a_volume_that_was_mapped_while_it_was_deleted_is_unmapped_all_the_same(
    keeping45: World, node: str | None
) -> None:
    volume = keeping45.driver.create()
    keeping45.driver.delete(volume.volume_id)
    keeping45.array.change(keeping45.volume(volume.volume_id), mappings=_mappings_like(keeping45))
    listed = keeping45.driver.controller.ListVolumes(csi_pb2.ListVolumesRequest(), timeout=30).entries
    assert volume.volume_id not in [entry.volume.volume_id for entry in listed]
    if node is None:
        keeping45.driver.unpublish(volume.volume_id)
    else:
        name = keeping45.node("a")
        keeping45.driver.unpublish(volume.volume_id, name if node == "a" else f"{name},{NODE}")
    assert not keeping45.volume(volume.volume_id).mappings


def test_a_tree_with_a_clone_in_the_trash_is_moved(make_world: MakeWorld) -> None:
    domains = (DomainPlan(pools=(PoolPlan(), PoolPlan(name="sp2"))),)
    at_once = Settings(migration_kb_per_second=2**60)
    plan = SystemPlan(initial_state=InitialState(domains=domains), settings=at_once)
    world = make_world(plan, trash=TrashSettings())
    volume = world.driver.create().volume_id
    clone = world.driver.clone("pvc-2", volume).volume_id
    message = refused(
        grpc.StatusCode.FAILED_PRECONDITION, lambda: world.driver.modify(volume, storagepool="sp2")
    )
    assert "members are not its own snapshots" in message
    world.driver.delete(clone)
    world.driver.modify(volume, storagepool="sp2")
    assert {world.array.pools[item.pool_id].name for item in world.array.volumes.values()} == {"sp2"}
    assert len(trashed(world)) == 1


def test_a_volume_that_is_mapped_over_nvme_is_not_put_into_the_trash(keeping45: World) -> None:
    volume = keeping45.driver.create()
    map_to(keeping45, volume, create_nvme_host(keeping45))
    message = refused(grpc.StatusCode.FAILED_PRECONDITION, lambda: keeping45.driver.delete(volume.volume_id))
    assert "is mapped to n1" in message
    assert not trashed(keeping45)


def test_a_volume_is_deleted_into_the_trash_while_its_tree_moves(make_world: MakeWorld) -> None:
    domains = (DomainPlan(pools=(PoolPlan(), PoolPlan(name="sp2"))),)
    slow = Settings(migration_kb_per_second=1024 * 1024)
    plan = SystemPlan(initial_state=InitialState(domains=domains), settings=slow)
    world = make_world(plan, trash=TrashSettings())
    volume = world.driver.create().volume_id
    refused(grpc.StatusCode.ABORTED, lambda: world.driver.modify(volume, storagepool="sp2"))
    world.driver.delete(volume)
    world.array.clock.advance(3600)
    assert world.driver.controller.ListVolumes(csi_pb2.ListVolumesRequest(), timeout=30).entries == []
    assert len(trashed(world)) == 1


def test_secure_snapshots_outlive_a_volume_in_the_trash(sweeping: Sweeping) -> None:
    driver = sweeping.world.driver
    volume = driver.create().volume_id
    snapshot = driver.snapshot(volume, retentionMinutes="60").snapshot_id
    driver.delete(volume)
    sweeping.after(DAY + 600)
    assert not trashed(sweeping.world)
    assert driver.restore("pvc-2", snapshot).volume_id


def test_capacity_and_tree_count_what_is_in_the_trash(keeping45: World) -> None:
    driver = keeping45.driver

    def provisioned() -> int:
        return sum(volume.size_kb for volume in keeping45.array.volumes.values())

    def capacity() -> int:
        parameters = {"storagepool": "sp1", "protectiondomain": "pd1", "provisioning": "thick"}
        return int(
            driver.controller.GetCapacity(
                csi_pb2.GetCapacityRequest(parameters=parameters), timeout=30
            ).available_capacity
        )

    volume = driver.create(parameters={"provisioning": "thick"}).volume_id
    before = (capacity(), provisioned())
    driver.delete(volume)
    keeping45.restart()
    driver = keeping45.driver
    assert (capacity(), provisioned()) == before


def test_a_deletion_into_the_trash_costs_two_requests_and_its_repeat_one(keeping: World) -> None:
    volume = keeping.driver.create()
    log = keeping.simulator.gateway.log
    with log.watching() as first:
        keeping.driver.delete(volume.volume_id)
    with log.watching() as second:
        keeping.driver.delete(volume.volume_id)
    assert (len(first), len(second)) == (2, 1)


def test_a_snapshot_is_found_again_although_its_source_is_in_the_trash(keeping: World) -> None:
    volume = keeping.driver.create().volume_id
    snapshot = keeping.driver.snapshot(volume)
    group = keeping.driver.group_snapshot("groupsnapshot-1", volume)
    keeping.driver.delete(volume)
    assert keeping.driver.snapshot(volume).snapshot_id == snapshot.snapshot_id
    again = keeping.driver.group_snapshot("groupsnapshot-1", volume)
    assert again.group_snapshot_id == group.group_snapshot_id


def test_snapshots_are_removed_at_once_and_outlive_their_volume(keeping: World) -> None:
    volume = keeping.driver.create()
    snapshot = keeping.driver.snapshot(volume.volume_id)
    keeping.driver.delete(volume.volume_id)
    keeping.driver.restore("pvc-2", snapshot.snapshot_id)
    keeping.driver.delete_snapshot(snapshot.snapshot_id)
    assert len(keeping.array.volumes) == 2


def test_a_copy_is_found_again_although_its_source_is_in_the_trash(keeping: World) -> None:
    volume = keeping.driver.create()
    copy = keeping.driver.clone("pvc-2", volume.volume_id)
    keeping.driver.delete(volume.volume_id)
    assert keeping.driver.clone("pvc-2", volume.volume_id).volume_id == copy.volume_id


def test_an_adopted_volume_goes_to_the_trash_too(array45: World) -> None:
    world = array45.reconfigured(trash=TrashSettings(), adopt_volumes=("csivol-",))
    volume = world.driver.create()
    with world.array.lock:
        world.array.change(world.volume(volume.volume_id), name="csivol-1")
        world.array.commit()
    world.restart().delete(volume.volume_id)
    assert len(trashed(world)) == 1


def test_two_volumes_of_one_name_that_are_deleted_in_one_second_get_two_names(
    keeping45: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)
    for _ in range(2):
        keeping45.driver.delete(keeping45.driver.create("pvc-1").volume_id)
    assert sorted(name.due for name in trashed(keeping45)) == [1_800_000_000 + DAY, 1_800_000_001 + DAY]


def test_if_all_names_are_in_use_the_deletion_is_repeated(
    keeping45: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = keeping45.driver.create("pvc-1")

    def used(*_: object) -> None:
        raise NameInUse("in use")

    monkeypatch.setattr(GatewayArray, "rename_volume", used)
    refused(grpc.StatusCode.UNAVAILABLE, lambda: keeping45.driver.delete(volume.volume_id))


def test_a_lost_answer_to_the_renaming_is_noticed(keeping45: World) -> None:
    volume = keeping45.driver.create()
    keeping45.simulator.gateway.inject(Fault(kind=FaultKind.LOST_REPLY, times=1, route="*.setVolumeName"))
    keeping45.driver.delete(volume.volume_id)
    assert len(trashed(keeping45)) == 1


# --- how long ------------------------------------------------------------------------------------


def test_a_class_that_wants_a_trash_needs_a_system_with_one(array45: World) -> None:
    message = refused(
        grpc.StatusCode.INVALID_ARGUMENT, lambda: array45.driver.create(parameters={"deleteAfter": "7d"})
    )
    assert "system array0 has no key trash in the systems file" in message
    array45.driver.create(parameters={"deleteAfter": "0"})
    source = array45.driver.create("pvc-2")
    refused(
        grpc.StatusCode.INVALID_ARGUMENT,
        lambda: array45.driver.clone("pvc-3", source.volume_id, parameters={"deleteAfter": "7d"}),
    )


@pytest.fixture
def following(array45: World, tmp_path: Path) -> Iterator[tuple[World, NodesCluster]]:
    """A controller that follows the PersistentVolumes of a cluster."""
    with NodesCluster(tmp_path) as cluster:
        world = array45.reconfigured(trash=TrashSettings())
        yield connect(world, cluster, tmp_path, remove_stale=False), cluster


def _seen(world: World, handle: str) -> None:
    """Wait until the controller knows the PersistentVolume."""

    def is_held() -> bool:
        try:
            world.driver.publish(handle, world.node("a"))
        except grpc.RpcError:
            return True
        world.driver.unpublish(handle, world.node("a"))
        return False

    eventually(is_held)


@pytest.mark.parametrize(("delete_after", "kept"), [("7d", 7 * DAY), ("0", None), ("soon", DAY), ("", DAY)])
def test_the_class_says_how_long_a_volume_is_kept(
    following: tuple[World, NodesCluster], delete_after: str, kept: int | None
) -> None:
    world, cluster = following
    volume = world.driver.create()
    attributes = {"deleteAfter": delete_after} if delete_after else {}
    spec = {"csi": {"driver": DRIVER, "volumeHandle": volume.volume_id, "volumeAttributes": attributes}}
    # The hold shows when the controller has seen the object.
    metadata = {"annotations": {f"{DRIVER}/hold": "test"}}
    cluster.put(VOLUMES, "pv-1", {"metadata": metadata, **released(spec)})
    _seen(world, volume.volume_id)
    world.driver.delete(volume.volume_id)
    found = trashed(world)
    if kept is None:
        assert not world.array.volumes
    else:
        assert abs(found[0].due - time.time() - kept) < 600


def test_a_late_deletion_at_another_controller_does_not_remove_what_is_in_the_trash(
    array45: World, tmp_path: Path
) -> None:
    with NodesCluster(tmp_path) as cluster:
        world = array45.reconfigured(trash=TrashSettings(keep="0"))
        connect(world, cluster, tmp_path, remove_stale=False)
        other = world.another()
        volume = other.create().volume_id
        attributes = {"deleteAfter": "7d"}
        spec = {"csi": {"driver": DRIVER, "volumeHandle": volume, "volumeAttributes": attributes}}
        metadata = {"annotations": {f"{DRIVER}/hold": "test"}}
        cluster.put(VOLUMES, "pv-1", {"metadata": metadata, **released(spec)})
        _seen(world, volume)
        world.driver.delete(volume)
        cluster.remove(VOLUMES, "pv-1")
        eventually(lambda: _is_free(other, volume, world.node("a")))
        other.delete(volume)
        assert len(trashed(world)) == 1


def _is_free(driver: Driver, volume: str, node: str) -> bool:
    """Whether the controller has seen that the PersistentVolume with the hold was deleted."""
    return outcome(lambda: driver.publish(volume, node)) is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("last", ["0", ""])
def test_of_two_persistent_volumes_the_longer_time_counts(
    following: tuple[World, NodesCluster], last: str
) -> None:
    world, cluster = following
    volume = world.driver.create()
    for name, delete_after in (("pv-1", "7d"), ("pv-2", last)):
        attributes = {"deleteAfter": delete_after} if delete_after else {}
        spec = {"csi": {"driver": DRIVER, "volumeHandle": volume.volume_id, "volumeAttributes": attributes}}
        metadata = {"annotations": {f"{DRIVER}/hold": "test"}} if name == "pv-2" else {}
        cluster.put(VOLUMES, name, {"metadata": metadata, **released(spec)})
    _seen(world, volume.volume_id)
    world.driver.delete(volume.volume_id)
    assert trashed(world)[0].due - time.time() > 6 * DAY


def test_what_the_class_says_travels_in_the_volume_context(following: tuple[World, NodesCluster]) -> None:
    world, _ = following
    volume = world.driver.create(parameters={"deleteAfter": "7d"})
    assert volume.volume_context["deleteAfter"] == str(7 * DAY)


@pytest.mark.parametrize("delete_after", ["7d", "0"])
def test_a_class_has_no_time_of_its_own_where_persistent_volumes_are_not_read(
    keeping45: World, delete_after: str
) -> None:
    message = refused(
        grpc.StatusCode.INVALID_ARGUMENT,
        lambda: keeping45.driver.create(parameters={"deleteAfter": delete_after}),
    )
    assert "this driver runs without --kubernetes" in message
    keeping45.driver.create(parameters={"deleteAfter": "24h"})


# --- the sweep -----------------------------------------------------------------------------------


def test_what_is_due_is_removed_and_nothing_else(sweeping: Sweeping) -> None:
    world = sweeping.world
    kept = world.driver.create("pvc-kept").volume_id
    world.driver.delete(world.driver.create("pvc-1").volume_id)
    sweeping.after(DAY - 600)
    assert len(trashed(world)) == 1
    sweeping.after(DAY + 600)
    assert [f"{world.array.system.id}-{item}" for item in world.array.volumes] == [kept]


def test_the_trash_of_another_cluster_is_left_alone(sweeping: Sweeping) -> None:
    world = sweeping.world
    volume = world.driver.create().volume_id
    with world.array.lock:
        world.array.change(world.volume(volume), name=str(names.trash_name(None, "othr", 0)))
        world.array.commit()
    sweeping.after(DAY + 600)
    assert len(world.array.volumes) == 1


def test_a_volume_that_a_person_gave_such_a_name_is_left_alone(sweeping: Sweeping) -> None:
    world = sweeping.world
    volume = world.driver.create().volume_id
    with world.array.lock:
        world.array.change(world.volume(volume), name=IN_TRASH + "backupofthedatabaseoflastyear"[:26])
        world.array.commit()
    sweeping.after(DAY + 600)
    assert len(world.array.volumes) == 1
    world.driver.get(volume)


def test_a_volume_in_the_trash_that_is_used_is_not_removed(sweeping: Sweeping) -> None:
    world = sweeping.world
    mapped, needed = (world.driver.create(f"pvc-{number}").volume_id for number in (1, 2))
    for handle in (mapped, needed):
        world.driver.delete(handle)
    world.simulator.gateway.array.change(world.volume(mapped), mappings=_mappings_like(world))
    sweeping.needs = Needs(needed)
    sweeping.after(DAY + 600)
    assert len(trashed(world)) == 2
    sweeping.needs = Needs()
    sweeping.after(DAY + 600)
    assert [names.trashed(volume.name) is not None for volume in world.array.volumes.values()].count(
        True
    ) == 1


def test_a_volume_in_the_trash_that_another_driver_uses_is_not_removed(sweeping: Sweeping) -> None:
    world = sweeping.world
    first, second = (world.driver.create(f"pvc-{number}").volume_id for number in (1, 2))
    for handle in (first, second):
        world.driver.delete(handle)
    sweeping.needed = (second,)
    sweeping.after(DAY + 600)
    assert list(world.array.volumes) == [second.partition("-")[2]]


def test_the_controller_asks_for_the_persistent_volumes_of_other_drivers_too(
    array45: World, tmp_path: Path
) -> None:
    with NodesCluster(tmp_path) as cluster:
        world = array45.reconfigured(trash=TrashSettings(keep="1s"))
        world.more["trash_seconds"] = 0.1
        connect(world, cluster, tmp_path, remove_stale=False)
        used, unused = (world.driver.create(f"pvc-{number}").volume_id for number in (1, 2))
        source = {"driver": "other.example.org", "volumeHandle": used}
        cluster.put(VOLUMES, "pv-1", released({"csi": source}))
        # The one that was deleted first is looked at first.
        world.driver.delete(used)
        world.driver.delete(unused)
        eventually(lambda: unused.partition("-")[2] not in world.array.volumes)
        assert list(world.array.volumes) == [used.partition("-")[2]]


def _mappings_like(world: World) -> Any:
    """The mappings of a volume that is mapped to a node."""
    other = world.driver.create("pvc-mapped")
    world.driver.publish(other, world.node("a"))
    return world.volume(other.volume_id).mappings


def test_a_volume_that_is_undeleted_before_its_removal_is_not_removed(
    sweeping: Sweeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = sweeping.world
    volume = world.driver.create("pvc-1").volume_id
    world.driver.delete(volume)
    volumes = GatewayArray.volumes

    def then_undeleted(array: GatewayArray) -> object:
        found = volumes(array)
        with world.array.lock:
            world.array.change(world.volume(volume), name="undeleted")
            world.array.commit()
        return found

    monkeypatch.setattr(GatewayArray, "volumes", then_undeleted)
    sweeping.after(DAY + 600)
    assert world.volume(volume).name == "undeleted"


@pytest.mark.parametrize("action", ["remove_volume", "volumes_by_id"])
def test_another_controller_may_be_faster(
    sweeping: Sweeping, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    world = sweeping.world
    world.driver.delete(world.driver.create("pvc-1").volume_id)
    original = getattr(GatewayArray, action)

    def later(array: GatewayArray, argument: Any) -> object:
        monkeypatch.setattr(GatewayArray, action, original)
        Sweeping(world).after(DAY + 600)
        return original(array, argument)

    monkeypatch.setattr(GatewayArray, action, later)
    sweeping.after(DAY + 600)
    assert not world.array.volumes


def test_a_trash_that_is_too_large_loses_the_oldest_early(keeping45: World) -> None:
    world = keeping45.reconfigured(trash=TrashSettings(max_bytes=10 * GIB))
    sweeping = Sweeping(world)
    for name in ("pvc-1", "pvc-2"):
        world.driver.delete(world.driver.create(name).volume_id)
    with world.array.lock:
        first = next(item for item in world.array.volumes.values())
        older = names.trashed(first.name)
        assert older is not None
        world.array.change(first, name=str(names.TrashName("test", older.due - 100, older.rest)))
        world.array.commit()
    sweeping.after(0)
    due = sorted(name.due - time.time() for name in trashed(world))
    assert due[0] == pytest.approx(SPARE_SECONDS, abs=60)
    assert due[1] > DAY - 600
    sweeping.after(0)
    sweeping.after(SPARE_SECONDS + 60)
    assert len(trashed(world)) == 1


def test_a_pool_that_is_nearly_full_gets_the_capacity_of_its_trash(
    sweeping: Sweeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = sweeping.world
    for name in ("pvc-1", "pvc-2"):
        world.driver.delete(world.driver.create(name).volume_id)
    capacity = GatewayArray.pool_capacity

    def short(array: GatewayArray, pool: Any) -> Any:
        found = capacity(array, pool)
        return dataclasses.replace(found, total=100 * GIB, unused=4 * GIB)

    monkeypatch.setattr(GatewayArray, "pool_capacity", short)
    sweeping.after(0)
    assert sorted(name.due - time.time() < DAY / 2 for name in trashed(world)) == [False, True]


def test_a_system_that_does_not_answer_is_swept_later(
    sweeping: Sweeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeping.world.driver.delete(sweeping.world.driver.create().volume_id)
    with monkeypatch.context() as patch:

        def away(_: GatewayArray) -> object:
            raise Unavailable("away")

        patch.setattr(GatewayArray, "volumes", away)
        sweeping.after(DAY + 600)
    assert len(trashed(sweeping.world)) == 1


def test_the_trash_has_metrics(sweeping: Sweeping) -> None:
    sweeping.world.driver.delete(sweeping.world.driver.create().volume_id)
    sweeping.after(0)
    value = REGISTRY.get_sample_value
    assert value("csi_powerflex_trash_volumes", {"system": "array0"}) == 1
    assert value("csi_powerflex_trash_bytes", {"system": "array0"}) == 8 * GIB


def test_the_controller_sweeps(array45: World) -> None:
    volume = array45.driver.create().volume_id
    with array45.array.lock:
        array45.array.change(array45.volume(volume), name=str(names.trash_name(None, "test", 0)))
        array45.array.commit()
    array45.more["trash_seconds"] = 0.05
    array45.reconfigured(trash=TrashSettings())
    eventually(lambda: not array45.array.volumes)


def test_a_round_costs_a_list_and_two_requests_for_each_removal(sweeping: Sweeping) -> None:
    world = sweeping.world
    for number in range(3):
        world.driver.delete(world.driver.create(f"pvc-{number}").volume_id)
    with world.simulator.gateway.log.watching() as requests:
        sweeping.after(DAY + 600)
    paths = [entry.path for entry in requests]
    assert sum(path.endswith("/types/Volume/instances") for path in paths) == 1
    assert sum("queryBySelectedIds" in path for path in paths) == 3
    assert sum("removeVolume" in path for path in paths) == 3


def test_a_volume_that_the_array_refuses_to_remove_does_not_keep_the_others(sweeping: Sweeping) -> None:
    world = sweeping.world
    for number in range(3):
        world.driver.delete(world.driver.create(f"pvc-{number}").volume_id)
    world.simulator.gateway.inject(Fault(kind=FaultKind.ERROR, code=198, times=1, route="*.removeVolume"))
    sweeping.after(DAY + 600)
    assert len(trashed(world)) == 1
    sweeping.after(DAY + 600)
    assert not world.array.volumes


def test_a_volume_whose_removal_fails_again_and_again_does_not_keep_the_others(sweeping: Sweeping) -> None:
    world = sweeping.world
    for number in range(3):
        world.driver.delete(world.driver.create(f"pvc-{number}").volume_id)
    first = min(world.array.volumes.values(), key=lambda volume: (volume.name, volume.id))
    busy = Fault(
        kind=FaultKind.ERROR, code=212, path=f"/api/instances/Volume::{first.id}/action/removeVolume"
    )
    world.simulator.gateway.inject(busy)
    with world.in_future(DAY + 600), sweeping.sweep(DAY + 600) as sweep:
        sweep.step()
        sweep.step()
        assert [volume.id for volume in world.array.volumes.values()] == [first.id]
        world.simulator.gateway.faults.clear()
        sweep.step()
    assert not world.array.volumes


def test_what_an_array_does_not_show_by_its_id_is_not_removed(
    sweeping: Sweeping, change_answer: ChangeAnswer
) -> None:
    sweeping.world.driver.delete(sweeping.world.driver.create().volume_id)
    change_answer("Volume.queryBySelectedIds", lambda _: [])
    sweeping.after(DAY + 600)
    assert len(trashed(sweeping.world)) == 1


def test_a_system_that_fails_within_a_round_is_swept_later(sweeping: Sweeping) -> None:
    world = sweeping.world
    for number in range(3):
        world.driver.delete(world.driver.create(f"pvc-{number}").volume_id)
    world.simulator.gateway.inject(Fault(kind=FaultKind.ERROR, status=503, route="*.removeVolume"))
    with world.simulator.gateway.log.watching() as requests:
        sweeping.after(DAY + 600)
    assert len({entry.path for entry in requests if "removeVolume" in entry.path}) == 1
    assert len(trashed(world)) == 3


def test_the_rest_of_a_trash_is_swept_although_a_pool_is_not_known(
    sweeping: Sweeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = sweeping.world
    world.driver.delete(world.driver.create().volume_id)

    def unknown(_array: GatewayArray, pool_id: str) -> object:
        raise InvalidArgument(f"no pool {pool_id}")

    monkeypatch.setattr(GatewayArray, "pool_by_id", unknown)
    sweeping.after(0)
    assert REGISTRY.get_sample_value("csi_powerflex_trash_volumes", {"system": "array0"}) == 1


# --- clocks --------------------------------------------------------------------------------------


def test_a_clock_that_is_fast_removes_nothing_early(
    sweeping: Sweeping, caplog: pytest.LogCaptureFixture
) -> None:
    sweeping.world.driver.delete(sweeping.world.driver.create().volume_id)
    sweeping.round(30 * DAY)
    assert len(trashed(sweeping.world)) == 1
    assert "the clock of this host is ahead of the gateway's" in caplog.text
    with sweeping.world.in_future(30 * DAY):
        sweeping.round()
    assert len(trashed(sweeping.world)) == 1


def test_a_clock_that_is_slow_shortens_nothing(keeping45: World) -> None:
    volume = keeping45.driver.create().volume_id
    with keeping45.in_future(30 * DAY):
        keeping45.driver.delete(volume)
    assert trashed(keeping45)[0].due - time.time() > 30 * DAY


@pytest.fixture
def without_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let gateways not tell their time."""
    monkeypatch.setattr(
        asgi, "email", SimpleNamespace(utils=SimpleNamespace(formatdate=lambda *_, **__: "?"))
    )


@pytest.mark.usefixtures("without_date")
def test_a_gateway_that_tells_no_time_is_swept_by_the_clock_of_the_host(sweeping: Sweeping) -> None:
    sweeping.world.driver.delete(sweeping.world.driver.create().volume_id)
    sweeping.round(DAY + 600)
    assert not sweeping.world.array.volumes


# --- undeleting ----------------------------------------------------------------------------------

AS_EXT4 = ("--claim", "pay/data", "--fs-type", "ext4")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ApiServer]:
    with ApiServer(tmp_path) as server:
        yield server


@pytest.fixture
def inventory(keeping: World, cluster: ApiServer) -> InventoryWorld:
    return InventoryWorld(keeping, cluster)


def _deleted(inventory: InventoryWorld) -> tuple[str, str]:
    """A volume in the trash. Returns its handle, and the name of its PersistentVolume."""
    name = f"pvc-{inventory.uid()}"
    handle = inventory.world.driver.create(name).volume_id
    inventory.world.driver.delete(handle)
    return handle, name


def test_an_undeleted_volume_can_be_used_and_deleted_again(inventory: InventoryWorld) -> None:
    handle, name = _deleted(inventory)
    text = inventory.ok("volumes", "undelete", name, *AS_EXT4, "--reclaim-policy", "Delete", "--yes")
    volume, claim = yaml.safe_load_all(text)
    assert volume["spec"]["csi"]["volumeHandle"] == handle
    assert volume["spec"]["csi"]["volumeAttributes"] == {"origin": "copy"}
    assert claim["spec"]["volumeName"] == f"imported-{handle}"
    driver = inventory.world.driver
    driver.publish(handle, inventory.world.node("a"))
    driver.unpublish(handle, inventory.world.node("a"))
    driver.delete(handle)
    assert len(trashed(inventory.world)) == 1


def test_without_yes_the_objects_are_shown_and_the_volume_stays_in_the_trash(
    inventory: InventoryWorld,
) -> None:
    handle, _ = _deleted(inventory)
    text = inventory.ok("volumes", "undelete", handle, *AS_EXT4)
    assert f"# volume {handle} in pool pd1/sp1 is still in the trash; give --yes" in text
    assert len(trashed(inventory.world)) == 1


def test_the_trash_is_listed_with_what_is_removed_first_at_the_top(inventory: InventoryWorld) -> None:
    handle, _ = _deleted(inventory)
    table = inventory.ok("volumes", "trash")
    assert handle in table
    (found,) = inventory.document("volumes", "trash")["volumes"]
    assert (found["handle"], found["sizeBytes"], found["pool"]) == (handle, 8 * GIB, "pd1/sp1")
    assert inventory.document("volumes", "trash", "--pool", "other")["volumes"] == []


def test_other_commands_do_not_show_what_is_in_the_trash(inventory: InventoryWorld) -> None:
    handle, name = _deleted(inventory)
    assert inventory.document("volumes", "list", "--all")["volumes"] == []
    assert inventory.document("volumes", "orphans", "--older-than", "0")["volumes"] == []
    assert "csi-powerflex volumes undelete" in inventory.refused("volumes", "show", handle)
    inventory.refused("volumes", "show", name)


def test_a_system_that_cannot_be_read_is_told(inventory: InventoryWorld) -> None:
    _deleted(inventory)
    inventory.world.simulator.gateway.inject(
        Fault(kind=FaultKind.ERROR, code=58, route="Volume.list*", path="/api/types/Volume/instances")
    )
    result = inventory.run("volumes", "trash")
    assert result.exit_code == 1
    assert "system array0 could not be read" in result.stderr
    message = inventory.refused("volumes", "undelete", "x", *AS_EXT4)
    assert "Not all systems could be read" in message


def test_a_name_that_is_not_in_the_trash_is_refused(inventory: InventoryWorld) -> None:
    message = inventory.refused("volumes", "undelete", "pvc-1", *AS_EXT4)
    assert "no volume 'pvc-1' is in the trash: it was removed, or undeleted already" in message


def test_a_name_of_two_volumes_is_refused_with_their_handles(inventory: InventoryWorld) -> None:
    handles = []
    for _ in range(2):
        handles.append(inventory.world.driver.create("pvc-1").volume_id)
        inventory.world.driver.delete(handles[-1])
    message = inventory.refused("volumes", "undelete", "pvc-1", *AS_EXT4)
    assert all(handle in message for handle in handles)


def test_a_volume_that_is_due_soon_is_not_undeleted(inventory: InventoryWorld) -> None:
    handle, _ = _deleted(inventory)
    soon = names.trash_name(None, "test", round(time.time()) + SPARE_SECONDS - 60)
    inventory.rename(handle, str(soon))
    message = inventory.refused("volumes", "undelete", handle, *AS_EXT4, "--yes")
    assert "may be removed at any time; a volume can be undeleted until 5 minutes before that" in message


def test_a_volume_that_is_due_soon_by_the_clock_of_the_system_is_not_undeleted(
    inventory: InventoryWorld,
) -> None:
    handle, _ = _deleted(inventory)
    with inventory.world.in_future(DAY):
        assert "may be removed" in inventory.refused("volumes", "undelete", handle, *AS_EXT4, "--yes")


@pytest.mark.usefixtures("without_date")
def test_a_volume_is_undeleted_where_the_gateway_tells_no_time(inventory: InventoryWorld) -> None:
    handle, _ = _deleted(inventory)
    inventory.ok("volumes", "undelete", handle, *AS_EXT4, "--yes")


def test_two_people_may_undelete_a_volume_at_once(
    inventory: InventoryWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle, _ = _deleted(inventory)
    carry_out = undeleting.carry_out

    def twice(*arguments: Any) -> None:
        carry_out(*arguments)
        carry_out(*arguments)

    monkeypatch.setattr(undeleting, "carry_out", twice)
    inventory.ok("volumes", "undelete", handle, *AS_EXT4, "--yes")
    monkeypatch.undo()
    message = inventory.refused("volumes", "undelete", handle, *AS_EXT4, "--yes")
    assert "undeleted already (then csi-powerflex volumes import prints its objects)" in message


def test_a_volume_is_undeleted_although_a_new_one_has_its_name(inventory: InventoryWorld) -> None:
    handle, name = _deleted(inventory)
    new = inventory.world.driver.create(name).volume_id
    inventory.ok("volumes", "undelete", name, *AS_EXT4, "--yes")
    driver = inventory.world.driver
    assert driver.create(name).volume_id == new
    for each in (new, handle):
        driver.delete(each)
    assert len(trashed(inventory.world)) == 2


def test_an_undelete_sends_three_requests_after_it_was_shown(inventory: InventoryWorld) -> None:
    handle, _ = _deleted(inventory)
    log = inventory.world.simulator.gateway.log
    with log.watching() as shown:
        inventory.ok("volumes", "undelete", handle, *AS_EXT4)
    with log.watching() as done:
        inventory.ok("volumes", "undelete", handle, *AS_EXT4, "--yes")
    assert len(done) == len(shown) + 3


@pytest.mark.parametrize("lost", [True, False])
def test_an_interrupted_undelete_is_repeated_or_complete(inventory: InventoryWorld, lost: bool) -> None:
    handle, _ = _deleted(inventory)
    kind = FaultKind.LOST_REPLY if lost else FaultKind.RESET
    inventory.world.simulator.gateway.inject(Fault(kind=kind, times=1, route="*.setVolumeName"))
    inventory.ok("volumes", "undelete", handle, *AS_EXT4, "--yes")
    assert names.belongs_to(inventory.name_of(handle), "test")


@pytest.mark.parametrize("after", [False, True])
def test_an_undelete_that_is_killed_at_any_request_can_be_completed(
    keeping45: World, cluster: ApiServer, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    inventory, life = InventoryWorld(keeping45, cluster), Life(monkeypatch)
    for position in range(100):
        handle, _ = _deleted(inventory)
        life.end_at(position, after=after)
        with contextlib.suppress(Killed):
            inventory.run("volumes", "undelete", handle, *AS_EXT4, "--yes")
        if not life.dead:
            assert position > 5
            return
        life.begin_again()
        if names.trashed(inventory.name_of(handle)) is not None:
            inventory.ok("volumes", "undelete", handle, *AS_EXT4, "--yes")
        inventory.ok("volumes", "import", handle, *AS_EXT4)
    raise AssertionError("the command did not end")


@pytest.mark.parametrize("after", [False, True])
def test_a_sweep_that_is_killed_at_any_request_is_completed_by_the_next(
    keeping45: World, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    world = keeping45.reconfigured(trash=TrashSettings(max_bytes=8 * GIB))
    kept, life = world.driver.create("pvc-kept").volume_id, Life(monkeypatch)
    for position in range(100):
        for number in range(3):
            world.driver.delete(world.driver.create(f"pvc-{number}").volume_id)
        life.end_at(position, after=after)
        with contextlib.suppress(Killed):
            Sweeping(world).after(0)
        ended = not life.dead
        life.begin_again()
        Sweeping(world).after(DAY + 600)
        assert [f"{world.array.system.id}-{item}" for item in world.array.volumes] == [kept]
        if ended:
            assert position > 3
            return
    raise AssertionError("the sweep did not end")


def test_a_volume_that_was_renamed_since_it_was_found_is_left_alone(
    inventory: InventoryWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle, _ = _deleted(inventory)
    carry_out = undeleting.carry_out

    def later(*arguments: Any) -> None:
        inventory.rename(handle, "by-hand")
        carry_out(*arguments)

    monkeypatch.setattr(undeleting, "carry_out", later)
    message = inventory.refused("volumes", "undelete", handle, *AS_EXT4, "--yes")
    assert f"is called 'by-hand' and not {IN_TRASH}" in message
    assert inventory.name_of(handle) == "by-hand"


def test_a_new_name_that_another_volume_has_is_refused(
    inventory: InventoryWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle, _ = _deleted(inventory)

    def used(*_: object) -> None:
        raise NameInUse("in use")

    monkeypatch.setattr(GatewayArray, "rename_volume", used)
    assert "in use" in inventory.refused("volumes", "undelete", handle, *AS_EXT4, "--yes")


def test_a_name_that_is_in_use_by_the_volume_itself_is_no_error(inventory: InventoryWorld) -> None:
    renamed = Fault(kind=FaultKind.ERROR, code=99, after_effect=True, times=1, route="*.setVolumeName")
    handle = inventory.world.driver.create().volume_id
    inventory.world.simulator.gateway.inject(renamed)
    inventory.world.driver.delete(handle)
    assert len(trashed(inventory.world)) == 1
    inventory.world.simulator.gateway.inject(renamed)
    inventory.ok("volumes", "undelete", handle, *AS_EXT4, "--yes")
    assert names.belongs_to(inventory.name_of(handle), "test")


def test_a_renaming_that_the_array_does_not_show_is_an_error(
    inventory: InventoryWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle, _ = _deleted(inventory)

    def to_another(array: GatewayArray, volume_id: str, _name: str) -> None:
        inventory.rename(handle, "other")

    monkeypatch.setattr(GatewayArray, "rename_volume", to_another)
    assert "is called 'other' and not" in inventory.refused("volumes", "undelete", handle, *AS_EXT4, "--yes")


def test_a_group_whose_volume_is_in_the_trash_cannot_be_reverted(inventory: InventoryWorld) -> None:
    driver = inventory.world.driver
    volumes = [driver.create(f"pvc-{number}").volume_id for number in (1, 2)]
    group = driver.group_snapshot("groupsnapshot-1", *volumes).group_snapshot_id
    driver.delete(volumes[0])
    message = inventory.refused("volumes", "revert", "--group", group, "--yes")
    assert "do not exist any more" in message


def test_release_refuses_a_name_of_the_trash(inventory: InventoryWorld) -> None:
    handle = inventory.world.driver.create().volume_id
    name = str(names.trash_name(None, "othr", 0))
    message = inventory.refused("volumes", "release", handle, "--name", name)
    assert "is one that this driver gives to its own objects" in message


# --- two controllers -----------------------------------------------------------------------------


def test_a_volume_that_another_controller_deleted_meanwhile_stays_once_in_the_trash(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(SystemPlan(version="4.5")).reconfigured(trash=TrashSettings())
    other = world.another()
    volume = world.driver.create().volume_id
    rename, calls = GatewayArray.rename_volume, list[str]()

    def later(array: GatewayArray, volume_id: str, name: str) -> None:
        calls.append(name)
        if len(calls) == 1:
            other.delete(volume)
        rename(array, volume_id, name)

    monkeypatch.setattr(GatewayArray, "rename_volume", later)
    world.driver.delete(volume)
    assert len(trashed(world)) == 1


def test_names_of_the_trash_say_when_a_volume_is_due() -> None:
    for due in (1_577_836_800, 1_800_000_000, 2**31):
        name = names.trash_name("vtest" + "a" * 26, "test", due)
        assert len(str(name)) == names.MAX_LENGTH
        assert names.trashed(str(name)) == name
        assert name.due == due
        assert not names.belongs_to(str(name), "test")
    assert names.trash_name(None, "test", 0).due == 1_577_836_800
    assert names.trashed("vtest" + "a" * 26) is None
    assert names.trashed(IN_TRASH + "a" * 26) is None
    assert names.trashed(None) is None


def test_a_system_without_kubernetes_needs_nothing() -> None:
    needs, handle = UnknownNeeds(), VolumeHandle("0" * 16, "1" * 16)
    assert needs.delete_after(handle) is None
    assert not needs.is_needed(handle)
    Trash("test", needs)
