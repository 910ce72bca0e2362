"""Mapping volumes to nodes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.inprocess import Client
from csi_powerflex.simulator.resources.host import register_sdc
from csi_powerflex.simulator.settings import Settings
from tests.controller.conftest import MakeWorld
from tests.controller.driver import Driver, Mode, block, mount, outcome, refused
from tests.controller.eventually import eventually
from tests.controller.world import World

PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
NOT_FOUND = grpc.StatusCode.NOT_FOUND


def test_a_published_volume_is_mapped_and_the_publish_context_is_complete(
    world: World, driver: Driver
) -> None:
    volume = driver.create()
    assert driver.publish(volume, world.node("a")) == {
        "transport": "sdc",
        "sizeBytes": str(volume.capacity_bytes),
        "readOnly": "false",
    }
    (mapping,) = world.volume(volume.volume_id).mappings
    assert world.array.hosts[mapping.host_id].name == "a"
    assert mapping.access_mode == "ReadWrite"


def test_publishing_again_gives_the_same_answer(world: World, driver: Driver) -> None:
    volume = driver.create()
    first = driver.publish(volume, world.node("a"))
    assert driver.publish(volume, world.node("a")) == first
    assert world.restart().publish(volume, world.node("a")) == first
    assert len(world.volume(volume.volume_id).mappings) == 1


@pytest.mark.parametrize("route", ["Volume.addMappedSdc", "Volume.setMappedSdcLimits"])
def test_a_failed_publish_keeps_the_mapping_that_another_controller_answered_for(
    array45: World, route: str
) -> None:
    """The mapping may be the other controller's, or this one's, which the other one has found and used."""
    volume = array45.driver.create(parameters={"iopsLimit": "500"})
    other, gateway = array45.another(), array45.simulator.gateway
    frozen = gateway.inject(Fault(kind=FaultKind.FREEZE, route=route, times=1))
    with ThreadPoolExecutor(1) as caller:
        first = caller.submit(outcome, lambda: array45.driver.publish(volume, array45.node("a")))
        eventually(lambda: gateway.faults.struck(frozen) == 1)
        other.publish(volume, array45.node("a"))
        gateway.inject(Fault(kind=FaultKind.ERROR, status=500, route=route))
        gateway.inject(Fault(kind=FaultKind.ERROR, status=500, route="Volume.setMappedSdcLimits"))
        gateway.faults.remove(frozen)
        assert first.result(timeout=60) in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.OK)
    (mapping,) = array45.volume(volume.volume_id).mappings
    assert mapping.limit_iops == 500


def test_a_publish_that_finds_a_new_mapping_sets_its_own_limits(array45: World) -> None:
    """The mapping was made after the volume was read, and has limits that this publish does not ask for."""
    volume = array45.driver.create()
    limited = array45.driver.create("pvc-limited", parameters={"iopsLimit": "500"})
    limited.volume_id = volume.volume_id
    other, gateway = array45.another(), array45.simulator.gateway
    frozen = gateway.inject(Fault(kind=FaultKind.FREEZE, route="Volume.addMappedSdc", times=1))
    with ThreadPoolExecutor(1) as caller:
        first = caller.submit(array45.driver.publish, volume, array45.node("a"))
        eventually(lambda: gateway.faults.struck(frozen) == 1)
        other.publish(limited, array45.node("a"))
        gateway.faults.remove(frozen)
        first.result(timeout=60)
    (mapping,) = array45.volume(volume.volume_id).mappings
    assert mapping.limit_iops == 0


def test_a_host_with_a_new_id_that_another_controller_has_mapped_is_used(array45: World) -> None:
    volume = array45.driver.create()
    gateway = array45.simulator.gateway
    gateway.inject(Fault(kind=FaultKind.ERROR, code=80, route="Volume.addMappedSdc", times=1))
    gateway.inject(
        Fault(kind=FaultKind.ERROR, code=81, route="Volume.addMappedSdc", times=1, skip=1, after_effect=True)
    )
    assert array45.driver.publish(volume, array45.node("a"))
    assert len(array45.volume(volume.volume_id).mappings) == 1


def test_a_volume_for_one_node_is_refused_to_a_second_with_the_name_of_the_first(
    world: World, driver: Driver
) -> None:
    volume = driver.create()
    driver.publish(volume, world.node("a"))
    text = refused(PRECONDITION, lambda: driver.publish(volume, world.node("b")))
    assert "mapped to a (host id" in text
    assert len(world.volume(volume.volume_id).mappings) == 1


def test_a_mapping_to_a_host_that_was_reinstalled_is_named_with_what_to_do(
    world: World, driver: Driver
) -> None:
    """The node has another SDC now. The attacher detaches by the new id, and no one asks for the old one."""
    volume = driver.create()
    driver.publish(volume, world.node("a"))
    driver.unpublish(volume.volume_id, world.node("b"))
    for call in (
        lambda: driver.publish(volume, world.node("b")),
        lambda: driver.delete(volume.volume_id),
    ):
        text = refused(PRECONDITION, call)
        assert "is mapped to a (host id" in text
        assert "wait until its VolumeAttachment is deleted" in text
        assert "the host may be removed from the cluster, or reinstalled" in text
        assert "unmap it from this host at the array" in text
    assert len(world.volume(volume.volume_id).mappings) == 1


def test_a_shared_block_volume_is_mapped_to_several_nodes(world: World, driver: Driver) -> None:
    shared = block(Mode.MULTI_NODE_MULTI_WRITER)
    volume = driver.create(capabilities=[shared])
    for name in ("a", "b", "c"):
        driver.publish(volume, world.node(name), shared)
    assert len(world.volume(volume.volume_id).mappings) == 3


@pytest.mark.parametrize("readonly", [True, False])
def test_readers_get_a_read_only_mapping(world: World, driver: Driver, readonly: bool) -> None:
    volume = driver.create()
    reading = mount() if readonly else mount(Mode.MULTI_NODE_READER_ONLY)
    assert driver.publish(volume, world.node("a"), reading, readonly=readonly)["readOnly"] == "true"
    (mapping,) = world.volume(volume.volume_id).mappings
    assert mapping.access_mode == "ReadOnly"


def test_a_volume_published_read_only_is_not_published_writable_to_the_same_node(
    world: World, driver: Driver
) -> None:
    volume = driver.create()
    driver.publish(volume, world.node("a"), readonly=True)
    text = refused(grpc.StatusCode.ALREADY_EXISTS, lambda: driver.publish(volume, world.node("a")))
    assert "ReadOnly" in text


@pytest.mark.parametrize("node_id", ["some-fake-node-id", "sdc:00000000-0000-0000-0000-000000000000"])
def test_an_unknown_node_is_not_found(array45: World, node_id: str) -> None:
    volume = array45.driver.create()
    refused(NOT_FOUND, lambda: array45.driver.publish(volume, node_id))


def test_an_unknown_volume_is_not_found(world: World, driver: Driver) -> None:
    refused(NOT_FOUND, lambda: driver.publish("fake-vol-id", world.node("a")))
    missing = f"{world.array.system.id}-{'f' * 16}"
    refused(NOT_FOUND, lambda: driver.publish(missing, world.node("a")))


def test_a_volume_is_unpublished_and_a_repeated_call_succeeds(world: World, driver: Driver) -> None:
    volume = driver.create()
    driver.publish(volume, world.node("a"))
    driver.unpublish(volume.volume_id, world.node("a"))
    assert not world.volume(volume.volume_id).mappings
    driver.unpublish(volume.volume_id, world.node("a"))


def test_unpublishing_one_node_keeps_the_mappings_of_others(world: World, driver: Driver) -> None:
    shared = block(Mode.MULTI_NODE_MULTI_WRITER)
    volume = driver.create(capabilities=[shared])
    for name in ("a", "b"):
        driver.publish(volume, world.node(name), shared)
    driver.unpublish(volume.volume_id, world.node("a"))
    (mapping,) = world.volume(volume.volume_id).mappings
    assert world.array.hosts[mapping.host_id].name == "b"


def test_unpublishing_without_a_node_unmaps_every_node(world: World, driver: Driver) -> None:
    shared = block(Mode.MULTI_NODE_MULTI_WRITER)
    volume = driver.create(capabilities=[shared])
    for name in ("a", "b"):
        driver.publish(volume, world.node(name), shared)
    driver.unpublish(volume.volume_id)
    assert not world.volume(volume.volume_id).mappings
    driver.unpublish(volume.volume_id)


def test_unpublishing_a_deleted_volume_succeeds(array45: World) -> None:
    volume = array45.driver.create()
    array45.driver.unpublish(volume.volume_id, "some-fake-node-id")
    array45.driver.unpublish(volume.volume_id, "sdc:00000000-0000-0000-0000-000000000000")
    array45.driver.delete(volume.volume_id)
    array45.driver.unpublish(volume.volume_id, array45.node("a"))
    array45.driver.unpublish("fake-vol-id", array45.node("a"))


UNKNOWN_NODES = ("some-fake-node-id", "iscsi:iqn.1993-08.org.debian:01:abc", "sdc:nonsense")


@pytest.mark.parametrize("node_id", UNKNOWN_NODES)
def test_unpublishing_from_a_node_that_is_not_known_never_hides_a_mapping(
    array45: World, node_id: str
) -> None:
    """A newer version may have registered the node, and the volume may be mapped to it."""
    volume = array45.driver.create()
    array45.driver.publish(volume, array45.node("a"))
    text = refused(grpc.StatusCode.NOT_FOUND, lambda: array45.driver.unpublish(volume.volume_id, node_id))
    assert "is mapped to a (host id" in text
    assert repr(node_id) in text
    assert len(array45.volume(volume.volume_id).mappings) == 1
    array45.driver.unpublish(volume.volume_id, array45.node("a"))
    array45.driver.unpublish(volume.volume_id, node_id)
    array45.driver.delete(volume.volume_id)
    array45.driver.unpublish(volume.volume_id, node_id)


def test_a_node_with_a_part_that_is_not_known_is_unpublished_by_the_known_one(array45: World) -> None:
    volume = array45.driver.create()
    array45.driver.publish(volume, array45.node("a"))
    array45.driver.unpublish(volume.volume_id, f"{array45.node('a')},iscsi:iqn.1993-08.org.debian:01:abc")
    assert not array45.volume(volume.volume_id).mappings


def test_the_unknown_part_of_a_node_may_be_the_one_that_is_mapped(array45: World) -> None:
    volume = array45.driver.create()
    array45.driver.publish(volume, array45.node("b"))
    node = f"{array45.node('a')},iscsi:iqn.1993-08.org.debian:01:abc"
    text = refused(grpc.StatusCode.NOT_FOUND, lambda: array45.driver.unpublish(volume.volume_id, node))
    assert "is mapped to b (host id" in text
    assert len(array45.volume(volume.volume_id).mappings) == 1


NQN = "nqn.2014-08.org.nvmexpress:uuid:4c4c4544-0043-3610-8052-b4c04f4a5631"


def nvme_host(world: World, name: str = "n1") -> str:
    """Create an NVMe host on the array, as another driver would. Returns its id."""
    body = {"nqn": NQN, "name": name}
    return str(Client(world.simulator.gateway).post("/api/types/Host/instances", body)["id"])


def map_to_nvme_host(world: World, volume: csi_pb2.Volume) -> None:
    volume_id = volume.volume_id.partition("-")[2]
    Client(world.simulator.gateway).act("Volume", volume_id, "addMappedHost", hostId=nvme_host(world))


def test_a_volume_on_an_nvme_host_shows_it_as_published_node(array45: World) -> None:
    volume = array45.driver.create()
    map_to_nvme_host(array45, volume)
    assert list(array45.driver.get(volume.volume_id).status.published_node_ids) == [f"nqn:{NQN}"]
    listed = array45.driver.controller.ListVolumes(csi_pb2.ListVolumesRequest(), timeout=30).entries
    assert [list(entry.status.published_node_ids) for entry in listed] == [[f"nqn:{NQN}"]]


def test_the_limits_of_a_volume_on_an_nvme_host_cannot_be_changed(array45: World) -> None:
    volume = array45.driver.create()
    map_to_nvme_host(array45, volume)
    text = refused(PRECONDITION, lambda: array45.driver.modify(volume.volume_id, iopsLimit="1000"))
    assert "is mapped to n1 (host id" in text
    assert "limits it to 1000 IOPS and 0 KB/s (0: without limit), and the array cannot limit" in text


def test_a_volume_on_an_nvme_host_is_not_given_to_another_node(array45: World) -> None:
    volume = array45.driver.create()
    map_to_nvme_host(array45, volume)
    text = refused(
        grpc.StatusCode.FAILED_PRECONDITION, lambda: array45.driver.publish(volume, array45.node("a"))
    )
    assert "is mapped to n1 (host id" in text


@pytest.mark.parametrize("node_id", [f"nqn:{NQN}", f"nqn:{NQN.upper().replace('NQN', 'nqn')}", ""])
def test_a_volume_is_unpublished_from_an_nvme_host(array45: World, node_id: str) -> None:
    volume = array45.driver.create()
    map_to_nvme_host(array45, volume)
    array45.driver.unpublish(volume.volume_id, node_id)
    assert not array45.volume(volume.volume_id).mappings


def test_a_node_with_two_hosts_is_one_published_node(array45: World) -> None:
    volume = array45.driver.create()
    nvme_host(array45)
    node = f"{array45.node('a')},nqn:{NQN}"
    assert array45.driver.publish(volume, node)["transport"] == "sdc"
    assert list(array45.driver.get(volume.volume_id).status.published_node_ids) == [node]
    array45.driver.unpublish(volume.volume_id, node)
    assert not array45.volume(volume.volume_id).mappings


def test_a_node_at_its_limit_is_resource_exhausted(make_world: MakeWorld) -> None:
    world = make_world(settings=Settings(max_volumes_per_host=1))
    first, second = world.driver.create("pvc-1"), world.driver.create("pvc-2")
    world.driver.publish(first, world.node("a"))
    refused(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: world.driver.publish(second, world.node("a")))


def test_an_sdc_that_was_removed_and_added_again_is_found_by_its_guid(array45: World) -> None:
    volume = array45.driver.create()
    array45.driver.publish(volume, array45.node("a"))
    array45.driver.unpublish(volume.volume_id, array45.node("a"))
    (old,) = [host for host in array45.array.hosts.values() if host.name == "a"]
    with array45.array.lock:
        array45.array.drop(old)
        register_sdc(array45.array, "a", old.guid or "", "192.0.2.99")
        array45.array.commit()
    assert array45.driver.publish(volume, array45.node("a"))
    (mapping,) = array45.volume(volume.volume_id).mappings
    assert mapping.host_id != old.id


def unapproved(world: World, name: str) -> None:
    """Restrict the system to approved SDCs, of which this is none."""
    (host,) = [host for host in world.array.hosts.values() if host.name == name]
    world.array.change(world.array.system, restricted_mode="Guid")
    world.array.change(host, approved=False)


def test_an_unapproved_sdc_is_refused_and_the_error_says_what_to_do(array45: World) -> None:
    unapproved(array45, "a")
    volume = array45.driver.create()
    text = refused(PRECONDITION, lambda: array45.driver.publish(volume, array45.node("a")))
    assert "approveHosts: true" in text


def test_an_unapproved_sdc_is_approved_if_that_is_configured(make_world: MakeWorld) -> None:
    world = make_world(approve_hosts=True)
    unapproved(world, "a")
    volume = world.driver.create()
    world.driver.publish(volume, world.node("a"))
    assert world.volume(volume.volume_id).mappings


# --- hosts without a connection to the array ---------------------------------------------------------


def test_a_host_without_a_connection_is_named_in_the_log_and_for_the_node(
    world: World, driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    volume = driver.create()
    world.simulator.gateway.set_connected("a", connected=False)
    assert driver.publish(volume, world.node("a"))["hostConnected"] == "false"
    assert "volume mapped to a host that the array is not connected to" in caplog.messages


def test_a_host_that_is_connected_again_is_not_called_disconnected(world: World, driver: Driver) -> None:
    volume = driver.create()
    world.simulator.gateway.set_connected("a", connected=False)
    assert "hostConnected" in driver.publish(volume, world.node("a"))
    world.simulator.gateway.set_connected("a", connected=True)
    assert "hostConnected" not in driver.publish(volume, world.node("a"))
