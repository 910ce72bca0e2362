"""A volume that the controller has just created is mapped without a look at it. All rules of others hold."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from csi_powerflex.config.systems.schema import TrashSettings
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.operations.controller.new_volumes import NewVolumes
from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.inprocess import Client
from tests.controller.conftest import MakeWorld
from tests.controller.driver import GIB, Mode, block, mount, outcome, refused
from tests.controller.eventually import eventually
from tests.controller.nvme import NODE, create_nvme_host, map_to, mapped_to
from tests.controller.world import World

PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
SHARED = block(Mode.MULTI_NODE_MULTI_WRITER)
MAP, READ = "Volume.addMappedSdc", "Volume.get"
HANDLES = [VolumeHandle("a" * 16, f"{number:016x}") for number in range(3)]


@pytest.fixture
def warm(array45: World) -> World:
    """A controller that knows the hosts and pools."""
    volume = array45.driver.create("pvc-warm")
    array45.driver.publish(volume, array45.node("a"))
    return array45


def asked(world: World, call: Callable[[], object]) -> list[str]:
    """The routes of the requests that a call makes."""
    with world.simulator.gateway.log.watching() as requests:
        call()
    return [entry.route for entry in requests]


def act(world: World, volume: csi_pb2.Volume, action: str, **body: object) -> None:
    """Run an action of the volume at the array, as a person would."""
    Client(world.simulator.gateway).act("Volume", volume.volume_id.partition("-")[2], action, **body)


# --- the fewest requests -------------------------------------------------------------------------


def test_the_first_publication_of_a_new_volume_sends_the_mapping_alone(warm: World) -> None:
    volume = warm.driver.create()
    assert asked(warm, lambda: warm.driver.publish(volume, warm.node("a"))) == [MAP]
    assert mapped_to(warm, volume) == ["a"]


def test_the_answer_is_that_for_a_volume_that_was_read(warm: World) -> None:
    volume = warm.driver.create(gib=16)
    first = warm.driver.publish(volume, warm.node("a"))
    assert first == warm.another().publish(volume, warm.node("a"))
    assert first["sizeBytes"] == str(16 * GIB)


def test_a_new_volume_with_fixed_limits_gets_them(warm: World) -> None:
    volume = warm.driver.create(parameters={"iopsLimit": "500"})
    routes = asked(warm, lambda: warm.driver.publish(volume, warm.node("a")))
    assert routes == [MAP, "Volume.setMappedSdcLimits"]
    (mapping,) = warm.volume(volume.volume_id).mappings
    assert mapping.limit_iops == 500


def test_a_new_copy_is_mapped_without_a_look(warm: World) -> None:
    source = warm.driver.create().volume_id
    copy = warm.driver.clone("pvc-copy", source, gib=16)
    assert asked(warm, lambda: warm.driver.publish(copy, warm.node("a"))) == [MAP]


def test_what_was_known_is_used_once(warm: World) -> None:
    volume = warm.driver.create()
    warm.driver.publish(volume, warm.node("a"))
    assert asked(warm, lambda: warm.driver.publish(volume, warm.node("a"))) == [READ]
    warm.driver.unpublish(volume.volume_id, warm.node("a"))
    assert asked(warm, lambda: warm.driver.publish(volume, warm.node("b"))) == [READ, MAP]


def test_after_a_lost_answer_the_repeated_call_reads_the_volume(warm: World) -> None:
    volume = warm.driver.create()
    warm.simulator.gateway.inject(Fault(kind=FaultKind.HTML, status=502, route=MAP, after_effect=True))
    refused(grpc.StatusCode.UNAVAILABLE, lambda: warm.driver.publish(volume, warm.node("a")))
    warm.simulator.gateway.faults.clear()
    assert asked(warm, lambda: warm.driver.publish(volume, warm.node("a"))) == [READ]
    assert mapped_to(warm, volume) == ["a"]


# --- what is read first --------------------------------------------------------------------------


def test_a_volume_that_an_earlier_call_created_is_read(warm: World) -> None:
    volume = warm.driver.create()
    again = warm.restart()
    assert again.create().volume_id == volume.volume_id
    assert READ in asked(warm, lambda: again.publish(volume, warm.node("a")))


def test_another_controller_reads_the_volume(warm: World) -> None:
    volume, other = warm.driver.create(), warm.another()
    other.create("pvc-other")
    assert READ in asked(warm, lambda: other.publish(volume, warm.node("a")))


def test_a_volume_on_a_system_with_a_trash_is_read(make_world: MakeWorld) -> None:
    """Another controller may have put it there, and the array maps volumes that are in the trash."""
    world = make_world(trash=TrashSettings())
    volume, other = world.driver.create(), world.another()
    other.delete(volume.volume_id)
    text = refused(grpc.StatusCode.NOT_FOUND, lambda: world.driver.publish(volume, world.node("a")))
    assert "is in the trash" in text
    assert mapped_to(world, volume) == []


def test_limits_that_depend_on_the_size_follow_a_size_that_another_controller_has_set(warm: World) -> None:
    volume = warm.driver.create(parameters={"iopsPerGiB": "100"})
    warm.another().expand(volume.volume_id, gib=16)
    warm.driver.publish(volume, warm.node("a"))
    (mapping,) = warm.volume(volume.volume_id).mappings
    assert mapping.limit_iops == 1600


def test_a_volume_that_was_expanded_is_read(warm: World) -> None:
    volume = warm.driver.create()
    warm.driver.expand(volume.volume_id, gib=16)
    assert warm.driver.publish(volume, warm.node("a"))["sizeBytes"] == str(16 * GIB)


def test_a_volume_for_an_nvme_host_is_read(warm: World) -> None:
    """Its pool, which a move changes, decides by which portals it is reached."""
    volume = warm.driver.create()
    assert asked(warm, lambda: warm.driver.publish(volume, NODE))[0] == READ
    pinned = warm.driver.create("pvc-pinned", parameters={"transport": "nvme"})
    assert asked(warm, lambda: warm.driver.publish(pinned, f"{warm.node('a')},{NODE}"))[0] == READ


def test_a_volume_that_could_be_mapped_to_an_nvme_host_is_read(warm: World) -> None:
    """The array's code for a mapping to another host speaks of SDCs alone."""
    warm.driver.publish(warm.driver.create(), NODE)
    both = warm.driver.create("pvc-both")
    assert asked(warm, lambda: warm.driver.publish(both, warm.node("a"))) == [READ, MAP]
    pinned = warm.driver.create("pvc-pinned", parameters={"transport": "sdc"})
    assert asked(warm, lambda: warm.driver.publish(pinned, warm.node("a"))) == [MAP]


