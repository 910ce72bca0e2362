"""Zones: volumes for the topologies that nodes register, asked for as the external-provisioner does it."""

from __future__ import annotations

from pathlib import Path

import grpc
import msgspec
import pytest

from csi_powerflex.config.node import NodeZone
from csi_powerflex.config.systems.schema import ZoneSettings
from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, PoolPlan
from csi_powerflex.simulator.simulator import SystemPlan
from tests.controller.conftest import MakeWorld
from tests.controller.driver import GIB, Driver, refused
from tests.controller.registered import node_info, registered
from tests.controller.topology import DRIVER, requirement, system_of
from tests.controller.world import World

FULL = grpc.StatusCode.RESOURCE_EXHAUSTED
FAILED = grpc.StatusCode.FAILED_PRECONDITION
TWO_DOMAINS = InitialState(
    name="one",
    domains=(
        DomainPlan(name="pda", pools=(PoolPlan(name="fast"), PoolPlan(name="slow"))),
        DomainPlan(name="pdb", pools=(PoolPlan(name="fast"),)),
    ),
)
ZONES = (
    ZoneSettings(name="a", protection_domain="pda", storage_pools=("fast", "slow")),
    ZoneSettings(name="b", protection_domain="pdb", storage_pools=("fast",)),
)


@pytest.fixture
def zoned(make_world: MakeWorld) -> World:
    """One system that spans the zones a and b, with two pools in a."""
    return make_world(
        SystemPlan(initial_state=TWO_DOMAINS), protection_domain=None, storage_pool=None, zones=ZONES
    )


@pytest.fixture
def mixed(make_world: MakeWorld) -> World:
    """Array0 spans the zones a and b. Array1 has no zones."""
    world = make_world(
        SystemPlan(initial_state=TWO_DOMAINS), SystemPlan(initial_state=InitialState(name="two"))
    )
    first, second = world.systems
    world.systems = (
        msgspec.structs.replace(first, protection_domain=None, storage_pool=None, zones=ZONES),
        second,
    )
    world.restart()
    return world


@pytest.fixture
def spread(pair: World) -> World:
    """Array0 is in zone a, array1 in the zones a and b, each with one pool."""
    zones = [ZoneSettings(name=name, protection_domain="pd1", storage_pools=("sp1",)) for name in ("a", "b")]
    first, second = pair.systems
    pair.systems = (
        msgspec.structs.replace(first, zones=tuple(zones[:1])),
        msgspec.structs.replace(second, zones=tuple(zones)),
    )
    pair.restart()
    return pair


def pool_of(world: World, volume: csi_pb2.Volume) -> str:
    pool = world.array.pools[world.volume(volume.volume_id).pool_id]
    return f"{world.array.domains[pool.domain_id].name}/{pool.name}"


def usable_on(volume: csi_pb2.Volume, node: dict[str, str]) -> bool:
    """Whether Kubernetes lets a pod on this node use the volume: its node affinity, against the labels."""
    return any(topology.segments.items() <= node.items() for topology in volume.accessible_topology)


def late(driver: Driver, name: str, selected: dict[str, str], *others: dict[str, str]) -> csi_pb2.Volume:
    """A volume as the provisioner asks for one when the scheduler has chosen a node.

    Without ``others`` it has the option --strict-topology, as in the chart.
    """
    wanted = requirement(selected, *others, preferred=(selected, *others))
    return driver.create(name, accessibility_requirements=wanted)


