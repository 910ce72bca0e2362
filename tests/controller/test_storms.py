"""Many calls at once, as after a power failure, during a drain and from the sidecars: how many requests.

The array counts them. What all calls need together is asked for once, or a few times, however many hosts,
volumes and callers there are. Small worlds are compared with larger ones.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import pytest

from csi_powerflex.config.systems.schema import ZoneSettings
from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState
from csi_powerflex.simulator.resources.host import register_sdc
from csi_powerflex.simulator.simulator import SystemPlan
from tests.controller.conftest import MakeWorld
from tests.controller.driver import mount
from tests.controller.eventually import eventually
from tests.controller.nvme import nvme_hosts
from tests.controller.sessions import logins
from tests.controller.world import World

T = TypeVar("T")

LOGIN = ("/rest/auth/login", "System.list")
# Callers that come while a read is under way share the next one. One that is slow to ask may need another, so
# the number of reads also depends a little on the other programs of the machine.
FEW = 4
# How long an answer to a list takes: longer than all callers need to ask, also on a busy machine.
LIST_SECONDS = 1.0


@dataclass(frozen=True)
class Size:
    """The size of a storm."""

    hosts: int
    volumes: int
    callers: int


SMALL, LARGE = Size(hosts=4, volumes=8, callers=4), Size(hosts=40, volumes=80, callers=40)
SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
# For what needs few requests: in a small world, each call may ask, and these are few too.
MANY_CALLERS = pytest.mark.parametrize("size", [LARGE], ids=["large"])


@dataclass(frozen=True)
class Storm:
    """A world with volumes that a controller without caches is about to publish."""

    world: World
    size: Size
    volumes: Sequence[csi_pb2.Volume]
    nodes: Sequence[str]

    def at_once(self, call: Callable[[int], T], calls: int | None = None) -> list[T]:
        """Make a call for each number, through as many threads as there are callers."""
        with ThreadPoolExecutor(self.size.callers) as threads:
            return list(threads.map(call, range(self.size.volumes if calls is None else calls)))

    def publish(self, number: int) -> None:
        self.world.driver.publish(self.volumes[number], self.nodes[number % len(self.nodes)])

    def move(self, number: int) -> None:
        """Take a volume from its node to another one, as a drain does."""
        node, other = (self.nodes[(number + shift) % len(self.nodes)] for shift in (0, 1))
        self.world.driver.unpublish(self.volumes[number].volume_id, node)
        self.world.driver.publish(self.volumes[number], other)

    def cost(self, calls: Callable[[], object]) -> Mapping[str, int]:
        """The requests that the calls make, by route."""
        with self.world.simulator.gateway.log.watching() as seen:
            calls()
        return collections.Counter(entry.route for entry in seen)

    def let_lists_take_time(self) -> None:
        """Let the answer to a list come later, so that other callers ask meanwhile."""
        for route in ("Sdc.list", "StoragePool.list", "Sdt.list", "StoragePool.Statistics", "version"):
            fault = Fault(kind=FaultKind.LATENCY, route=route, seconds=LIST_SECONDS)
            self.world.simulator.gateway.inject(fault)


@pytest.fixture
def storm(make_world: MakeWorld, size: Size) -> Storm:
    """The world of this size. Its volumes are new, and its controller was restarted since."""
    names = tuple(f"n{number}" for number in range(size.hosts))
    world = make_world(sdcs=names)
    volumes = [world.driver.create(f"pvc-{number}") for number in range(size.volumes)]
    world.restart()
    made = Storm(world, size, volumes, [world.node(name) for name in names])
    made.let_lists_take_time()
    return made


def without(routes: Iterable[str], cost: Mapping[str, int]) -> dict[str, int]:
    return {route: count for route, count in cost.items() if route not in routes}


# --- attachments ---------------------------------------------------------------------------------


@SIZES
def test_a_storm_of_publications_needs_two_requests_for_each_and_the_hosts_once(storm: Storm) -> None:
    cost = storm.cost(lambda: storm.at_once(storm.publish))
    count = storm.size.volumes
    assert without(LOGIN, cost) == {"Volume.get": count, "Volume.addMappedSdc": count, "Sdc.list": 1}
    assert logins(storm.world) == 2, "the controller that created the volumes, and this one"
    again = storm.cost(lambda: storm.at_once(storm.publish))
    assert again == {"Volume.get": count}


@MANY_CALLERS
def test_after_a_power_failure_the_hosts_are_asked_for_a_few_times(storm: Storm) -> None:
    """The controller has seen them disconnected. It believes so only after a new look."""
    gateway, names = storm.world.simulator.gateway, list(storm.world.simulator.hosts)
    for name in names:
        gateway.set_connected(name, connected=False)
    storm.world.driver.publish(storm.volumes[0], storm.nodes[0])
    for name in names:
        gateway.set_connected(name, connected=True)
    cost = storm.cost(lambda: storm.at_once(storm.publish))
    count = storm.size.volumes
    assert without(["Sdc.list"], cost) == {"Volume.get": count, "Volume.addMappedSdc": count - 1}
    assert 1 <= cost["Sdc.list"] <= FEW


@MANY_CALLERS
def test_hosts_that_stay_disconnected_are_asked_for_together(storm: Storm) -> None:
    """Each publication needs a new look at its host. Those that run at the same time share one."""
    for name in storm.world.simulator.hosts:
        storm.world.simulator.gateway.set_connected(name, connected=False)
    cost = storm.cost(lambda: storm.at_once(storm.publish))
    rounds = storm.size.volumes // storm.size.callers
    assert cost["Sdc.list"] <= FEW * (rounds + 1)


@SIZES
def test_a_drain_needs_three_requests_for_each_volume_and_no_look_at_the_hosts(storm: Storm) -> None:
    storm.at_once(storm.publish)
    cost = storm.cost(lambda: storm.at_once(storm.move))
    count = storm.size.volumes
    assert cost == {"Volume.removeMappedSdc": count, "Volume.get": count, "Volume.addMappedSdc": count}


@MANY_CALLERS
def test_nodes_that_were_all_added_again_are_asked_for_a_few_times(storm: Storm) -> None:
    """The array has each SDC under a new id, so the first mapping to each is refused."""
    storm.at_once(storm.publish)
    storm.at_once(lambda number: storm.world.driver.unpublish(storm.volumes[number].volume_id))
    array = storm.world.array
    with array.lock:
        former = array.sdcs()
        for host in former:
            register_sdc(array, f"{host.name}-again", host.guid or "", host.ip)
            array.drop(host)
        array.commit()
    assert {host.id for host in array.sdcs()}.isdisjoint(host.id for host in former)
    cost = storm.cost(lambda: storm.at_once(storm.publish))
    assert cost["Volume.get"] == storm.size.volumes
    assert 1 <= cost["Sdc.list"] <= 2 * FEW
    assert all(len(storm.world.volume(each.volume_id).mappings) == 1 for each in storm.volumes)


@MANY_CALLERS
def test_a_storm_over_nvme_reads_the_sdts_once_and_the_hosts_less_often_than_there_are_nodes(
    storm: Storm,
) -> None:
    nodes = [
        f"nqn:nqn.2014-08.org.nvmexpress:uuid:4c4c4544-0043-3610-8052-{number:012x}"
        for number in range(storm.size.hosts)
    ]
    cost = storm.cost(
        lambda: storm.at_once(
            lambda number: storm.world.driver.publish(storm.volumes[number], nodes[number % len(nodes)])
        )
    )
    assert len(nvme_hosts(storm.world)) == storm.size.hosts
    assert (cost["Sdt.list"], cost["version"], cost["Host.create"]) == (1, 1, storm.size.hosts)
    assert cost["Volume.get"] == cost["Volume.addMappedHost"] == storm.size.volumes
    # Without sharing, each node needs a read before its host is created, and each caller one before that.
    assert cost["Sdc.list"] <= storm.size.hosts // 2


# --- lists ---------------------------------------------------------------------------------------


@MANY_CALLERS
def test_the_reconciliations_of_several_callers_share_lists(storm: Storm) -> None:
    """Each answer has every volume with the node that it is published to."""
    storm.at_once(storm.publish)
    gateway = storm.world.simulator.gateway
    gateway.inject(Fault(kind=FaultKind.LATENCY, route="Volume.list", seconds=LIST_SECONDS))

    def listed(_: int) -> dict[str, list[str]]:
        answer = storm.world.driver.controller.ListVolumes(csi_pb2.ListVolumesRequest(), timeout=60)
        return {entry.volume.volume_id: list(entry.status.published_node_ids) for entry in answer.entries}

    lists: list[dict[str, list[str]]] = []
    cost = storm.cost(lambda: lists.extend(storm.at_once(listed, storm.size.callers)))
    expected = {
        volume.volume_id: [storm.nodes[number % len(storm.nodes)]]
        for number, volume in enumerate(storm.volumes)
    }
    assert lists == [expected] * storm.size.callers
    assert without(["Volume.list"], cost) == {}
    assert 1 <= cost["Volume.list"] <= FEW


# --- capacity ------------------------------------------------------------------------------------

ZONES = 4
CLASSES = 50


@pytest.fixture
def zoned(make_world: MakeWorld) -> World:
    """A system with a pool in each of several zones."""
    domains = tuple(DomainPlan(name=f"pd{number}") for number in range(ZONES))
    zones = tuple(
        ZoneSettings(name=f"z{number}", protection_domain=f"pd{number}", storage_pools=("sp1",))
        for number in range(ZONES)
    )
    return make_world(
        SystemPlan(initial_state=InitialState(domains=domains)),
        protection_domain=None,
        storage_pool=None,
        zones=zones,
    )


def test_the_capacity_of_all_classes_and_zones_costs_one_look_at_each_pool(zoned: World) -> None:
    storm = Storm(zoned, Size(hosts=0, volumes=0, callers=CLASSES), (), ())
    storm.let_lists_take_time()

    def ask(number: int) -> int:
        segments = {
            f"csi.powerflex.dev/{zoned.array.system.id}": "true",
            "csi.powerflex.dev/zone": f"z{number % ZONES}",
        }
        request = csi_pb2.GetCapacityRequest(
            parameters={"maxVtreeMembers": str(2 + number // ZONES)},
            volume_capabilities=[mount()],
            accessible_topology=csi_pb2.Topology(segments=segments),
        )
        return zoned.driver.controller.GetCapacity(request, timeout=60).available_capacity

    found: list[int] = []
    cost = storm.cost(lambda: found.extend(storm.at_once(ask, ZONES * CLASSES)))
    assert min(found) > 0
    assert without(LOGIN, cost) == {
        "ProtectionDomain.list": 1,
        "StoragePool.list": 1,
        "StoragePool.Statistics": ZONES,
        "System.querySystemLimits": 1,
    }


# --- interleavings -------------------------------------------------------------------------------


def test_a_caller_that_finds_no_hosts_does_not_outlive_its_deadline(array45: World) -> None:
    """The list of hosts of another call hangs. This call ends in time, and the other one succeeds later."""
    volumes = [array45.driver.create(f"pvc-{number}") for number in range(2)]
    array45.restart()
    gateway = array45.simulator.gateway
    fault = gateway.inject(Fault(kind=FaultKind.FREEZE, route="Sdc.list"))
    first = threading.Thread(target=array45.driver.publish, args=(volumes[0], array45.node("a")))
    first.start()
    try:
        eventually(lambda: gateway.log.find(route="Sdc.list"))
        array45.driver.seconds = 0.3
        with pytest.raises(Exception, match="DEADLINE_EXCEEDED"):
            array45.driver.publish(volumes[1], array45.node("b"))
    finally:
        array45.driver.seconds = 30
        gateway.faults.remove(fault)
        first.join()
    assert len(array45.volume(volumes[0].volume_id).mappings) == 1
    array45.driver.publish(volumes[1], array45.node("b"))
    assert len(gateway.log.find(route="Sdc.list")) == 1
