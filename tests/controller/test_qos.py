"""QoS limits: each mapping has them, and they are kept for later mappings, expansions and restarts."""

from __future__ import annotations

import json
import sqlite3

import grpc
import pytest

from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.faults import Fault, FaultKind
from tests.controller.api_server import Cluster
from tests.controller.conftest import MakeWorld
from tests.controller.driver import Driver, Mode, block, refused
from tests.controller.eventually import eventually
from tests.controller.world import World

INVALID = grpc.StatusCode.INVALID_ARGUMENT
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def limits(world: World, volume: csi_pb2.Volume) -> list[tuple[int, int]]:
    """IOPS and KB/s of each mapping, as the array has them."""
    mappings = world.volume(volume.volume_id).mappings
    return [(mapping.limit_iops, mapping.limit_bw_mbps * 1024) for mapping in mappings]


@pytest.fixture
def kept(array45: World) -> World:
    """A controller that keeps the requested QoS limits in a file."""
    array45.more["state_file"] = array45.folder / "state.db"
    array45.restart()
    return array45


# --- publish -------------------------------------------------------------------------------------------


def test_a_mapping_has_the_limits_of_the_storage_class(world: World, driver: Driver) -> None:
    volume = driver.create(parameters={"iopsLimit": "500", "bandwidthLimitInKbps": "2048"})
    driver.publish(volume, world.node("a"))
    assert limits(world, volume) == [(500, 2048)]


def test_limits_per_gib_depend_on_the_size_and_the_smaller_limit_applies(array45: World) -> None:
    parameters = {"iopsPerGiB": "10", "iopsLimit": "100", "bandwidthPerGiBInKbps": "256"}
    for gib, expected in ((8, (80, 2048)), (16, (100, 4096))):
        volume = array45.driver.create(f"pvc-{gib}", gib=gib, parameters=parameters)
        array45.driver.publish(volume, array45.node("a"))
        assert limits(array45, volume) == [expected]


def test_mutable_parameters_of_create_override_those_of_the_storage_class(array45: World) -> None:
    volume = array45.driver.create(
        parameters={"iopsLimit": "500", "bandwidthLimitInKbps": "1024"},
        mutable_parameters={"iopsLimit": "2000"},
    )
    array45.driver.publish(volume, array45.node("a"))
    assert limits(array45, volume) == [(2000, 1024)]


def test_a_mapping_without_its_limits_stays_and_gets_them_from_the_repeated_call(array45: World) -> None:
    """It is not removed: another controller may have found it and answered that the volume is published."""
    volume = array45.driver.create(parameters={"iopsLimit": "500"})
    array45.simulator.gateway.inject(
        Fault(kind=FaultKind.ERROR, code=1, path="*/setMappedSdcLimits", times=1)
    )
    with pytest.raises(grpc.RpcError):
        array45.driver.publish(volume, array45.node("a"))
    assert limits(array45, volume) == [(0, 0)]
    array45.driver.publish(volume, array45.node("a"))
    assert limits(array45, volume) == [(500, 0)]


# --- modify --------------------------------------------------------------------------------------------


def test_a_change_applies_to_each_mapping_of_a_shared_volume(world: World, driver: Driver) -> None:
    shared = block(Mode.MULTI_NODE_MULTI_WRITER)
    volume = driver.create(capabilities=[shared])
    for name in ("a", "b", "c"):
        driver.publish(volume, world.node(name), shared)
    driver.modify(volume.volume_id, iopsLimit="700")
    assert limits(world, volume) == [(700, 0)] * 3


@pytest.mark.parametrize("code", [84, 4039])
def test_a_volume_that_is_unmapped_during_the_change_has_the_limits_at_its_next_mapping(
    array45: World, code: int
) -> None:
    volume = array45.driver.create()
    array45.driver.publish(volume, array45.node("a"))
    array45.simulator.gateway.inject(
        Fault(kind=FaultKind.ERROR, code=code, path="*/setMappedSdcLimits", times=1)
    )
    array45.driver.modify(volume.volume_id, iopsLimit="500")
    array45.driver.unpublish(volume.volume_id, array45.node("a"))
    array45.driver.publish(volume, array45.node("a"))
    assert limits(array45, volume) == [(500, 0)]