def capacity(driver: Driver, node: dict[str, str], **parameters: str) -> int:
    """What the scheduler reads in the CSIStorageCapacity for nodes like this one, in GiB."""
    request = csi_pb2.GetCapacityRequest(
        parameters=parameters, accessible_topology=csi_pb2.Topology(segments=node)
    )
    return int(driver.controller.GetCapacity(request, timeout=30).available_capacity // GIB)


# --- what nodes register ------------------------------------------------------------------------------

SYSTEM = "7a3064dd1279f10f"


def test_a_node_with_a_zone_registers_it_next_to_its_systems() -> None:
    segments = node_info([SYSTEM], NodeZone(name="a")).accessible_topology.segments
    assert dict(segments) == {
        f"{DRIVER}/{SYSTEM}": "true",
        f"{DRIVER}/{SYSTEM}-sdc": "true",
        f"{DRIVER}/zone": "a",
    }


def test_a_node_without_a_zone_registers_its_systems_alone() -> None:
    segments = node_info([SYSTEM], NodeZone()).accessible_topology.segments
    assert dict(segments) == {f"{DRIVER}/{SYSTEM}": "true", f"{DRIVER}/{SYSTEM}-sdc": "true"}


def test_a_zone_from_a_file_is_registered_without_the_space_around_it(tmp_path: Path) -> None:
    file = tmp_path / "zone"
    file.write_text(" eu-west_1.a\n")
    segments = node_info([SYSTEM], NodeZone(file=file)).accessible_topology.segments
    assert segments[f"{DRIVER}/zone"] == "eu-west_1.a"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "missing or empty"),
        (b"", "missing or empty"),
        (b" \n", "missing or empty"),
        (b"a b", "'a b'"),
        (b"a\nb", "63 letters"),
        (b"-a", "63 letters"),
        (b"a" * 64, "63 letters"),
        (b"\xff", "not text in UTF-8"),
    ],
    ids=["missing", "empty", "blank", "two words", "two lines", "a dash", "too long", "no text"],
)
def test_a_node_whose_file_holds_no_zone_does_not_register(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    file = tmp_path / "zone"
    if content is not None:
        file.write_bytes(content)
    text = refused(FAILED, lambda: node_info([SYSTEM], NodeZone(file=file)))
    assert str(file) in text
    assert said in text


def test_a_node_whose_file_cannot_be_read_does_not_register(tmp_path: Path) -> None:
    text = refused(FAILED, lambda: node_info([SYSTEM], NodeZone(file=tmp_path)))
    assert f"cannot read {tmp_path}: Is a directory" in text


# --- late binding -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("zone", "where"), [("a", "pda/fast"), ("b", "pdb/fast")])
@pytest.mark.parametrize("strict", [True, False])
def test_a_volume_lies_in_the_zone_of_its_pod_and_its_node_can_use_it(
    zoned: World, zone: str, where: str, *, strict: bool
) -> None:
    nodes = {name: registered(zoned, 0, zone=name) for name in ("a", "b")}
    others = () if strict else [node for name, node in nodes.items() if name != zone]
    volume = late(zoned.driver, "pvc-1", nodes[zone], *others)
    assert pool_of(zoned, volume) == where
    assert [name for name, node in nodes.items() if usable_on(volume, node)] == [zone]
    copy = zoned.driver.clone("pvc-2", volume.volume_id, accessibility_requirements=requirement(nodes[zone]))
    assert pool_of(zoned, copy) == where
    assert usable_on(copy, nodes[zone])


def test_a_full_zone_gets_no_volume_in_another_when_only_the_pod_s_node_is_named(zoned: World) -> None:
    for pool in ("fast", "slow"):  # those of zone a: a name stands for the first pool that has it
        zoned.simulator.gateway.set_full(pool, full=True)
    refused(FULL, lambda: late(zoned.driver, "pvc-1", registered(zoned, 0, zone="a")))
    assert not zoned.array.volumes


def test_a_node_without_a_zone_gets_no_volume_in_a_zone(zoned: World) -> None:
    """Its pod would wait without end, because the volume's node affinity has a zone and the node has none."""
    node = registered(zoned, 0)
    text = refused(FULL, lambda: late(zoned.driver, "pvc-1", node))
    assert "system array0 has only the zones a, b; register the nodes with one of them" in text
    source = late(zoned.driver, "pvc-2", registered(zoned, 0, zone="b")).volume_id
    text = refused(
        FULL,
        lambda: zoned.driver.clone("pvc-3", source, accessibility_requirements=requirement(node)),
    )
    assert "has only the zones a, b" in text
    assert capacity(zoned.driver, node) == 0


def test_a_node_in_a_zone_of_no_system_gets_no_volume(zoned: World) -> None:
    node = registered(zoned, 0, zone="c")
    text = refused(FULL, lambda: late(zoned.driver, "pvc-1", node))
    assert "zone=c; system array0 has only the zones a, b" in text
    assert capacity(zoned.driver, node) == 0


def test_zones_are_not_the_reason_where_the_class_leaves_out_the_zone_s_pools(zoned: World) -> None:
    wanted = requirement(registered(zoned, 0, zone="b"))
    for options in (
        {"parameters": {"storagepool": "slow"}, "accessibility_requirements": wanted},
        {"parameters": {"storagepool": "slow", "protectiondomain": "pdb"}},
    ):
        assert "zones" not in refused(FULL, lambda: zoned.driver.create(**options))  # noqa: B023


def test_a_class_that_allows_one_zone_gets_volumes_there(zoned: World) -> None:
    """With allowedTopologies and immediate binding, the provisioner sends the key of the class alone."""
    volume = late(zoned.driver, "pvc-1", {f"{DRIVER}/zone": "b"})
    assert pool_of(zoned, volume) == "pdb/fast"


def test_without_any_topology_the_first_zone_gets_the_volume(zoned: World) -> None:
    volume = zoned.driver.create()
    assert pool_of(zoned, volume) == "pda/fast"
    assert usable_on(volume, registered(zoned, 0, zone="a"))


# --- systems without zones ----------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["a", None], ids=["in a zone", "without a zone"])
def test_volumes_of_a_system_without_zones_can_be_used_by_every_node(pair: World, zone: str | None) -> None:
    node = registered(pair, 1, zone=zone)
    volume = late(pair.driver, "pvc-1", node)
    assert system_of(pair, volume) == 1
    copy = pair.driver.clone("pvc-2", volume.volume_id, accessibility_requirements=requirement(node))
    snapshot = pair.driver.snapshot(volume.volume_id).snapshot_id
    restored = pair.driver.restore("pvc-3", snapshot, accessibility_requirements=requirement(node))
    for each in (volume, copy, restored):
        for other in ("a", "b", None):
            assert usable_on(each, registered(pair, 1, zone=other))
    assert capacity(pair.driver, node) > 0


def test_a_system_without_zones_serves_the_nodes_of_every_zone_next_to_one_with_zones(mixed: World) -> None:
    for zone in ("a", "b", "c", None):
        node = registered(mixed, 0, 1, zone=zone)
        wanted = requirement(node)
        volume = mixed.driver.create(
            f"pvc-{zone}", accessibility_requirements=wanted, parameters={"systemID": "array1"}
        )
        assert system_of(mixed, volume) == 1
        assert usable_on(volume, node)


@pytest.mark.parametrize(("zone", "system"), [("a", 0), ("b", 0), ("c", 1), (None, 1)])
def test_a_node_that_reaches_both_gets_what_it_can_use(mixed: World, zone: str | None, system: int) -> None:
    node = registered(mixed, 0, 1, zone=zone)
    volume = late(mixed.driver, "pvc-1", node)
    assert system_of(mixed, volume) == system
    assert usable_on(volume, node)


def test_capacity_counts_the_pools_of_the_zone_and_those_of_systems_without_zones(mixed: World) -> None:
    without = capacity(mixed.driver, registered(mixed, 1, zone="a"))
    found = {
        zone: capacity(mixed.driver, registered(mixed, 0, 1, zone=zone)) for zone in ("a", "b", "c", None)
    }
    only = {zone: capacity(mixed.driver, registered(mixed, 0, zone=zone)) for zone in ("a", "b", "c", None)}
    assert without > 0
    assert only["a"] == 2 * only["b"] > 0
    assert only["c"] == only[None] == 0
    assert found == {zone: left + without for zone, left in only.items()}


# --- a zone over several systems ----------------------------------------------------------------------


def test_a_zone_over_two_systems_has_the_capacity_of_both_and_each_node_uses_what_it_reaches(
    spread: World,
) -> None:
    both, second = registered(spread, 0, 1, zone="a"), registered(spread, 1, zone="a")
    one = capacity(spread.driver, second)
    assert capacity(spread.driver, both) == 2 * one > 0
    for name, node in (("pvc-1", both), ("pvc-2", second)):
        assert usable_on(late(spread.driver, name, node), node)
    assert system_of(spread, late(spread.driver, "pvc-2", second)) == 1
    spread.simulator.gateways[0].set_full("sp1", full=True)
    volume = late(spread.driver, "pvc-3", both)
    assert system_of(spread, volume) == 1
    assert usable_on(volume, both)


def test_a_copy_in_a_pool_of_two_zones_is_for_the_zone_of_its_pod(spread: World) -> None:
    source = late(spread.driver, "pvc-1", registered(spread, 1, zone="a")).volume_id
    in_b = registered(spread, 0, 1, zone="b")
    copy = spread.driver.clone("pvc-2", source, accessibility_requirements=requirement(in_b))
    assert usable_on(copy, in_b)
    again = spread.driver.clone("pvc-2", source, accessibility_requirements=requirement(in_b))
    assert again == copy


def test_a_copy_in_a_pool_of_no_zone_can_be_used_in_every_zone(zoned: World) -> None:
    source = late(zoned.driver, "pvc-1", registered(zoned, 0, zone="b")).volume_id
    (system,) = zoned.systems
    zoned.systems = (msgspec.structs.replace(system, zones=ZONES[:1]),)
    node = registered(zoned, 0, zone="a")
    copy = zoned.restart().clone("pvc-2", source, accessibility_requirements=requirement(node))
    assert usable_on(copy, node)
    assert usable_on(copy, registered(zoned, 0))