def test_a_volume_that_a_repeated_call_has_answered_for_is_read(warm: World) -> None:
    """Between the two calls, another controller may have used it."""
    volume = warm.driver.create()
    assert warm.driver.create().volume_id == volume.volume_id
    assert asked(warm, lambda: warm.driver.publish(volume, warm.node("a"))) == [READ, MAP]


def test_a_copy_that_a_repeated_call_has_grown_is_read(warm: World) -> None:
    source = warm.driver.create().volume_id
    warm.driver.clone("pvc-copy", source)
    copy = warm.driver.clone("pvc-copy", source, gib=16)
    assert warm.driver.publish(copy, warm.node("a"))["sizeBytes"] == str(16 * GIB)


def test_a_shared_volume_is_not_mapped_to_the_second_host_of_a_node(warm: World) -> None:
    """The array does not refuse a second mapping then."""
    volume = warm.driver.create(capabilities=[SHARED])
    map_to(warm, volume, create_nvme_host(warm))
    context = warm.driver.publish(volume, f"{warm.node('a')},{NODE}", SHARED)
    assert context["transport"] == "nvme"
    assert mapped_to(warm, volume) == ["n1"]


def test_a_host_that_is_not_connected_is_looked_at_again(warm: World) -> None:
    warm.simulator.gateway.set_connected("b", connected=False)
    warm.restart()
    volume = warm.driver.create()
    assert warm.driver.publish(volume, warm.node("b"))["hostConnected"] == "false"


def test_an_unknown_node_is_not_found(warm: World) -> None:
    volume = warm.driver.create()
    unknown = "sdc:00000000-0000-0000-0000-000000000000"
    refused(grpc.StatusCode.NOT_FOUND, lambda: warm.driver.publish(volume, unknown))
    assert mapped_to(warm, volume) == []


# --- what others have done meanwhile -------------------------------------------------------------


def test_a_volume_that_another_controller_has_mapped_elsewhere_gets_no_second_writer(warm: World) -> None:
    volume = warm.driver.create()
    warm.another().publish(volume, warm.node("b"))
    text = refused(PRECONDITION, lambda: warm.driver.publish(volume, warm.node("a")))
    assert "is mapped to b (host id" in text
    assert mapped_to(warm, volume) == ["b"]