def test_a_change_of_an_unmapped_volume_applies_to_its_next_mapping(world: World, driver: Driver) -> None:
    volume = driver.create(parameters={"iopsLimit": "500"})
    driver.modify(volume.volume_id, bandwidthLimitInKbps="3072")
    driver.publish(volume, world.node("a"))
    assert limits(world, volume) == [(500, 3072)]


def test_a_change_keeps_other_limits_and_0_removes_one(world: World, driver: Driver) -> None:
    volume = driver.create(parameters={"iopsLimit": "500", "bandwidthLimitInKbps": "1024"})
    driver.publish(volume, world.node("a"))
    driver.modify(volume.volume_id, bandwidthLimitInKbps="2048")
    assert limits(world, volume) == [(500, 2048)]
    driver.modify(volume.volume_id, iopsLimit="0")
    assert limits(world, volume) == [(0, 2048)]
    driver.unpublish(volume.volume_id, world.node("a"))
    driver.publish(volume, world.node("b"))
    assert limits(world, volume) == [(0, 2048)]


def test_the_same_change_again_does_not_change_the_array(array45: World) -> None:
    volume = array45.driver.create()
    array45.driver.publish(volume, array45.node("a"))
    array45.driver.modify(volume.volume_id, iopsLimit="700")
    log = array45.simulator.gateway.log
    since = log.last
    array45.driver.modify(volume.volume_id, iopsLimit="700")
    assert [entry.method for entry in log.find(since=since)] == ["GET"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"iopsLimit": "5"},
        {"iopsLimit": "-1"},
        {"iopsLimit": "many"},
        {"bandwidthLimitInKbps": "1000"},
        {"iopsLimit": "500", "storagepool": " "},
        {"iopsLimit": "500", "iopslimit": "600"},
    ],
    ids=str,
)
def test_an_invalid_change_changes_nothing(array45: World, wrong: dict[str, str]) -> None:
    volume = array45.driver.create()
    array45.driver.publish(volume, array45.node("a"))
    log = array45.simulator.gateway.log
    since = log.last
    refused(INVALID, lambda: array45.driver.modify(volume.volume_id, **wrong))
    assert not log.find(since=since)
    assert limits(array45, volume) == [(0, 0)]


def test_modify_of_a_deleted_volume_is_not_found(driver: Driver) -> None:
    volume = driver.create()
    driver.delete(volume.volume_id)
    refused(grpc.StatusCode.NOT_FOUND, lambda: driver.modify(volume.volume_id, iopsLimit="500"))


def test_a_repeated_create_call_does_not_undo_a_change(array45: World) -> None:
    first = array45.driver.create(mutable_parameters={"iopsLimit": "500"})
    array45.driver.modify(first.volume_id, iopsLimit="900")
    array45.driver.create(mutable_parameters={"iopsLimit": "500"})
    array45.driver.publish(first, array45.node("a"))
    assert limits(array45, first) == [(900, 0)]


# --- expand --------------------------------------------------------------------------------------------


def test_limits_per_gib_change_when_the_volume_is_expanded(world: World, driver: Driver) -> None:
    volume = driver.create(parameters={"iopsPerGiB": "10"})
    driver.publish(volume, world.node("a"))
    driver.expand(volume.volume_id, gib=24)
    assert limits(world, volume) == [(240, 0)]


def test_an_expansion_interrupted_before_the_limits_sets_them_when_it_is_repeated(array45: World) -> None:
    volume = array45.driver.create(parameters={"iopsPerGiB": "10"})
    array45.driver.publish(volume, array45.node("a"))
    array45.simulator.gateway.inject(
        Fault(kind=FaultKind.ERROR, code=1, path="*/setMappedSdcLimits", times=1)
    )
    with pytest.raises(grpc.RpcError):
        array45.driver.expand(volume.volume_id, gib=16)
    assert limits(array45, volume) == [(80, 0)]
    array45.driver.expand(volume.volume_id, gib=16)
    assert limits(array45, volume) == [(160, 0)]


