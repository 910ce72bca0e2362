"""Where new volumes go: systems, zones and topology."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

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
from tests.controller.tcp_proxy import TcpProxy
from tests.controller.topology import DRIVER, either_system, reach, requirement, system_of
from tests.controller.world import World

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
FULL = grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_request_without_topology_must_name_one_of_several_systems(pair: World) -> None:
    text = refused(grpc.StatusCode.INVALID_ARGUMENT, pair.driver.create)
    assert "(array0, array1); name one in systemID" in text
    for number, name in enumerate(("array0", pair.simulator.gateways[1].array.system.id)):
        volume = pair.driver.create(f"pvc-{number}", parameters={"systemID": name})
        assert system_of(pair, volume) == number


def test_the_topology_chooses_the_system_and_preferred_ones_come_first(pair: World) -> None:
    only_second = pair.driver.create("pvc-1", accessibility_requirements=requirement(reach(pair, 1)))
    assert system_of(pair, only_second) == 1
    assert dict(only_second.accessible_topology[0].segments) == reach(pair, 1)
    either = requirement(reach(pair, 0), reach(pair, 1), preferred=(reach(pair, 1), reach(pair, 0)))
    assert system_of(pair, pair.driver.create("pvc-2", accessibility_requirements=either)) == 1


def test_the_next_system_serves_when_the_preferred_one_is_full(pair: World) -> None:
    pair.simulator.gateways[1].set_full("sp1", full=True)
    either = requirement(preferred=(reach(pair, 1), reach(pair, 0)))
    volume = pair.driver.create(accessibility_requirements=either)
    assert system_of(pair, volume) == 0
    # Free capacity on the preferred system later does not lead to a second volume of the same name.
    pair.simulator.gateways[1].set_full("sp1", full=False)
    again = pair.restart()
    assert again.create(accessibility_requirements=either) == volume
    assert not pair.simulator.gateways[1].array.volumes


def test_when_every_system_is_full_the_error_names_all(pair: World) -> None:
    for gateway in pair.simulator.gateways:
        gateway.set_full("sp1", full=True)
    either = requirement(reach(pair, 0), reach(pair, 1))
    text = refused(FULL, lambda: pair.driver.create(accessibility_requirements=either))
    assert "array0" in text
    assert "array1" in text


def test_a_topology_that_reaches_no_system_is_resource_exhausted(array45: World) -> None:
    nowhere = requirement({f"{DRIVER}/{'0' * 16}": "true"})
    text = refused(FULL, lambda: array45.driver.create(accessibility_requirements=nowhere))
    assert f"{DRIVER}/{'0' * 16}=true" in text


def test_a_topology_with_the_name_of_a_system_is_refused_with_the_topologies_that_exist(
    pair: World,
) -> None:
    by_name = requirement({f"{DRIVER}/array0": "true"})
    text = refused(FULL, lambda: pair.driver.create(accessibility_requirements=by_name))
    one, two = (gateway.array.system.id for gateway in pair.simulator.gateways)
    expected = f"{DRIVER}/{one}=true (system array0); {DRIVER}/{two}=true (system array1)"
    assert text.endswith(f"{DRIVER}/array0=true. The systems have: {expected}")


def test_a_system_that_is_down_does_not_affect_another(pair: World, unreachable_url: str) -> None:
    first, second = pair.systems
    pair.systems = (msgspec.structs.replace(first, endpoints=(unreachable_url,)), second)
    driver = pair.restart()
    either = requirement(reach(pair, 0), reach(pair, 1))
    volume = driver.create(accessibility_requirements=either)
    assert system_of(pair, volume) == 1
    driver.publish(volume, pair.node("a"))
    driver.unpublish(volume.volume_id, pair.node("a"))
    driver.delete(volume.volume_id)
    text = refused(UNAVAILABLE, lambda: driver.create(parameters={"systemID": "array0"}))
    assert f"{unreachable_url}: cannot connect" in text


LOST = Fault(kind=FaultKind.LOST_REPLY, route="Volume.create", times=1)
OVERLOADED = Fault(kind=FaultKind.ERROR, status=503)


def create_on_either(pair: World) -> csi_pb2.Volume:
    return pair.driver.create(accessibility_requirements=either_system(pair))


def test_an_attempt_without_an_answer_never_leads_to_a_second_volume(pair: World) -> None:
    """The system that may have created the volume stops to answer before the driver can look there."""
    first, second = pair.simulator.gateways
    first.inject(LOST)
    refused(UNAVAILABLE, lambda: create_on_either(pair))
    first.inject(OVERLOADED)
    text = refused(UNAVAILABLE, lambda: create_on_either(pair))
    assert "volume pvc-1 may exist on system array0" in text
    first.faults.clear()
    assert system_of(pair, create_on_either(pair)) == 0
    assert (len(first.array.volumes), len(second.array.volumes)) == (1, 0)


def test_an_answer_that_breaks_in_tls_never_leads_to_a_second_volume(pair: World) -> None:
    """A TLS error after the handshake does not say whether the request had its effect."""
    first, second = pair.simulator.gateways
    with TcpProxy(pair.systems[0].endpoints[0]) as proxy, ThreadPoolExecutor(1) as caller:
        behind_proxy = msgspec.structs.replace(pair.systems[0], endpoints=(proxy.url,))
        pair.systems = (behind_proxy, pair.systems[1])
        pair.restart()
        since = first.log.last
        slow = first.inject(Fault(kind=FaultKind.LATENCY, route="Volume.create", seconds=1.0, times=1))
        call = caller.submit(refused, UNAVAILABLE, lambda: create_on_either(pair))
        eventually(lambda: first.faults.struck(slow) == 1)
        proxy.spoil_next_answer()
        assert "the connection broke" in call.result(timeout=60)
        assert system_of(pair, create_on_either(pair)) == 0
    assert (len(first.array.volumes), len(second.array.volumes)) == (1, 0)
    assert len(first.log.find(route="Volume.create", since=since)) == 1


@pytest.mark.parametrize(
    "fault", [OVERLOADED, Fault(kind=FaultKind.HTML, status=502)], ids=["overloaded", "behind a broken proxy"]
)
def test_a_repeated_create_call_does_not_lead_to_a_volume_on_another_system(
    pair: World, fault: Fault
) -> None:
    """The answer to the caller was lost, and the system that has the volume stops to answer."""
    first, second = pair.simulator.gateways
    created = create_on_either(pair)
    first.inject(fault)
    text = refused(UNAVAILABLE, lambda: create_on_either(pair))
    assert "volume pvc-1 may exist on system array0" in text
    first.faults.clear()
    assert create_on_either(pair) == created
    assert not second.array.volumes


def test_a_volume_that_may_exist_outside_of_the_requested_topology_is_reported(
    pair: World,
) -> None:
    pair.simulator.gateways[0].inject(LOST)
    refused(UNAVAILABLE, lambda: create_on_either(pair))
    elsewhere = requirement(reach(pair, 1))
    text = refused(
        grpc.StatusCode.ALREADY_EXISTS, lambda: pair.driver.create(accessibility_requirements=elsewhere)
    )
    assert "which the request's parameters or topology leave out" in text
    assert not pair.simulator.gateways[1].array.volumes


@pytest.mark.parametrize("fault", [OVERLOADED, Fault(kind=FaultKind.FREEZE)], ids=["refusing", "hanging"])
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_new_volumes_go_to_another_system_when_one_stops_to_answer(
    pair: World, fault: Fault, *, warm: bool
) -> None:
    if fault.kind is FaultKind.FREEZE:
        # The driver waits so long for a system. On a busy machine the other one must answer within it too.
        pair.more["system_seconds"] = 2.0
        pair.restart()
    wanted = either_system(pair)
    if warm:
        pair.driver.create("pvc-warm", accessibility_requirements=wanted)
    pair.simulator.gateways[0].inject(fault)
    assert system_of(pair, pair.driver.create(accessibility_requirements=wanted)) == 1
    pair.simulator.gateways[0].faults.clear()
    # The driver finds the volume again, although the first system answers now.
    assert system_of(pair, pair.restart().create(accessibility_requirements=wanted)) == 1


def test_a_system_that_did_not_answer_the_monitor_gets_no_request_while_another_answers(
    pair: World, caplog: pytest.LogCaptureFixture
) -> None:
    pair.simulator.gateways[0].inject(OVERLOADED)
    pair.watching(seconds=3600.0)
    log = pair.simulator.gateways[0].log
    eventually(lambda: "system does not answer" in caplog.messages)
    since = log.last
    assert system_of(pair, create_on_either(pair)) == 1
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


def pool_of(world: World, volume: csi_pb2.Volume) -> str:
    pool = world.array.pools[world.volume(volume.volume_id).pool_id]
    return f"{world.array.domains[pool.domain_id].name}/{pool.name}"


@pytest.mark.parametrize(("zone", "where"), [("a", "pda/fast"), ("b", "pdb/fast")])
def test_a_volume_is_created_in_the_zone_of_its_topology(zoned: World, zone: str, where: str) -> None:
    wanted = requirement(reach(zoned, 0, zone=zone))
    volume = zoned.driver.create(accessibility_requirements=wanted)
    assert pool_of(zoned, volume) == where
    assert dict(volume.accessible_topology[0].segments) == reach(zoned, 0, zone=zone)


def test_the_next_pool_of_the_zone_serves_when_the_first_is_full(zoned: World) -> None:
    zoned.simulator.gateway.set_full("fast", full=True)
    volume = zoned.driver.create(accessibility_requirements=requirement(reach(zoned, 0, zone="a")))
    assert pool_of(zoned, volume) == "pda/slow"


@pytest.mark.parametrize("full", [True, False], ids=["still full", "with free capacity again"])
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


def test_a_storage_class_can_name_a_pool_within_the_zone(zoned: World) -> None:
    wanted = requirement(reach(zoned, 0, zone="a"))
    volume = zoned.driver.create(accessibility_requirements=wanted, parameters={"storagepool": "slow"})
    assert pool_of(zoned, volume) == "pda/slow"
    text = refused(
        FULL,
        lambda: zoned.driver.create(
            "pvc-2",
            accessibility_requirements=requirement(reach(zoned, 0, zone="b")),
            parameters={"storagepool": "slow"},
        ),
    )
    assert "zone=b" in text


@pytest.fixture
def mixed(make_world: MakeWorld) -> World:
    """One system with a zone of three pools: without zero padding, for single compressed volumes, usual."""
    pools = (
        PoolPlan(name="unpadded", zero_padding=False),
        PoolPlan(name="packed", layout="FineGranularity", compression="Normal"),
        PoolPlan(name="plain"),
    )
    return make_world(
        SystemPlan(initial_state=InitialState(domains=(DomainPlan(name="pda", pools=pools),))),
        protection_domain=None,
        storage_pool=None,
        zones=(
            ZoneSettings(name="a", protection_domain="pda", storage_pools=tuple(pool.name for pool in pools)),
        ),
    )


@pytest.mark.parametrize(("provisioning", "pool"), [("compressed", "packed"), ("thick", "plain")])
def test_the_first_pool_of_the_zone_that_can_hold_the_volume_gets_it(
    mixed: World, provisioning: str, pool: str
) -> None:
    wanted = requirement(reach(mixed, 0, zone="a"))
    parameters = {"provisioning": provisioning}
    volume = mixed.driver.create(accessibility_requirements=wanted, parameters=parameters)
    assert pool_of(mixed, volume) == f"pda/{pool}"
    again = mixed.restart()
    assert again.create(accessibility_requirements=wanted, parameters=parameters) == volume


def test_a_full_pool_counts_more_than_one_that_cannot_hold_the_volume(mixed: World) -> None:
    """It may have space later, so the error is not that of a class that can never work."""
    mixed.simulator.gateway.set_full("plain", full=True)
    wanted = requirement(reach(mixed, 0, zone="a"))
    thick = {"provisioning": "thick"}
    text = refused(FULL, lambda: mixed.driver.create(accessibility_requirements=wanted, parameters=thick))
    assert "unpadded has no zero padding" in text
    assert "packed has thin volumes only" in text
    assert "no space for volume" in text


def test_a_pool_that_cannot_hold_the_volumes_of_a_class_adds_no_capacity(mixed: World) -> None:
    def available(**parameters: str) -> int:
        request = csi_pb2.GetCapacityRequest(
            parameters=parameters,
            accessible_topology=csi_pb2.Topology(segments=reach(mixed, 0, zone="a")),
        )
        return mixed.driver.controller.GetCapacity(request, timeout=30).available_capacity

    packed = available(storagepool="packed", provisioning="compressed")
    assert available(provisioning="compressed") == packed > 0


def test_a_class_that_no_pool_can_hold_has_capacity_so_that_its_claim_gets_the_reason(mixed: World) -> None:
    wanted = requirement(reach(mixed, 0, zone="a"))
    parameters = {"storagepool": "unpadded"}
    request = csi_pb2.GetCapacityRequest(parameters=parameters, accessible_topology=wanted.requisite[0])
    assert mixed.driver.controller.GetCapacity(request, timeout=30).available_capacity > 0
    text = refused(
        grpc.StatusCode.INVALID_ARGUMENT,
        lambda: mixed.driver.create(accessibility_requirements=wanted, parameters=parameters),
    )
    assert "unpadded has no zero padding" in text


def test_a_limit_below_the_granularity_of_one_system_leads_to_the_other(make_world: MakeWorld) -> None:
    second = SystemPlan(version="5.0", initial_state=InitialState(name="sim2"))
    world = make_world(SystemPlan(), second)
    either = requirement(preferred=(reach(world, 0), reach(world, 1)))
    small = world.driver.create(gib=2, limit=4, accessibility_requirements=either)
    assert (system_of(world, small), small.capacity_bytes) == (1, 2 * GIB)
    only_first = requirement(reach(world, 0))
    text = refused(
        grpc.StatusCode.OUT_OF_RANGE,
        lambda: world.driver.create("pvc-2", gib=2, limit=4, accessibility_requirements=only_first),
    )
    assert "8 GiB at a time" in text


def test_a_zone_that_is_not_configured_is_resource_exhausted(zoned: World) -> None:
    wanted = requirement(reach(zoned, 0, zone="c"))
    text = refused(FULL, lambda: zoned.driver.create(accessibility_requirements=wanted))
    for zone in ("a", "b"):
        assert f"{DRIVER}/zone={zone} (system " in text


def test_a_copy_is_created_only_in_the_zone_of_its_source(zoned: World) -> None:
    in_a, in_b = (requirement(reach(zoned, 0, zone=zone)) for zone in ("a", "b"))
    source = zoned.driver.create(accessibility_requirements=in_a)
    copy = zoned.driver.clone("pvc-2", source.volume_id, accessibility_requirements=in_a)
    assert dict(copy.accessible_topology[0].segments) == reach(zoned, 0, zone="a")
    text = refused(
        FULL, lambda: zoned.driver.clone("pvc-3", source.volume_id, accessibility_requirements=in_b)
    )
    assert "a copy is created in the pool of its source" in text


def test_a_copy_stays_on_the_system_of_its_source_also_if_another_is_preferred(pair: World) -> None:
    source = pair.driver.create(accessibility_requirements=requirement(reach(pair, 1)))
    copy = pair.driver.clone("pvc-2", source.volume_id, accessibility_requirements=either_system(pair))
    assert system_of(pair, copy) == 1
    text = refused(
        FULL,
        lambda: pair.driver.clone(
            "pvc-3", source.volume_id, accessibility_requirements=requirement(reach(pair, 0))
        ),
    )
    assert "not reachable from any of these topologies" in text


@pytest.mark.parametrize(("zone", "where"), [("a", "pda/fast"), ("b", "pdb/fast")])
def test_a_copy_has_the_zone_of_its_pool_also_if_another_domain_has_a_pool_of_that_name(
    zoned: World, zone: str, where: str
) -> None:
    wanted = requirement(reach(zoned, 0, zone=zone))
    source = zoned.driver.create(accessibility_requirements=wanted).volume_id
    snapshot = zoned.driver.snapshot(source).snapshot_id
    for copy in (
        zoned.driver.clone("pvc-2", source, accessibility_requirements=wanted),
        zoned.driver.clone("pvc-3", source),
        zoned.driver.restore("pvc-4", snapshot, accessibility_requirements=wanted),
    ):
        assert pool_of(zoned, copy) == where
        assert dict(copy.accessible_topology[0].segments) == reach(zoned, 0, zone=zone)
    elsewhere = requirement(reach(zoned, 0, zone="b" if zone == "a" else "a"))
    refused(FULL, lambda: zoned.driver.clone("pvc-5", source, accessibility_requirements=elsewhere))


def test_the_default_domain_of_the_system_is_that_of_a_zone_without_one(zoned: World) -> None:
    zones = (
        ZoneSettings(name="a", storage_pools=("fast",)),
        ZoneSettings(name="b", protection_domain="pdb", storage_pools=("fast",)),
    )
    (system,) = zoned.systems
    zoned.systems = (msgspec.structs.replace(system, protection_domain="pda", zones=zones),)
    driver = zoned.restart()
    in_b = requirement(reach(zoned, 0, zone="b"))
    source = driver.create(accessibility_requirements=in_b).volume_id
    assert dict(driver.clone("pvc-2", source).accessible_topology[0].segments) == reach(zoned, 0, zone="b")


def test_a_copy_in_a_pool_of_no_zone_has_no_zone(zoned: World) -> None:
    source = zoned.driver.create(accessibility_requirements=requirement(reach(zoned, 0, zone="b"))).volume_id
    (system,) = zoned.systems
    zones = (
        ZoneSettings(name="a", protection_domain="pdx", storage_pools=("fast",)),
        ZoneSettings(name="b", storage_pools=("fast",)),
    )
    zoned.systems = (msgspec.structs.replace(system, zones=zones),)
    copy = zoned.restart().clone("pvc-2", source)
    assert dict(copy.accessible_topology[0].segments) == reach(zoned, 0)


def test_each_zone_has_its_own_capacity(zoned: World) -> None:
    def available(driver: Driver, zone: str) -> int:
        request = csi_pb2.GetCapacityRequest(
            accessible_topology=csi_pb2.Topology(segments=reach(zoned, 0, zone=zone))
        )
        return driver.controller.GetCapacity(request, timeout=30).available_capacity // GIB

    assert available(zoned.driver, "a") == 2 * available(zoned.driver, "b") > 0
    assert available(zoned.driver, "c") == 0
