"""Where new volumes go: systems, zones and topology."""

from __future__ import annotations

import socket

import grpc
import msgspec
import pytest

from csi_powerflex.config.systems.schema import ZoneSettings
from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, PoolPlan
from csi_powerflex.simulator.simulator import SystemPlan
from tests.controller.conftest import MakeWorld
from tests.controller.driver import GIB, Driver, refused
from tests.controller.eventually import eventually
from tests.controller.world import World

DRIVER = "csi.powerflex.dev"
FULL = grpc.StatusCode.RESOURCE_EXHAUSTED


def two_systems(make_world: MakeWorld) -> World:
    return make_world(
        SystemPlan(initial_state=InitialState(name="one")), SystemPlan(initial_state=InitialState(name="two"))
    )


def reach(world: World, *numbers: int, **more: str) -> dict[str, str]:
    """The topology of a node that reaches these systems."""
    systems = [gateway.array.system.id for gateway in world.simulator.gateways]
    return {f"{DRIVER}/{systems[number]}": "true" for number in numbers} | {
        f"{DRIVER}/{key}": value for key, value in more.items()
    }


def requirement(
    *requisite: dict[str, str], preferred: tuple[dict[str, str], ...] = ()
) -> csi_pb2.TopologyRequirement:
    return csi_pb2.TopologyRequirement(
        requisite=[csi_pb2.Topology(segments=segments) for segments in requisite],
        preferred=[csi_pb2.Topology(segments=segments) for segments in preferred],
    )


def system_of(world: World, volume: csi_pb2.Volume) -> int:
    systems = [gateway.array.system.id for gateway in world.simulator.gateways]
    return systems.index(volume.volume_id.partition("-")[0])


def test_of_several_systems_one_has_to_be_named_where_no_topology_chooses(make_world: MakeWorld) -> None:
    world = two_systems(make_world)
    text = refused(grpc.StatusCode.INVALID_ARGUMENT, world.driver.create)
    assert "(array0, array1); name one in systemID" in text
    for number, name in enumerate(("array0", world.simulator.gateways[1].array.system.id)):
        volume = world.driver.create(f"pvc-{number}", parameters={"systemID": name})
        assert system_of(world, volume) == number


def test_the_topology_chooses_the_system_and_preferred_ones_come_first(make_world: MakeWorld) -> None:
    world = two_systems(make_world)
    only_second = world.driver.create("pvc-1", accessibility_requirements=requirement(reach(world, 1)))
    assert system_of(world, only_second) == 1
    assert dict(only_second.accessible_topology[0].segments) == reach(world, 1)
    either = requirement(reach(world, 0), reach(world, 1), preferred=(reach(world, 1), reach(world, 0)))
    assert system_of(world, world.driver.create("pvc-2", accessibility_requirements=either)) == 1


def test_the_next_system_serves_when_the_preferred_one_is_full(make_world: MakeWorld) -> None:
    world = two_systems(make_world)
    world.simulator.gateways[1].set_full("sp1", full=True)
    either = requirement(preferred=(reach(world, 1), reach(world, 0)))
    volume = world.driver.create(accessibility_requirements=either)
    assert system_of(world, volume) == 0
    # Room that comes later on the preferred one does not make a second volume of the same name.
    world.simulator.gateways[1].set_full("sp1", full=False)
    again = world.restart()
    assert again.create(accessibility_requirements=either) == volume
    assert not world.simulator.gateways[1].array.volumes


def test_when_every_system_is_full_all_are_named(make_world: MakeWorld) -> None:
    world = two_systems(make_world)
    for gateway in world.simulator.gateways:
        gateway.set_full("sp1", full=True)
    either = requirement(reach(world, 0), reach(world, 1))
    text = refused(FULL, lambda: world.driver.create(accessibility_requirements=either))
    assert "array0" in text
    assert "array1" in text


def test_a_topology_that_reaches_no_system_is_resource_exhausted(array45: World) -> None:
    nowhere = requirement({f"{DRIVER}/{'0' * 16}": "true"})
    text = refused(FULL, lambda: array45.driver.create(accessibility_requirements=nowhere))
    assert f"{DRIVER}/{'0' * 16}=true" in text


