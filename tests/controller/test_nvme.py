"""Publishing volumes to nodes that reach them over NVMe/TCP."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from csi_powerflex.errors import Unsupported
from csi_powerflex.gateway import nvme as gateway_nvme
from csi_powerflex.gateway.array import GatewayArray
from csi_powerflex.ids import InitiatorKind, VolumeHandle
from csi_powerflex.model.array import Access, Limits, Mapping
from csi_powerflex.model.nvme import MAX_PORTALS, NvmeTarget, Portal
from csi_powerflex.operations.controller import nvme_hosts as nvme_hosts_module
from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.inprocess import Client
from csi_powerflex.simulator.model import Sdt
from csi_powerflex.simulator.settings import Settings
from csi_powerflex.simulator.simulator import SystemPlan
from tests.controller.changed_answers import ChangeAnswer
from tests.controller.conftest import MakeWorld
from tests.controller.driver import Driver, Mode, block, mount, outcome, refused
from tests.controller.eventually import eventually
from tests.controller.interruption import Held, HoldTime
from tests.controller.nvme import (
    HOST_NAME,
    NODE,
    NQN,
    create_nvme_host,
    map_to,
    mapped_to,
    nvme_hosts,
    target_of,
)
from tests.controller.topology import DRIVER, requirement
from tests.controller.world import World

PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
SHARED = block(Mode.MULTI_NODE_MULTI_WRITER)

with_nvme = pytest.mark.parametrize("world", ["4.5", "5.0"], indirect=True)


# --- what the node is told ---------------------------------------------------------------------------


@with_nvme
def test_a_volume_is_published_to_a_node_by_its_nqn(world: World, driver: Driver) -> None:
    volume = driver.create()
    context = driver.publish(volume, NODE)
    handle = VolumeHandle.parse(volume.volume_id)
    target = target_of(volume, context)
    assert target == NvmeTarget(
        nqn=f"nqn.1988-11.com.dell:powerflex:00:{handle.system_id}",
        portals=(Portal("203.0.1.1", 4420, 8009), Portal("203.0.1.2", 4420, 8009)),
        nguid=f"{handle.volume_id}64b94e{handle.system_id[6:]}",
    )
    assert context == {
        "transport": "nvme",
        "sizeBytes": str(volume.capacity_bytes),
        "readOnly": "false",
        **target.details(),
    }
    (host,) = nvme_hosts(world)
    assert (host.nqn, host.name) == (NQN, HOST_NAME)
    assert mapped_to(world, volume) == [HOST_NAME]


@with_nvme
def test_publishing_again_over_nvme_gives_the_same_answer(world: World, driver: Driver) -> None:
    volume = driver.create()
    first = driver.publish(volume, NODE)
    assert driver.publish(volume, NODE) == first
    assert world.restart().publish(volume, NODE) == first
    assert mapped_to(world, volume) == [HOST_NAME]
    assert len(nvme_hosts(world)) == 1


def test_a_read_only_publication_maps_read_only(array45: World) -> None:
    volume = array45.driver.create()
    context = array45.driver.publish(volume, NODE, mount(Mode.MULTI_NODE_READER_ONLY))
    assert context["readOnly"] == "true"
    (mapping,) = array45.volume(volume.volume_id).mappings
    assert mapping.access_mode == "ReadOnly"


def sdts(world: World) -> list[Sdt]:
    """The SDTs in the order of their ids."""
    return sorted(world.array.sdts.values(), key=lambda sdt: sdt.id)


def act(world: World, sdt: Sdt, action: str, **body: object) -> None:
    """What an operator does to an SDT."""
    Client(world.simulator.gateway).act("Sdt", sdt.id, action, **body)


def portals(world: World) -> list[str]:
    """The portals of a new volume, as the controller tells them."""
    volume = world.driver.create()
    return [str(portal) for portal in target_of(volume, world.driver.publish(volume, NODE)).portals]


def test_addresses_that_only_serve_storage_are_not_told(array45: World) -> None:
    first, second = sdts(array45)
    act(array45, first, "addIp", ip="203.0.1.101", role="HostOnly")
    act(array45, first, "modifyIpRole", ip="203.0.1.1", newRole="StorageOnly")
    assert portals(array45) == ["203.0.1.101:4420/8009", "203.0.1.2:4420/8009"]
    assert second.addresses[0].ip == "203.0.1.2"


def test_each_sdt_comes_before_the_second_address_of_any(array45: World) -> None:
    for sdt in sdts(array45):
        act(array45, sdt, "addIp", ip=sdt.addresses[0].ip + "0", role="StorageAndHost")
    assert [each.partition(":")[0] for each in portals(array45)] == [
        "203.0.1.1",
        "203.0.1.2",
        "203.0.1.10",
        "203.0.1.20",
    ]


def test_ipv6_and_other_ports_are_told(array45: World) -> None:
    first, second = sdts(array45)
    act(array45, first, "addIp", ip="2001:DB8::1", role="HostOnly")
    act(array45, first, "removeIp", ip="203.0.1.1")
    act(array45, second, "modifyNvmePort", newNvmePort="5000")
    act(array45, second, "modifyDiscoveryPort", newDiscoveryPort="5001")
    assert portals(array45) == ["[2001:db8::1]:4420/8009", "203.0.1.2:5000/5001"]


def test_an_sdt_in_maintenance_comes_last(array45: World) -> None:
    act(array45, sdts(array45)[0], "enterMaintenanceMode")
    assert portals(array45) == ["203.0.1.2:4420/8009", "203.0.1.1:4420/8009"]


@pytest.mark.parametrize(
    ("key", "state"),
    [
        ("sdtState", "RemovePending"),
        ("membershipState", "Decoupled"),
        ("maintenanceState", "SetMaintenanceInProgress"),
        ("mdmConnectionState", "Disconnected"),
    ],
)
def test_an_sdt_in_another_state_comes_last(
    array45: World, change_answer: ChangeAnswer, key: str, state: str
) -> None:
    change_answer("Sdt.list", lambda answer: [answer[0] | {key: state}, *answer[1:]])
    assert portals(array45) == ["203.0.1.2:4420/8009", "203.0.1.1:4420/8009"]


def test_no_more_portals_are_told_than_a_publish_context_holds(
    array45: World, change_answer: ChangeAnswer
) -> None:
    def more(answer: list[dict[str, object]]) -> list[dict[str, object]]:
        ips = [{"ip": f"203.0.2.{number}", "role": "HostOnly"} for number in range(1, 60)]
        return [answer[0] | {"ipList": ips}, *answer[1:]]

    change_answer("Sdt.list", more)
    found = portals(array45)
    assert len(found) == MAX_PORTALS
    assert "203.0.1.2:4420/8009" in found


def test_a_system_that_does_not_tell_its_nqn_leaves_it_to_the_discovery(
    array45: World, change_answer: ChangeAnswer
) -> None:
    change_answer("System.list", lambda answer: [answer[0] | {"systemNqn": None}])
    driver = array45.restart()
    volume = driver.create()
    assert target_of(volume, driver.publish(volume, NODE)).nqn == ""


HOSTILE = (
    "nqn.2014-08.org.example:a,hostnqn=nqn.2014-08.org.example:b",
    "nqn.2014-08.org.example:a\nb",
    "nqn.2014-08.org.example: a",
    "x" * 300,
)


@pytest.mark.parametrize("nqn", HOSTILE)
def test_an_nqn_of_the_array_that_could_change_the_nodes_line_is_not_told(
    array45: World, change_answer: ChangeAnswer, nqn: str, caplog: pytest.LogCaptureFixture
) -> None:
    change_answer("System.list", lambda answer: [answer[0] | {"systemNqn": nqn}])
    driver = array45.restart()
    volume = driver.create()
    context = driver.publish(volume, NODE)
    assert target_of(volume, context).nqn == ""
    assert nqn not in context.values()
    assert "unusable answer about NVMe ignored" in caplog.messages


@pytest.mark.parametrize(
    "wrong",
    [
        {"ipList": [{"ip": "203.0.1.1,nqn=x", "role": "HostOnly"}]},
        {"ipList": [{"ip": "sdt.example.org", "role": "HostOnly"}]},
        {"ipList": [{"ip": "203.0.1.999", "role": "HostOnly"}]},
        {"ipList": [{"ip": "fe80::1%eth0", "role": "HostOnly"}]},
        {"ipList": [{"ip": None, "role": None}]},
        {"ipList": None},
        {"nvmePort": 0},
        {"nvmePort": 65536},
        {"discoveryPort": -1},
    ],
    ids=str,
)
def test_an_address_of_the_array_that_is_none_is_not_told(
    array45: World, change_answer: ChangeAnswer, wrong: dict[str, object]
) -> None:
    change_answer("Sdt.list", lambda answer: [answer[0] | wrong, *answer[1:]])
    assert portals(array45) == ["203.0.1.2:4420/8009"]


# --- what the array cannot do --------------------------------------------------------------------------


def unpublishable(world: World, node: str = NODE) -> str:
    """Why a new volume is not published; asserts that nothing was changed."""
    volume = world.driver.create()
    before = len(nvme_hosts(world))
    text = refused(PRECONDITION, lambda: world.driver.publish(volume, node))
    assert world.volume(volume.volume_id).mappings == []
    assert len(nvme_hosts(world)) == before
    return text


def test_sdts_are_read_again_after_their_time_and_the_version_is_not(
    array45: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = array45.simulator.gateway.log
    since = log.last
    assert "203.0.1.101:4420/8009" not in portals(array45)
    assert "/api/version" in [request.path for request in log.find(since=since)]
    act(array45, sdts(array45)[0], "addIp", ip="203.0.1.101", role="HostOnly")
    monkeypatch.setattr(gateway_nvme, "SDT_SECONDS", 0.0)
    since = log.last
    volume = array45.driver.create("pvc-2")
    target = target_of(volume, array45.driver.publish(volume, NODE))
    assert "203.0.1.101:4420/8009" in [str(portal) for portal in target.portals]
    assert "/api/version" not in [request.path for request in log.find(since=since)]


def test_a_system_before_4_0_is_refused_in_words(make_world: MakeWorld) -> None:
    world = make_world(SystemPlan(version="3.6"))
    assert "is PowerFlex 3.6, and NVMe/TCP needs 4.0 or newer" in unpublishable(world)


def test_a_system_without_sdts_is_refused_in_words(array45: World) -> None:
    for sdt in sdts(array45):
        act(array45, sdt, "removeSdt")
    text = unpublishable(array45)
    assert "has no SDT with an address for hosts in protection domain pd1" in text
    assert "SDTs there: 0" in text


def test_a_domain_with_sdts_for_storage_only_is_refused_in_words(array45: World) -> None:
    for sdt in sdts(array45):
        act(array45, sdt, "modifyIpRole", ip=sdt.addresses[0].ip, newRole="StorageOnly")
    text = unpublishable(array45)
    assert "SDTs there: 2" in text
    assert "add one there with the role StorageAndHost or HostOnly" in text


def test_sdts_of_another_protection_domain_do_not_count(array45: World, change_answer: ChangeAnswer) -> None:
    change_answer("Sdt.list", lambda answer: [each | {"protectionDomainId": "f" * 16} for each in answer])
    assert "SDTs there: 0, in the whole system: 2" in unpublishable(array45)


def test_a_replicated_volume_is_refused_in_words(array45: World, change_answer: ChangeAnswer) -> None:
    change_answer("Volume.get", lambda answer: answer | {"volumeReplicationState": "MarkedForReplication"})
    assert "the volume is replicated, and the array maps such volumes to SDCs only" in unpublishable(array45)


def test_a_volume_that_is_mapped_to_an_sdc_elsewhere_is_not_given_to_an_nvme_node(array45: World) -> None:
    volume = array45.driver.create()
    array45.driver.publish(volume, array45.node("a"))
    text = refused(PRECONDITION, lambda: array45.driver.publish(volume, NODE))
    assert "is mapped to a (host id" in text
    assert mapped_to(array45, volume) == ["a"]


def test_a_shared_volume_is_mapped_to_nodes_of_both_kinds(array45: World) -> None:
    volume = array45.driver.create(capabilities=[SHARED])
    assert array45.driver.publish(volume, array45.node("a"), SHARED)["transport"] == "sdc"
    assert array45.driver.publish(volume, NODE, SHARED)["transport"] == "nvme"
    assert sorted(map(str, mapped_to(array45, volume))) == ["a", HOST_NAME]
    array45.driver.unpublish(volume.volume_id)
    assert mapped_to(array45, volume) == []


def test_an_nvme_node_at_its_limit_is_resource_exhausted(make_world: MakeWorld) -> None:
    world = make_world(settings=Settings(max_volumes_per_host=1))
    first, second = world.driver.create("pvc-1"), world.driver.create("pvc-2")
    world.driver.publish(first, NODE)
    refused(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: world.driver.publish(second, NODE))


# --- the NVMe host --------------------------------------------------------------------------------------


def test_a_host_that_another_driver_created_is_used_also_if_its_nqn_is_in_another_case(
    array45: World,
) -> None:
    create_nvme_host(array45, "other", "nqn." + NQN[4:].upper())
    volume = array45.driver.create()
    assert array45.driver.publish(volume, NODE)
    assert mapped_to(array45, volume) == ["other"]
    assert len(nvme_hosts(array45)) == 1


def test_a_host_whose_name_is_taken_gets_another_one(array45: World) -> None:
    create_nvme_host(array45, HOST_NAME, "nqn.2014-08.org.example:other")
    volume = array45.driver.create()
    assert array45.driver.publish(volume, NODE)
    (name,) = mapped_to(array45, volume)
    digest = hashlib.sha256(NQN.encode()).hexdigest()[:8]
    assert name == f"{HOST_NAME[:22]}-{digest}"
    assert len(name) == 31


def test_a_host_of_an_nqn_without_a_uuid_gets_a_name_too(array45: World) -> None:
    nqn = "nqn.2024-01.org.example:node-1"
    volume = array45.driver.create()
    assert array45.driver.publish(volume, f"nqn:{nqn}")
    assert mapped_to(array45, volume) == [f"csi-{hashlib.sha256(nqn.encode()).hexdigest()[-27:]}"]


def test_the_limit_of_nvme_hosts_is_named(make_world: MakeWorld) -> None:
    world = make_world(settings=Settings(max_nvme_hosts=0))
    volume = world.driver.create()
    text = refused(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: world.driver.publish(volume, NODE))
    assert "array0 cannot have a further NVMe host" in text
    assert "remove NVMe hosts there that no longer exist" in text


@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind=FaultKind.LOST_REPLY, route="Host.create", times=1),
        Fault(kind=FaultKind.ERROR, status=504, route="Host.create", times=1, after_effect=True),
        Fault(kind=FaultKind.ERROR, code=92, route="Host.create", times=1, after_effect=True),
    ],
    ids=["lost", "error", "name in use"],
)
def test_a_host_whose_creation_got_no_answer_is_found(array45: World, fault: Fault) -> None:
    volume = array45.driver.create()
    array45.simulator.gateway.inject(fault)
    assert array45.driver.publish(volume, NODE)
    assert mapped_to(array45, volume) == [HOST_NAME]
    assert len(nvme_hosts(array45)) == 1


def test_a_creation_that_is_refused_without_a_reason_is_repeated_by_the_caller(array45: World) -> None:
    volume = array45.driver.create()
    array45.simulator.gateway.inject(Fault(kind=FaultKind.ERROR, code=1, route="Host.create", times=1))
    assert outcome(lambda: array45.driver.publish(volume, NODE)) is grpc.StatusCode.UNAVAILABLE
    assert array45.driver.publish(volume, NODE)


def test_two_controllers_that_need_a_new_host_create_one(
    array45: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is held at each of its requests until the other has published."""
    held, other = Held(monkeypatch), array45.another()
    for number in range(10):  # a publication to a new host is five requests
        node = f"nqn:nqn.2014-08.org.example:node-{number}"
        one, two = array45.driver.create(f"pvc-{number}-1"), array45.driver.create(f"pvc-{number}-2")
        held.arm(number // 2, list(HoldTime)[number % 2])
        with ThreadPoolExecutor(1) as caller:
            first = caller.submit(outcome, lambda one=one, node=node: array45.driver.publish(one, node))  # type: ignore[misc]  # bound
            held.wait()
            assert other.publish(two, node)
            held.release()
            assert first.result(timeout=60) is grpc.StatusCode.OK
        assert mapped_to(array45, one) == mapped_to(array45, two)
        assert len(nvme_hosts(array45)) == number + 1


def test_publications_to_a_new_node_at_the_same_time_create_its_host_once(array45: World) -> None:
    volumes = [array45.driver.create(f"pvc-{number}") for number in range(6)]
    log = array45.simulator.gateway.log
    since = log.last
    with ThreadPoolExecutor(6) as callers:
        assert all(callers.map(lambda volume: array45.driver.publish(volume, NODE), volumes))
    assert len(log.find(since=since, route="Host.create")) == 1
    assert len(nvme_hosts(array45)) == 1


def test_a_host_that_was_removed_at_the_array_is_created_again(array45: World) -> None:
    volume = array45.driver.create()
    array45.driver.publish(volume, NODE)
    array45.driver.unpublish(volume.volume_id, NODE)
    (old,) = nvme_hosts(array45)
    Client(array45.simulator.gateway).act("Host", old.id, "removeHost")
    assert array45.driver.publish(volume, NODE)
    (new,) = nvme_hosts(array45)
    assert new.id != old.id
    assert mapped_to(array45, volume) == [HOST_NAME]


def test_the_limits_of_paths_and_ports_of_the_systems_file_are_those_of_new_hosts(
    make_world: MakeWorld,
) -> None:
    world = make_world(nvme_max_paths=2, nvme_max_ports=6)
    world.driver.publish(world.driver.create(), NODE)
    (host,) = nvme_hosts(world)
    assert (host.max_paths, host.max_ports) == (2, 6)


def test_an_nvme_host_that_the_array_has_not_approved_is_refused_in_words(make_world: MakeWorld) -> None:
    world = make_world(approve_hosts=True)
    world.array.change(world.array.system, restricted_mode="ApprovedIp")
    volume = world.driver.create()
    text = refused(PRECONDITION, lambda: world.driver.publish(volume, NODE))
    assert "has not approved the NVMe host" in text
    assert "approve its IP addresses" in text


def test_a_call_does_not_wait_longer_than_its_time_for_another_that_creates_the_host(
    array45: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first call is held while it creates the host. The second one has half a second."""
    monkeypatch.setattr(nvme_hosts_module, "_LONGEST_SECONDS", 0.5)
    one, two = array45.driver.create("pvc-1"), array45.driver.create("pvc-2")
    gateway = array45.simulator.gateway
    frozen = gateway.inject(Fault(kind=FaultKind.FREEZE, route="Host.create", times=1))
    with ThreadPoolExecutor(1) as caller:
        first = caller.submit(array45.driver.publish, one, NODE)
        eventually(lambda: gateway.faults.struck(frozen) == 1)
        text = refused(grpc.StatusCode.ABORTED, lambda: array45.driver.publish(two, NODE))
        assert "another call creates the NVMe host" in text
        gateway.faults.remove(frozen)
        assert first.result(timeout=60)["transport"] == "nvme"
    assert array45.driver.publish(two, NODE)


def test_the_gateway_sends_no_limits_for_a_mapping_to_an_nvme_host(array45: World) -> None:
    """Whatever the operations ask for. Another client documents that the array refuses them."""
    array = GatewayArray(array45.systems[0])
    mapping = Mapping("a" * 16, "n1", InitiatorKind.NVME, Access.READ_WRITE, Limits())
    with pytest.raises(Unsupported, match="has no QoS limits for n1"):
        array.limit_mapping("b" * 16, mapping, Limits(iops=500))
    array.close()


# --- a node with an SDC and an NQN ----------------------------------------------------------------------


def both(world: World, sdc: str = "a") -> str:
    """A node id with both initiators."""
    return f"{world.node(sdc)},{NODE}"


def pinned(world: World, transport: str, name: str = "pvc-1") -> csi_pb2.Volume:
    return world.driver.create(name, parameters={"transport": transport})


@pytest.mark.parametrize(("asked", "used"), [("auto", "sdc"), ("sdc", "sdc"), ("nvme", "nvme")])
def test_a_class_chooses_the_transport_of_a_node_that_has_both(array45: World, asked: str, used: str) -> None:
    volume = pinned(array45, asked)
    assert array45.driver.publish(volume, both(array45))["transport"] == used
    assert mapped_to(array45, volume) == ["a" if used == "sdc" else HOST_NAME]


def test_auto_uses_nvme_where_the_array_has_lost_the_sdc(array45: World) -> None:
    array45.simulator.gateway.set_connected("a", connected=False)
    volume = array45.driver.create()
    assert array45.driver.publish(volume, both(array45))["transport"] == "nvme"
    array45.simulator.gateway.set_connected("a", connected=True)
    assert array45.driver.publish(volume, both(array45))["transport"] == "nvme"
    assert mapped_to(array45, volume) == [HOST_NAME]


def test_auto_uses_nvme_where_the_array_does_not_know_the_sdc(array45: World) -> None:
    volume = array45.driver.create()
    node = f"sdc:00000000-0000-0000-0000-000000000001,{NODE}"
    assert array45.driver.publish(volume, node)["transport"] == "nvme"
    assert list(array45.driver.get(volume.volume_id).status.published_node_ids) == [node]


def test_auto_uses_a_lost_sdc_where_nvme_does_not_work(array45: World) -> None:
    array45.simulator.gateway.set_connected("a", connected=False)
    volume = array45.driver.create(parameters={"iopsLimit": "500"})
    context = array45.driver.publish(volume, both(array45))
    assert (context["transport"], context["hostConnected"]) == ("sdc", "false")
    assert nvme_hosts(array45) == []


def test_a_class_that_pins_a_transport_which_the_node_lacks_is_refused_in_words(array45: World) -> None:
    for asked, node, reason in (
        ("sdc", NODE, "sdc: system array0 knows no SDC of this node"),
        ("nvme", array45.node("a"), "nvme: the node has registered no NQN"),
    ):
        volume = pinned(array45, asked, f"pvc-{asked}")
        text = refused(PRECONDITION, lambda volume=volume, node=node: array45.driver.publish(volume, node))  # type: ignore[misc]  # bound
        assert f"its class asks for transport {asked}" in text
        assert reason in text


@pytest.mark.parametrize("mapped", ["sdc", "nvme"])
def test_a_volume_that_is_mapped_to_a_node_keeps_its_transport(array45: World, mapped: str) -> None:
    """Also if the class, or what works, says otherwise: a volume is never mapped to both hosts of a node."""
    volume = array45.driver.create(capabilities=[SHARED])
    node = array45.node("a") if mapped == "sdc" else NODE
    first = array45.driver.publish(volume, node, SHARED)
    other = "nvme" if mapped == "sdc" else "sdc"
    volume.volume_context["transport"] = other
    if mapped == "sdc":
        array45.simulator.gateway.set_connected("a", connected=False)
    again = array45.driver.publish(volume, both(array45), SHARED)
    assert again["transport"] == first["transport"] == mapped
    assert len(mapped_to(array45, volume)) == 1


def test_a_mapping_to_an_nvme_host_that_the_controller_does_not_know_counts(array45: World) -> None:
    """Another controller created the host and mapped the volume since this one has read the hosts."""
    array45.driver.publish(array45.driver.create("pvc-0"), both(array45))
    volume = array45.driver.create(capabilities=[SHARED])
    map_to(array45, volume, create_nvme_host(array45))
    assert array45.driver.publish(volume, both(array45), SHARED)["transport"] == "nvme"
    assert mapped_to(array45, volume) == ["n1"]


def test_a_volume_that_is_mapped_to_both_hosts_of_a_node_is_refused_until_it_is_unpublished(
    array45: World,
) -> None:
    volume = array45.driver.create(capabilities=[SHARED])
    array45.driver.publish(volume, array45.node("a"), SHARED)
    array45.driver.publish(volume, NODE, SHARED)
    text = refused(PRECONDITION, lambda: array45.driver.publish(volume, both(array45), SHARED))
    assert "it would be two devices there; unpublish it from the node" in text
    array45.driver.unpublish(volume.volume_id, both(array45))
    assert mapped_to(array45, volume) == []
    assert array45.driver.publish(volume, both(array45), SHARED)["transport"] == "sdc"


@pytest.mark.parametrize("new", [True, False])
def test_a_controller_that_uses_the_other_host_of_a_node_finds_the_mapping(
    array45: World, monkeypatch: pytest.MonkeyPatch, new: bool
) -> None:
    """The array lost the SDC for one of two controllers only. A volume for one node is mapped once."""
    held, other = Held(monkeypatch), array45.another()
    array45.driver.publish(array45.driver.create("pvc-0"), both(array45))
    volume = array45.driver.create()
    if not new:
        array45.driver.expand(volume.volume_id, gib=8)
    held.arm(0 if new else 1, HoldTime.BEFORE)  # the mapping: an older volume is read before
    with ThreadPoolExecutor(1) as caller:
        first = caller.submit(array45.driver.publish, volume, both(array45))
        held.wait()
        array45.simulator.gateway.set_connected("a", connected=False)
        assert other.publish(volume, both(array45))["transport"] == "nvme"
        held.release()
        assert first.result(timeout=60)["transport"] == "nvme"
    assert mapped_to(array45, volume) == [HOST_NAME]


def test_a_shared_volume_that_two_controllers_map_to_both_hosts_gets_no_second_answer(
    array45: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, other = Held(monkeypatch), array45.another()
    array45.driver.publish(array45.driver.create("pvc-0"), both(array45))
    volume = array45.driver.create(capabilities=[SHARED])
    held.arm(1, HoldTime.BEFORE)
    with ThreadPoolExecutor(1) as caller:
        first = caller.submit(outcome, lambda: array45.driver.publish(volume, both(array45), SHARED))
        held.wait()
        array45.simulator.gateway.set_connected("a", connected=False)
        assert other.publish(volume, both(array45), SHARED)["transport"] == "nvme"
        held.release()
        assert first.result(timeout=60) is PRECONDITION
    array45.driver.unpublish(volume.volume_id, both(array45))
    assert mapped_to(array45, volume) == []


# --- unpublish ------------------------------------------------------------------------------------------


@with_nvme
def test_a_volume_is_unpublished_from_an_nvme_node_and_a_repeated_call_succeeds(
    world: World, driver: Driver
) -> None:
    volume = driver.create()
    driver.publish(volume, NODE)
    for _ in range(2):
        driver.unpublish(volume.volume_id, NODE)
        assert mapped_to(world, volume) == []
    assert len(nvme_hosts(world)) == 1


@pytest.mark.parametrize("mapped", ["sdc", "nvme"])
@pytest.mark.parametrize("fresh", [False, True])
def test_a_volume_is_unpublished_whichever_host_of_the_node_it_is_mapped_to(
    array45: World, mapped: str, fresh: bool
) -> None:
    volume = pinned(array45, mapped)
    array45.driver.publish(volume, both(array45))
    driver = array45.restart() if fresh else array45.driver
    driver.unpublish(volume.volume_id, both(array45))
    assert mapped_to(array45, volume) == []
    driver.unpublish(volume.volume_id, both(array45))


def test_unpublishing_never_creates_a_host(array45: World) -> None:
    volume = array45.driver.create()
    array45.driver.publish(volume, array45.node("b"))
    for node in (NODE, both(array45)):
        array45.driver.unpublish(volume.volume_id, node)
    assert nvme_hosts(array45) == []
    assert mapped_to(array45, volume) == ["b"]


# --- limits of quality of service -------------------------------------------------------------------------


def test_a_volume_with_limits_is_not_published_over_nvme(array45: World) -> None:
    for parameters, text in (
        ({"iopsLimit": "500"}, "limits it to 500 IOPS and 0 KB/s"),
        ({"bandwidthPerGiBInKbps": "128"}, "limits it to 0 IOPS and 1024 KB/s"),
    ):
        volume = array45.driver.create(f"pvc-{text}", parameters=parameters)
        answer = refused(PRECONDITION, lambda volume=volume: array45.driver.publish(volume, NODE))  # type: ignore[misc]  # bound
        assert text in answer
        assert "one with qosOnNvme: ignore" in answer
    assert nvme_hosts(array45) == []


def test_a_class_may_say_that_limits_are_ignored_on_nvme(array45: World) -> None:
    volume = array45.driver.create(parameters={"iopsLimit": "500", "qosOnNvme": "Ignore"})
    assert volume.volume_context["qosOnNvme"] == "ignore"
    assert array45.driver.publish(volume, NODE)["transport"] == "nvme"
    array45.driver.modify(volume.volume_id, iopsLimit="700")
    array45.driver.expand(volume.volume_id, gib=16)
    (mapping,) = array45.volume(volume.volume_id).mappings
    assert mapping.limit_iops == 0
    array45.driver.unpublish(volume.volume_id, NODE)
    assert array45.driver.publish(volume, array45.node("a"))["transport"] == "sdc"
    (mapping,) = array45.volume(volume.volume_id).mappings
    assert mapping.limit_iops == 700


def test_auto_uses_the_sdc_of_a_node_for_a_volume_with_limits(array45: World) -> None:
    volume = array45.driver.create(parameters={"iopsLimit": "500"})
    assert array45.driver.publish(volume, both(array45))["transport"] == "sdc"


def test_limits_are_refused_for_a_volume_on_an_nvme_host_and_nothing_is_changed(array45: World) -> None:
    volume = array45.driver.create(capabilities=[SHARED])
    array45.driver.publish(volume, array45.node("a"), SHARED)
    array45.driver.publish(volume, NODE, SHARED)
    text = refused(PRECONDITION, lambda: array45.driver.modify(volume.volume_id, iopsLimit="500"))
    assert f"is mapped to {HOST_NAME}" in text
    assert {mapping.limit_iops for mapping in array45.volume(volume.volume_id).mappings} == {0}
    array45.driver.modify(volume.volume_id, iopsLimit="0")
    array45.driver.unpublish(volume.volume_id, NODE)
    array45.driver.modify(volume.volume_id, iopsLimit="500")
    (mapping,) = array45.volume(volume.volume_id).mappings
    assert mapping.limit_iops == 500


# --- topology -------------------------------------------------------------------------------------------


def created_topology(world: World, transport: str, *nodes: dict[str, str]) -> dict[str, str]:
    """The topology of a new volume of a class with this transport."""
    volume = world.driver.create(
        f"pvc-{len(world.array.volumes)}",
        parameters={"transport": transport},
        accessibility_requirements=requirement(*nodes),
    )
    return dict(volume.accessible_topology[0].segments)


def test_only_a_class_that_pins_a_transport_has_it_in_the_topology_of_its_volumes(array45: World) -> None:
    system = f"{DRIVER}/{array45.array.system.id}"
    new = {system: "true", f"{system}-sdc": "true", f"{system}-nvme": "true"}
    assert created_topology(array45, "auto", new) == {system: "true"}
    assert created_topology(array45, "nvme", new) == {system: "true", f"{system}-nvme": "true"}
    assert created_topology(array45, "sdc", new) == {system: "true", f"{system}-sdc": "true"}
    old = {system: "true"}
    assert created_topology(array45, "sdc", old) == {system: "true"}
    assert created_topology(array45, "auto", old) == {system: "true"}


def test_a_volume_is_not_created_for_nodes_that_lack_the_transport_of_its_class(array45: World) -> None:
    system = f"{DRIVER}/{array45.array.system.id}"
    for transport, node in (
        ("nvme", {system: "true"}),
        ("nvme", {system: "true", f"{system}-sdc": "true"}),
        ("sdc", {system: "true", f"{system}-nvme": "true"}),
    ):
        text = refused(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            lambda transport=transport, node=node: created_topology(array45, transport, node),  # type: ignore[misc]  # bound
        )
        assert f"over transport {transport}, which the class asks for" in text
