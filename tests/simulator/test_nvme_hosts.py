"""NVMe hosts at the simulated array: who may connect, what the array shows, and clients' orders of calls."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, SdtPlan
from csi_powerflex.simulator.settings import Settings
from csi_powerflex.simulator.simulator import Simulator, SystemPlan
from tests.nvme_initiator import DISCOVERY_NQN, Connection, Failed, Initiator, hostnqn
from tests.simulator.nvme import FREE, HOST_A, HOST_B, SEVERAL, A, B, NvmeArray, eventually, nvme_array

BUSY, INVALID_PARAMETERS, INVALID_HOST = 0x181, 0x182, 0x184


def leave(nvme: NvmeArray, host_id: str) -> None:
    """Wait until the array sees that a host has left."""
    eventually(lambda: not nvme.controllers(host_id))


def cannot_read(host: Initiator, number: int) -> bool:
    """Whether the target has ended the queue for I/O of a host."""
    try:
        host.read(number, 0, 512)
    except (EOFError, OSError):
        return True
    return False


def refused(nvme: NvmeArray, uuid: str = A, *, subsystem: str | None = None, portal: int = 0) -> int:
    """The status with which the target refuses a host."""
    with pytest.raises(Failed) as caught:
        nvme.initiator(uuid, portal=portal).connect(subsystem or nvme.nqn)
    return caught.value.code


# --- who may connect -----------------------------------------------------------------------------


def test_a_host_that_the_array_does_not_know_is_refused(nvme: NvmeArray) -> None:
    assert refused(nvme) == INVALID_HOST
    nvme.add_host(HOST_B)
    assert refused(nvme) == INVALID_HOST


def test_an_unknown_subsystem_is_refused(nvme: NvmeArray) -> None:
    nvme.add_host()
    assert refused(nvme, subsystem=nvme.nqn + "0") == INVALID_PARAMETERS


def test_an_nqn_of_a_host_is_compared_without_case(nvme: NvmeArray) -> None:
    host_id = nvme.add_host(hostnqn(A.replace("1", "A")))
    initiator = nvme.initiator(A, nqn=hostnqn(A.replace("1", "a")))
    with initiator.connect(nvme.nqn):
        assert [each["hostId"] for each in nvme.controllers(host_id)] == [host_id]


def test_a_known_host_without_volumes_may_connect_and_sees_none(nvme: NvmeArray) -> None:
    nvme.add_host()
    with nvme.connected() as host:
        assert host.namespaces() == []


def test_a_system_that_approves_hosts_by_address_refuses_others(nvme: NvmeArray) -> None:
    nvme.add_host()
    nvme.act("System", nvme.system_id, "setRestrictedSdcMode", restrictedSdcMode="ApprovedIp")
    assert refused(nvme) == INVALID_HOST


def test_a_host_that_identifies_itself_in_no_way_is_refused(nvme: NvmeArray) -> None:
    nvme.add_host()
    for host, uuid in ((HOST_A, "0" * 32), ("", A)):
        with (
            contextlib.closing(Connection(*nvme.portals()[0])) as connection,
            pytest.raises(Failed, match="0x182"),
        ):
            connection.connect(nvme.nqn, host, uuid)


def test_a_queue_for_io_belongs_to_the_host_that_made_the_nvme_controller(nvme: NvmeArray) -> None:
    nvme.add_host()
    nvme.add_host(HOST_B)
    with nvme.connected(A) as a:

        def connect(host: str, uuid: str, *, queue: int, controller: int) -> int:
            with contextlib.closing(Connection(*nvme.portals()[0])) as connection:
                try:
                    connection.connect(nvme.nqn, host, uuid, queue=queue, controller=controller)
                except Failed as failure:
                    return failure.code
            return 0

        assert connect(HOST_A, A, queue=2, controller=a.controller_id) == 0
        assert connect(HOST_B, B, queue=2, controller=a.controller_id) == INVALID_HOST
        assert connect(HOST_A, B, queue=2, controller=a.controller_id) == INVALID_HOST
        assert connect(HOST_A, A, queue=2, controller=a.controller_id + 7) == INVALID_PARAMETERS
        assert connect(HOST_A, A, queue=33, controller=a.controller_id) == INVALID_PARAMETERS
        assert connect(HOST_A, A, queue=0, controller=a.controller_id) == INVALID_PARAMETERS


def test_a_queue_for_io_waits_until_the_nvme_controller_is_enabled(nvme: NvmeArray) -> None:
    nvme.add_host()
    with contextlib.closing(Connection(*nvme.portals()[0])) as admin:
        controller = admin.connect(nvme.nqn, HOST_A, A)
        with contextlib.closing(Connection(*nvme.portals()[0])) as io:
            with pytest.raises(Failed, match="0xc"):
                io.connect(nvme.nqn, HOST_A, A, queue=1, controller=controller)
            admin.enable()
            io.connect(nvme.nqn, HOST_A, A, queue=1, controller=controller)


def test_the_first_command_must_be_connect(nvme: NvmeArray) -> None:
    nvme.add_host()
    with contextlib.closing(Connection(*nvme.portals()[0])) as connection:
        with pytest.raises(Failed, match="0x400c"):
            connection.identify(1)
        with pytest.raises(Failed, match="0xf"):
            connection.ask(0x7F, 1, out=bytes(512))
        connection.connect(nvme.nqn, HOST_A, A)


def test_ids_of_nvme_controllers_are_unique(nvme: NvmeArray) -> None:
    host_a, host_b = nvme.add_host(), nvme.add_host(HOST_B)
    with contextlib.ExitStack() as stack:
        hosts = [
            stack.enter_context(nvme.connected(uuid, portal=portal))
            for uuid in (A, B)
            for portal in (0, 1, 1)
        ]
        ids = {host.controller_id for host in hosts}
        assert len(ids) == len(hosts)
        shown = [*nvme.controllers(host_a), *nvme.controllers(host_b)]
        assert {each["controllerId"] for each in shown} == ids
        assert len({each["id"] for each in shown}) == len(ids)


def test_a_host_has_at_most_so_many_connections_in_a_protection_domain(tmp_path: Path) -> None:
    with nvme_array(tmp_path, settings=Settings(max_nvme_connections_per_host=3)) as nvme:
        nvme.add_host()
        with nvme.connected() as host:
            with contextlib.closing(host.queue(nvme.nqn, 2)):
                assert refused(nvme, portal=1) == BUSY
            eventually(lambda: len(nvme.target._subsystem.associations()[0].queues) == 1)
            nvme.initiator(portal=1).connect(nvme.nqn, io=False).close()


def test_a_host_may_only_use_assigned_ports_where_the_array_insists(tmp_path: Path) -> None:
    with nvme_array(tmp_path, settings=Settings(refuse_unassigned_ports=True)) as nvme:
        host_id, volume_id, _ = nvme.mapped(host=nvme.add_host(maxNumSysPorts="1"))
        (entry,) = nvme.discovered()
        assigned = nvme.portals().index((entry.address, entry.port))
        with nvme.connected(portal=assigned):
            assert refused(nvme, portal=1 - assigned) == INVALID_HOST
            assert [each["isAssigned"] for each in nvme.controllers(host_id)] == [True]
            nvme.unmap_host(volume_id, host_id)
            assert [each["isAssigned"] for each in nvme.controllers(host_id)] == [False]


# --- what the array shows ------------------------------------------------------------------------


def test_nvme_controllers_are_the_connections_of_the_host(nvme: NvmeArray) -> None:
    host_id, _, _ = nvme.mapped()
    assert nvme.controllers(host_id) == []
    with nvme.connected(portal=1) as host:
        (shown,) = nvme.controllers(host_id)
        assert (shown["isConnected"], shown["subsystem"]) == (True, "Io")
        assert (shown["hostId"], shown["hostIp"]) == (host_id, "127.0.0.1")
        assert (shown["controllerId"], shown["isAssigned"]) == (host.controller_id, True)
        assert (shown["sysPortIp"], shown["sdtId"]) == ("127.0.0.2", nvme.sdts()[1]["id"])
    leave(nvme, host_id)


def test_discovery_is_no_connection_of_the_host(nvme: NvmeArray) -> None:
    host_id, _, _ = nvme.mapped()
    with contextlib.closing(Connection(*nvme.portals()[0])) as connection:
        connection.connect(DISCOVERY_NQN, HOST_A, A)
        assert nvme.controllers(host_id) == []


def test_a_host_is_not_removed_while_it_is_connected(nvme: NvmeArray) -> None:
    host_id = nvme.add_host()
    with nvme.connected():
        error = nvme.error("Host", host_id, "removeHost")
        assert (error.status, error.code) == (500, 307)
    leave(nvme, host_id)
    nvme.act("Host", host_id, "removeHost")
    assert refused(nvme) == INVALID_HOST


def test_an_nvme_controller_ends_with_its_admin_queue_and_takes_its_other_queues_along(
    nvme: NvmeArray,
) -> None:
    host_id, _, number = nvme.mapped()
    with nvme.connected() as host:
        host.admin.close()
        leave(nvme, host_id)
        eventually(lambda: cannot_read(host, number))


def test_a_host_that_is_silent_longer_than_it_announced_is_disconnected(nvme: NvmeArray) -> None:
    host_id = nvme.add_host()
    with contextlib.closing(Connection(*nvme.portals()[0])) as admin:
        admin.connect(nvme.nqn, HOST_A, A, kato=50)
        leave(nvme, host_id)
        with pytest.raises((EOFError, OSError)):
            admin.identify(1)


def test_a_keep_alive_shows_that_the_host_is_alive(nvme: NvmeArray) -> None:
    nvme.add_host()
    with nvme.connected(kato=60_000) as host:
        (association,) = nvme.target._subsystem.associations()
        before = association._alive_at
        host.admin.ask(0x18)
        assert association._alive_at > before
        assert not association.is_overdue


def test_a_host_can_change_the_time_within_which_it_shows_that_it_is_alive(nvme: NvmeArray) -> None:
    host_id = nvme.add_host()
    with nvme.connected() as host:
        assert host.admin.ask(0x0A, 0, b"\x0f").result == 0
        host.admin.ask(0x09, 0, b"\x0f\0\0\0\x32\0\0\0")
        leave(nvme, host_id)


def test_more_nvme_hosts_than_the_limit_are_refused(tmp_path: Path) -> None:
    with nvme_array(tmp_path, settings=Settings(max_nvme_hosts=1)) as nvme:
        nvme.add_host()
        assert nvme.send("POST", "/api/types/Host/instances", {"nqn": HOST_B}).code == 67


def test_the_nqn_of_the_system_can_be_hidden_and_is_then_learnt_by_discovery(tmp_path: Path) -> None:
    with nvme_array(tmp_path, version="4.5", settings=Settings(show_system_nqn=False)) as nvme:
        assert "systemNqn" not in nvme.get("/api/types/System/instances")[0]
        nvme.mapped()
        assert {entry.nqn for entry in nvme.discovered()} == {nvme.nqn}


def test_the_nqn_in_identify_data_can_be_longer_than_that_of_the_system(tmp_path: Path) -> None:
    with nvme_array(tmp_path, settings=Settings(nqn_suffix=":sdt")) as nvme:
        nvme.add_host()
        with nvme.connected() as host:
            assert host.admin.identify(1)[768:1024].rstrip(b"\0").decode() == f"{nvme.nqn}:sdt"
        assert refused(nvme, subsystem=f"{nvme.nqn}:sdt") == INVALID_PARAMETERS


def test_the_host_of_a_volume_is_named_by_its_mapping(nvme: NvmeArray) -> None:
    host_id, volume_id, _ = nvme.mapped()
    (mapping,) = nvme.volume(volume_id)["mappedSdcInfo"]
    assert (mapping["sdcId"], mapping["nqn"], mapping["hostType"]) == (host_id, HOST_A, "NVMeHost")
    assert nvme.refused(volume_id, "addMappedHost", hostId=host_id).code == 4037
    nvme.unmap_host(volume_id, host_id)
    assert nvme.refused(volume_id, "removeMappedHost", hostId=host_id).code == 4039


def test_a_second_host_of_any_kind_needs_permission(nvme: NvmeArray) -> None:
    _, volume_id, _ = nvme.mapped()
    other = nvme.add_host(HOST_B)
    assert nvme.refused(volume_id, "addMappedHost", hostId=other).code == 306


def test_a_volume_of_an_sdc_needs_permission_for_an_nvme_host_and_has_the_same_data(tmp_path: Path) -> None:
    state = InitialState(domains=(DomainPlan(sdts=SEVERAL),))
    with Simulator([SystemPlan("5.0", state)], folder=tmp_path, sdcs=("a",)) as simulator:
        nvme = NvmeArray(simulator)
        volume_id, host_id = nvme.create(), nvme.add_host()
        nvme.map(volume_id)
        assert nvme.refused(volume_id, "addMappedHost", hostId=host_id).code == 306
        nvme.map_host(volume_id, host_id)
        with nvme.connected() as host:
            host.write(nvme.namespace(volume_id), 0, b"shared".ljust(512))
        file = simulator.gateway.array.plane.file(volume_id, 8 * 1024**3)
        with file.open("rb") as content:
            assert content.read(6) == b"shared"
        assert nvme.error("Sdc", nvme.sdcs["a"], "removeSdc").code == 180


def test_a_volume_of_two_hosts_has_the_data_of_both(nvme: NvmeArray) -> None:
    _, volume_id, number = nvme.mapped()
    nvme.map_host(volume_id, nvme.add_host(HOST_B))
    with nvme.connected(A) as a, nvme.connected(B) as b:
        a.write(number, 0, b"a" * 512)
        b.write(number, 512, b"b" * 512)
        assert a.read(number, 0, 1024) == b.read(number, 0, 1024) == b"a" * 512 + b"b" * 512
        assert a.nguid(number) == b.nguid(number)


def test_unmapping_all_hosts_takes_the_volume_from_nvme_hosts_too(nvme: NvmeArray) -> None:
    _, volume_id, _ = nvme.mapped()
    with nvme.connected() as host:
        nvme.volume_action(volume_id, "removeMappedHost", allHosts="")
        assert host.namespaces() == []


# --- orders of calls of public clients -------------------------------------------------------------


def test_the_order_of_calls_of_lxd_works(nvme: NvmeArray) -> None:
    volume_id = nvme.create()
    assert nvme.get("/api/types/Host/instances") == []
    host_id = nvme.add_host(name="lxd-host")
    nvme.map_host(volume_id, host_id)
    sdts = nvme.get(f"/api/instances/ProtectionDomain::{nvme.domain_id}/relationships/Sdt")
    assert [address["ip"] for sdt in sdts for address in sdt["ipList"]] == ["127.0.0.1", "127.0.0.2"]
    discovery = sdts[0]["discoveryPort"]
    initiator = nvme.initiator()
    initiator.port = discovery
    entries = initiator.discover()
    assert {entry.nqn for entry in entries} == {nvme.nqn}
    hosts = [nvme.connected(portal=portal) for portal in range(len(entries))]
    number = nvme.namespace(volume_id)
    assert all(volume_id in host.nguid(number) for host in hosts)
    hosts[0].write(number, 0, b"lxd".ljust(512))
    nvme.unmap_host(volume_id, host_id)
    assert [host.namespaces() for host in hosts] == [[], []]
    for host in hosts:
        host.close()
    leave(nvme, host_id)
    nvme.act("Host", host_id, "removeHost")
    assert nvme.get("/api/types/Host/instances") == []


def test_the_order_of_calls_of_cinder_works(nvme: NvmeArray) -> None:
    volume_id = nvme.create()
    host_id = nvme.add_host(name="cinder-host")
    nvme.volume_action(volume_id, "addMappedSdc", sdcId=host_id, allowMultipleMappings="TRUE")
    listed = nvme.get(f"/api/instances/Sdc::{host_id}/relationships/Volume")
    assert [volume["id"] for volume in listed] == [volume_id]
    portals = [
        (address["ip"], sdt["nvmePort"])
        for sdt in nvme.get("/api/types/Sdt/instances")
        for address in sdt["ipList"]
    ]
    assert portals == nvme.portals()
    assert nvme.get("/api/types/System/instances")[0]["systemNqn"] == nvme.nqn
    with nvme.connected() as host:
        number = nvme.namespace(volume_id)
        assert host.nguid(number) == f"{volume_id}64b94e{nvme.system_id[-10:]}"
        nvme.volume_action(volume_id, "removeMappedSdc", sdcId=host_id)
        assert host.namespaces() == []


# --- several systems, and a new start --------------------------------------------------------------


def test_hosts_and_data_are_there_after_a_new_start_and_connections_are_not(tmp_path: Path) -> None:
    with nvme_array(tmp_path) as nvme:
        host_id, _, number = nvme.mapped()
        portals = nvme.portals()
        with nvme.connected() as host:
            host.write(number, 0, b"kept".ljust(512))
    with nvme_array(tmp_path) as nvme:
        assert nvme.portals() == portals
        assert nvme.controllers(host_id) == []
        with nvme.connected() as host:
            assert host.read(number, 0, 512) == b"kept".ljust(512)


def test_volumes_of_two_systems_can_have_one_nguid(tmp_path: Path) -> None:
    nguids = []
    for number in "12":
        domains = (DomainPlan(sdts=SEVERAL),)
        state = InitialState(f"sim{number}", f"{number}a1b2c3d4e5f600f", domains)
        with Simulator([SystemPlan("5.0", state)], folder=tmp_path / number) as simulator:
            nvme = NvmeArray(simulator)
            _, _, namespace = nvme.mapped()
            with nvme.connected() as host:
                nguids.append(host.nguid(namespace))
    assert nguids[0] == nguids[1]


def test_the_volumes_of_another_protection_domain_are_in_the_same_subsystem(nvme: NvmeArray) -> None:
    domain = nvme.post("/api/types/ProtectionDomain/instances", {"name": "pd2"})["id"]
    ips = [{"ip": "127.0.0.3", "role": "HostOnly"}]
    ports = {"nvmePort": str(nvme.portals()[0][1]), "discoveryPort": str(nvme.sdts()[0]["discoveryPort"])}
    nvme.post("/api/types/Sdt/instances", {"name": "s", "protectionDomainId": domain, "ips": ips, **ports})
    _, _, number = nvme.mapped()
    with nvme.connected(portal=2) as host:
        assert host.namespaces() == [number]
    assert "127.0.0.3" not in {entry.address for entry in nvme.discovered()}


def test_an_array_over_ipv6_only_works(tmp_path: Path) -> None:
    with nvme_array(tmp_path, [SdtPlan(("::1",), FREE, FREE)]) as nvme:
        host_id, _, number = nvme.mapped()
        assert [(entry.address, entry.family) for entry in nvme.discovered()] == [("::1", 2)]
        with nvme.connected() as host:
            host.write(number, 0, b"6" * 512)
            assert nvme.controllers(host_id)[0]["hostIp"] == "::1"