# --- restarts ------------------------------------------------------------------------------------------


def test_the_state_file_keeps_the_requested_limits_during_a_restart(kept: World) -> None:
    volume = kept.driver.create(parameters={"iopsPerGiB": "10"})
    kept.driver.modify(volume.volume_id, bandwidthLimitInKbps="1024")
    driver = kept.restart()
    driver.publish(volume, kept.node("a"))
    assert limits(kept, volume) == [(80, 1024)]
    kept.restart().expand(volume.volume_id, gib=16)
    assert limits(kept, volume) == [(160, 1024)]


def test_a_deleted_volume_is_removed_from_the_state_file(kept: World) -> None:
    volume = kept.driver.create(mutable_parameters={"iopsLimit": "500"})
    kept.driver.delete(volume.volume_id)
    with sqlite3.connect(kept.folder / "state.db") as database:
        assert database.execute("SELECT count(*) FROM qos_requests").fetchone() == (0,)


def test_a_volume_whose_limits_cannot_be_read_is_not_published(kept: World) -> None:
    volume = kept.driver.create(mutable_parameters={"iopsLimit": "500"})
    with sqlite3.connect(kept.folder / "state.db") as database:
        database.execute('UPDATE qos_requests SET parameters = \'{"iopsLimit": "5\'')
    text = refused(UNAVAILABLE, lambda: kept.driver.publish(volume, kept.node("a")))
    assert "state.db has no usable limits for volume" in text
    assert limits(kept, volume) == []


def test_a_state_file_that_is_not_a_database_is_an_error_at_the_start(array45: World) -> None:
    file = array45.folder / "state.db"
    file.write_text("not a database, but as long as one" * 40)
    array45.more["state_file"] = file
    with pytest.raises(Exception, match=r"cannot keep state in .*state.db: file is not a database"):
        array45.restart()
    assert file.read_text().startswith("not a database")
    array45.more.clear()
    array45.restart()


# --- Kubernetes ----------------------------------------------------------------------------------------


def test_in_kubernetes_each_mapping_has_the_limits_of_the_attributes_class(
    make_world: MakeWorld,
) -> None:
    world = make_world()
    with Cluster(world.folder / "cluster") as cluster:
        kubeconfig = world.folder / "kubeconfig"
        kubeconfig.write_text(json.dumps(cluster.kubeconfig()))
        world.more |= {"in_kubernetes": True, "kubeconfig": kubeconfig}
        driver = world.restart()
        volume = driver.create(parameters={"iopsPerGiB": "10"}, mutable_parameters={"iopsLimit": "50"})
        driver.publish(volume, world.node("a"))
        assert limits(world, volume) == [(50, 0)]
        # Now the volume exists in the cluster, and its class has other limits.
        cluster.put_class("gold", iopsLimit="0", bandwidthLimitInKbps="4096")
        cluster.put_volume(volume.volume_id, "gold", **dict(volume.volume_context))
        driver.unpublish(volume.volume_id, world.node("a"))

        def has_gold() -> bool:
            try:
                driver.publish(volume, world.node("b"))
            except grpc.RpcError as error:
                # The driver has seen the volume, but not its class yet.
                if error.code() is UNAVAILABLE:
                    return False
                raise
            return limits(world, volume) == [(80, 4096)]

        eventually(has_gold)
        world.restart().expand(volume.volume_id, gib=16)
        assert limits(world, volume) == [(160, 4096)]
        # Another controller got the request to change the class. This one, which may have mapped the volume
        # meanwhile, sees the change in the cluster.
        cluster.put_class("iron", iopsLimit="30", bandwidthLimitInKbps="1024")
        cluster.put_volume(volume.volume_id, "iron", **dict(volume.volume_context))
        eventually(lambda: limits(world, volume) == [(30, 1024)])
        world.more.clear()
        world.restart()