def test_a_system_that_is_down_does_not_keep_another_from_serving(make_world: MakeWorld) -> None:
    world = two_systems(make_world)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        away = f"https://127.0.0.1:{nobody.getsockname()[1]}"
        world.systems = (msgspec.structs.replace(world.systems[0], endpoints=(away,)), world.systems[1])
        driver = world.restart()
        either = requirement(reach(world, 0), reach(world, 1))
        volume = driver.create(accessibility_requirements=either)
        assert system_of(world, volume) == 1
        driver.publish(volume, world.node("a"))
        driver.unpublish(volume.volume_id, world.node("a"))
        driver.delete(volume.volume_id)
        text = refused(grpc.StatusCode.UNAVAILABLE, lambda: driver.create(parameters={"systemID": "array0"}))
        assert f"{away}: cannot connect" in text


def either(world: World) -> csi_pb2.TopologyRequirement:
    """Reachable from the first system, or else from the second."""
    return requirement(preferred=(reach(world, 0), reach(world, 1)))


LOST = Fault(kind=FaultKind.LOST_REPLY, route="Volume.create", times=1)
AWAY = Fault(kind=FaultKind.ERROR, status=503)


def test_an_attempt_without_an_answer_never_leads_to_a_second_volume(make_world: MakeWorld) -> None:
    """The system that may have made the volume goes away before it can be asked."""
    world = two_systems(make_world)
    first, second = world.simulator.gateways
    first.inject(LOST)
    refused(
        grpc.StatusCode.UNAVAILABLE, lambda: world.driver.create(accessibility_requirements=either(world))
    )
    first.inject(AWAY)
    text = refused(
        grpc.StatusCode.UNAVAILABLE, lambda: world.driver.create(accessibility_requirements=either(world))
    )
    assert "volume pvc-1 may exist on system array0" in text
    first.faults.clear()
    assert system_of(world, world.driver.create(accessibility_requirements=either(world))) == 0
    assert (len(first.array.volumes), len(second.array.volumes)) == (1, 0)


@pytest.mark.parametrize(
    "trouble", [AWAY, Fault(kind=FaultKind.HTML, status=502)], ids=["overloaded", "behind a broken proxy"]
)
def test_a_volume_is_not_made_again_elsewhere_when_the_answer_to_its_making_was_lost_on_the_way_to_the_caller(
    make_world: MakeWorld, trouble: Fault
) -> None:
    """The caller repeats a call that succeeded, just as the system that has the volume goes away."""
    world = two_systems(make_world)
    first, second = world.simulator.gateways
    made = world.driver.create(accessibility_requirements=either(world))
    first.inject(trouble)
    text = refused(
        grpc.StatusCode.UNAVAILABLE, lambda: world.driver.create(accessibility_requirements=either(world))
    )
    assert "volume pvc-1 may exist on system array0" in text
    first.faults.clear()
    assert world.driver.create(accessibility_requirements=either(world)) == made
    assert not second.array.volumes


def test_a_volume_that_may_lie_where_the_topology_does_not_reach_any_more_is_told(
    make_world: MakeWorld,
) -> None:
    world = two_systems(make_world)
    world.simulator.gateways[0].inject(LOST)
    refused(
        grpc.StatusCode.UNAVAILABLE, lambda: world.driver.create(accessibility_requirements=either(world))
    )
    elsewhere = requirement(reach(world, 1))
    text = refused(
        grpc.StatusCode.ALREADY_EXISTS, lambda: world.driver.create(accessibility_requirements=elsewhere)
    )
    assert "which the request's parameters or topology leave out" in text
    assert not world.simulator.gateways[1].array.volumes


@pytest.mark.parametrize("trouble", [AWAY, Fault(kind=FaultKind.FREEZE)], ids=["refusing", "hanging"])
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_a_system_that_goes_away_leaves_new_volumes_to_the_others(
    make_world: MakeWorld, trouble: Fault, *, warm: bool
) -> None:
    world = two_systems(make_world)
    if trouble.kind is FaultKind.FREEZE:
        # It is waited out. The other system has to answer within it, on a machine under load too.
        world.more["system_seconds"] = 2.0
        world.restart()
    wanted = either(world)
    if warm:
        world.driver.create("pvc-warm", accessibility_requirements=wanted)
    world.simulator.gateways[0].inject(trouble)
    assert system_of(world, world.driver.create(accessibility_requirements=wanted)) == 1
    world.simulator.gateways[0].faults.clear()
    # What was made there is found again, though the first system would now do.
    assert system_of(world, world.restart().create(accessibility_requirements=wanted)) == 1