def test_of_two_controllers_that_publish_to_two_nodes_at_the_same_time_one_is_refused(warm: World) -> None:
    volume, other, gateway = warm.driver.create(), warm.another(), warm.simulator.gateway
    frozen = gateway.inject(Fault(kind=FaultKind.FREEZE, route=MAP, times=1))
    with ThreadPoolExecutor(1) as caller:
        first = caller.submit(outcome, lambda: warm.driver.publish(volume, warm.node("a")))
        eventually(lambda: gateway.faults.struck(frozen) == 1)
        other.publish(volume, warm.node("b"))
        gateway.faults.remove(frozen)
        assert first.result(timeout=60) is PRECONDITION
    assert mapped_to(warm, volume) == ["b"]


def test_a_mapping_of_another_controller_to_the_same_node_is_used(warm: World) -> None:
    volume = warm.driver.create()
    other = warm.another().publish(volume, warm.node("a"))
    assert warm.driver.publish(volume, warm.node("a")) == other
    assert mapped_to(warm, volume) == ["a"]


def test_a_mapping_with_another_access_is_refused(warm: World) -> None:
    volume = warm.driver.create()
    warm.another().publish(volume, warm.node("a"), readonly=True)
    text = refused(grpc.StatusCode.ALREADY_EXISTS, lambda: warm.driver.publish(volume, warm.node("a")))
    assert "ReadOnly" in text


def test_a_single_writer_whose_node_has_the_volume_over_nvme_keeps_this_transport(warm: World) -> None:
    volume = warm.driver.create()
    map_to(warm, volume, create_nvme_host(warm))
    assert warm.driver.publish(volume, f"{warm.node('a')},{NODE}")["transport"] == "nvme"
    assert mapped_to(warm, volume) == ["n1"]


def test_a_volume_that_another_controller_has_deleted_is_not_found(warm: World) -> None:
    volume = warm.driver.create()
    warm.another().delete(volume.volume_id)
    text = refused(grpc.StatusCode.NOT_FOUND, lambda: warm.driver.publish(volume, warm.node("a")))
    assert "to show volume" in text


def test_a_volume_that_this_controller_has_deleted_is_not_new_any_more(warm: World) -> None:
    volume = warm.driver.create()
    warm.driver.delete(volume.volume_id)

    def publish() -> None:
        refused(grpc.StatusCode.NOT_FOUND, lambda: warm.driver.publish(volume, warm.node("a")))

    assert asked(warm, publish) == [READ]


def test_a_volume_that_a_person_has_renamed_is_published_as_before(warm: World) -> None:
    """Its name decides about its deletion, and the volume is read before that."""
    volume = warm.driver.create()
    act(warm, volume, "setVolumeName", newName="by-hand")
    assert warm.driver.publish(volume, warm.node("a"))["transport"] == "sdc"


def test_a_volume_that_a_person_has_made_read_only_is_refused_when_the_call_is_repeated(warm: World) -> None:
    """The array has no code for it, so only the look at the volume says why."""
    volume = warm.driver.create()
    act(warm, volume, "setVolumeAccessModeLimit", accessModeLimit="ReadOnly")
    refused(grpc.StatusCode.UNAVAILABLE, lambda: warm.driver.publish(volume, warm.node("a")))
    text = refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: warm.driver.publish(volume, warm.node("a")))
    assert "is read-only on the array" in text
    reading = mount(Mode.MULTI_NODE_READER_ONLY)
    assert warm.driver.publish(volume, warm.node("a"), reading)["readOnly"] == "true"


# --- what is remembered --------------------------------------------------------------------------


def test_a_new_volume_is_remembered_for_a_minute() -> None:
    now = 0.0
    volumes = NewVolumes(clock=lambda: now)
    for handle in HANDLES[:2]:
        volumes.add(handle, 8 * GIB)
    now = 59.0
    assert volumes.take(HANDLES[0]) == 8 * GIB
    now = 60.0
    assert volumes.take(HANDLES[1]) is None


def test_a_volume_is_taken_once_and_can_be_forgotten() -> None:
    volumes = NewVolumes()
    for handle in HANDLES[:2]:
        volumes.add(handle, GIB)
    volumes.forget(HANDLES[1])
    volumes.forget(HANDLES[2])
    assert [volumes.take(HANDLES[number]) for number in (0, 0, 1, 2)] == [GIB, None, None, None]


def test_only_so_many_volumes_are_remembered() -> None:
    volumes = NewVolumes(max_remembered=2)
    for handle in HANDLES:
        volumes.add(handle, GIB)
    assert [volumes.take(handle) for handle in HANDLES] == [None, GIB, GIB]


def test_a_volume_that_is_added_again_is_the_newest() -> None:
    volumes = NewVolumes(max_remembered=2)
    for number in (0, 1, 0, 2):
        volumes.add(HANDLES[number], (number + 1) * GIB)
    assert [volumes.take(handle) for handle in HANDLES] == [GIB, None, 3 * GIB]