def test_a_system_known_to_be_away_is_not_asked_while_another_serves(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world = two_systems(make_world)
    world.simulator.gateways[0].inject(AWAY)
    world.watching(seconds=3600.0)
    log = world.simulator.gateways[0].log
    eventually(lambda: "system does not answer" in caplog.messages)
    since = log.last
    assert system_of(world, world.driver.create(accessibility_requirements=either(world))) == 1
    assert not log.find(since=since)


@pytest.fixture
def zoned(make_world: MakeWorld) -> World:
    """One system that spans the zones a and b, with two pools in a."""
    initial_state = InitialState(
        domains=(
            DomainPlan(name="pda", pools=(PoolPlan(name="fast"), PoolPlan(name="slow"))),
            DomainPlan(name="pdb", pools=(PoolPlan(name="fast"),)),
        )
    )
    return make_world(
        SystemPlan(initial_state=initial_state),
        protection_domain=None,
        storage_pool=None,
        zones=(
            ZoneSettings(name="a", protection_domain="pda", storage_pools=("fast", "slow")),
            ZoneSettings(name="b", protection_domain="pdb", storage_pools=("fast",)),
        ),
    )


def place(world: World, volume: csi_pb2.Volume) -> str:
    pool = world.array.pools[world.volume(volume.volume_id).pool_id]
    return f"{world.array.domains[pool.domain_id].name}/{pool.name}"


@pytest.mark.parametrize(("zone", "where"), [("a", "pda/fast"), ("b", "pdb/fast")])
def test_a_volume_lies_in_the_zone_of_its_topology_and_says_so(zoned: World, zone: str, where: str) -> None:
    wanted = requirement(reach(zoned, 0, zone=zone))
    volume = zoned.driver.create(accessibility_requirements=wanted)
    assert place(zoned, volume) == where
    assert dict(volume.accessible_topology[0].segments) == reach(zoned, 0, zone=zone)


def test_the_next_pool_of_the_zone_serves_when_the_first_is_full(zoned: World) -> None:
    zoned.simulator.gateway.set_full("fast", full=True)
    volume = zoned.driver.create(accessibility_requirements=requirement(reach(zoned, 0, zone="a")))
    assert place(zoned, volume) == "pda/slow"


@pytest.mark.parametrize("full", [True, False], ids=["still full", "with room again"])
@pytest.mark.parametrize("restarted", [False, True], ids=["remembered", "after a restart"])
def test_a_volume_in_the_next_pool_of_the_zone_is_found_again(
    zoned: World, *, full: bool, restarted: bool
) -> None:
    wanted = requirement(reach(zoned, 0, zone="a"))
    zoned.simulator.gateway.set_full("fast", full=True)
    volume = zoned.driver.create(accessibility_requirements=wanted)
    zoned.simulator.gateway.set_full("fast", full=full)
    driver = zoned.restart() if restarted else zoned.driver
    assert driver.create(accessibility_requirements=wanted) == volume
    assert len(zoned.array.volumes) == 1


def test_a_class_can_name_a_pool_within_the_zone(zoned: World) -> None:
    wanted = requirement(reach(zoned, 0, zone="a"))
    volume = zoned.driver.create(accessibility_requirements=wanted, parameters={"storagepool": "slow"})
    assert place(zoned, volume) == "pda/slow"
    text = refused(
        FULL,
        lambda: zoned.driver.create(
            "pvc-2",
            accessibility_requirements=requirement(reach(zoned, 0, zone="b")),
            parameters={"storagepool": "slow"},
        ),
    )
    assert "zone=b" in text


def test_a_zone_that_nobody_configured_is_resource_exhausted(zoned: World) -> None:
    wanted = requirement(reach(zoned, 0, zone="c"))
    refused(FULL, lambda: zoned.driver.create(accessibility_requirements=wanted))


def test_a_copy_lies_in_its_sources_zone_or_nowhere(zoned: World) -> None:
    in_a, in_b = (requirement(reach(zoned, 0, zone=zone)) for zone in ("a", "b"))
    source = zoned.driver.create(accessibility_requirements=in_a)
    copy = zoned.driver.clone("pvc-2", source.volume_id, accessibility_requirements=in_a)
    assert dict(copy.accessible_topology[0].segments) == reach(zoned, 0, zone="a")
    text = refused(
        FULL, lambda: zoned.driver.clone("pvc-3", source.volume_id, accessibility_requirements=in_b)
    )
    assert "a copy is created in the pool of its source" in text


def test_capacity_is_told_for_each_zone(zoned: World) -> None:
    def left(driver: Driver, zone: str) -> int:
        request = csi_pb2.GetCapacityRequest(
            accessible_topology=csi_pb2.Topology(segments=reach(zoned, 0, zone=zone))
        )
        return driver.controller.GetCapacity(request, timeout=30).available_capacity // GIB

    assert left(zoned.driver, "a") == 2 * left(zoned.driver, "b") > 0
    assert left(zoned.driver, "c") == 0
