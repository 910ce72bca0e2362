"""The portals of SDTs: where the simulated array listens for NVMe/TCP, and what the discovery log shows."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from csi_powerflex.cli.simulate import _portal, command
from csi_powerflex.simulator.faults import FaultKind
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, SdtPlan
from csi_powerflex.simulator.server import Server
from csi_powerflex.simulator.simulator import CannotSimulate, Simulator, SystemPlan
from tests.nvme_initiator import DISCOVERY_NQN, Connection, Failed, Initiator
from tests.simulator.client import Array
from tests.simulator.nvme import FREE, HOST_A, HOST_B, SEVERAL, A, B, NvmeArray, eventually, nvme_array
from tests.simulator.process import running, session


def answers(address: str, port: int) -> bool:
    """Whether an NVMe/TCP target answers at an address and port."""
    try:
        Connection(address, port).close()
    except (OSError, EOFError):
        return False
    return True


def ended(initiator: Initiator) -> bool:
    """Whether the target has ended the connections of a host."""
    try:
        initiator.namespaces()
    except (OSError, EOFError):
        return True
    return False


# --- listening -----------------------------------------------------------------------------------


def test_an_sdt_shows_the_ports_that_the_kernel_has_chosen(nvme: NvmeArray) -> None:
    for sdt in nvme.sdts():
        (address,) = sdt["ipList"]
        assert answers(address["ip"], sdt["nvmePort"])
        assert answers(address["ip"], sdt["discoveryPort"])


def test_all_addresses_of_an_sdt_have_its_ports(tmp_path: Path) -> None:
    with nvme_array(tmp_path, [SdtPlan(("127.0.0.1", "127.0.0.2", "::1"), FREE, FREE)]) as nvme:
        (sdt,) = nvme.sdts()
        assert nvme.portals() == [(ip, sdt["nvmePort"]) for ip in ("127.0.0.1", "127.0.0.2", "::1")]
        assert all(answers(*portal) for portal in nvme.portals())


def test_without_sdts_of_its_own_a_system_listens_nowhere(tmp_path: Path) -> None:
    with Simulator([SystemPlan("5.0")], folder=tmp_path) as simulator:
        assert simulator.nvme_targets == {}
        assert len(Array(simulator).get("/api/types/Sdt/instances")) == 2


def test_when_the_simulator_has_ended_it_listens_nowhere_and_its_hosts_are_disconnected(
    tmp_path: Path,
) -> None:
    with nvme_array(tmp_path) as nvme:
        portals = nvme.portals()
        nvme.add_host()
        host = nvme.connected()
    assert not any(answers(*portal) for portal in portals)
    assert ended(host)
    host.close()


def test_an_address_that_another_program_uses_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with (
            pytest.raises(CannotSimulate, match=rf"on 127\.0\.0\.1:{port}: Address already in use"),
            nvme_array(tmp_path, [SdtPlan(("127.0.0.1",), port, FREE)]),
        ):
            pass


def test_an_address_that_this_machine_does_not_have_is_named(tmp_path: Path) -> None:
    for port in (4420, FREE):
        with (
            pytest.raises(CannotSimulate, match=r"192\.0\.2\.1.*Cannot assign requested address"),
            nvme_array(tmp_path / str(port), [SdtPlan(("192.0.2.1",), port, port)]),
        ):
            pass


def test_a_version_without_sdts_refuses_them(tmp_path: Path) -> None:
    with (
        pytest.raises(CannotSimulate, match=r"version 3\.6 has no SDTs"),
        nvme_array(tmp_path, version="3.6"),
    ):
        pass


def test_what_is_no_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotSimulate, match="localhost"), nvme_array(tmp_path, [SdtPlan(("localhost",))]):
        pass


def test_two_systems_have_their_own_portals_and_hosts(tmp_path: Path) -> None:
    def plan(name: str) -> SystemPlan:
        return SystemPlan("5.0", InitialState(name, domains=(DomainPlan(sdts=SEVERAL),)))

    with Simulator([plan("east"), plan("west")], folder=tmp_path) as simulator:
        east = NvmeArray(simulator)
        east.add_host()
        portal = simulator.nvme_targets["west"].io_portals[0]
        with pytest.raises(Failed, match="0x182"):
            Initiator(portal.ip, portal.port, HOST_A, A).connect(east.nqn)
        east.connected().close()


# --- changes of SDTs -----------------------------------------------------------------------------


def test_an_added_address_listens_and_a_removed_one_does_not(nvme: NvmeArray) -> None:
    sdt = nvme.sdts()[0]
    nvme.act("Sdt", sdt["id"], "addIp", ip="127.0.0.3", role="HostOnly")
    assert answers("127.0.0.3", sdt["nvmePort"])
    nvme.act("Sdt", sdt["id"], "removeIp", ip="127.0.0.3")
    assert not answers("127.0.0.3", sdt["nvmePort"])
    assert answers("127.0.0.1", sdt["nvmePort"])


def test_an_address_of_another_machine_is_shown_and_does_not_listen(nvme: NvmeArray) -> None:
    sdt = nvme.sdts()[0]
    nvme.act("Sdt", sdt["id"], "addIp", ip="192.0.2.1", role="HostOnly")
    assert {"ip": "192.0.2.1", "role": "HostOnly"} in nvme.sdts()[0]["ipList"]
    assert ("192.0.2.1", sdt["nvmePort"]) not in nvme.portals()


def test_an_address_for_storage_only_is_for_no_host(nvme: NvmeArray) -> None:
    nvme.mapped()
    sdt = nvme.sdts()[0]
    with nvme.connected(portal=0) as host:
        nvme.act("Sdt", sdt["id"], "modifyIpRole", ip="127.0.0.1", newRole="StorageOnly")
        assert ended(host)
    assert not answers("127.0.0.1", sdt["nvmePort"])
    assert [entry.address for entry in nvme.discovered()] == ["127.0.0.2"]
    nvme.act("Sdt", sdt["id"], "modifyIpRole", ip="127.0.0.1", newRole="StorageAndHost")
    assert answers("127.0.0.1", sdt["nvmePort"])


@pytest.mark.parametrize(
    ("action", "parameter", "shown"),
    [
        ("modifyNvmePort", "newNvmePort", "nvmePort"),
        ("modifyDiscoveryPort", "newDiscoveryPort", "discoveryPort"),
    ],
)
def test_a_changed_port_moves_the_listener(nvme: NvmeArray, action: str, parameter: str, shown: str) -> None:
    before = nvme.sdts()[0]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    nvme.act("Sdt", before["id"], action, **{parameter: str(port)})
    assert nvme.sdts()[0][shown] == port
    assert answers("127.0.0.1", port)
    assert not answers("127.0.0.1", before[shown])


@pytest.mark.parametrize("port", ["0", "65536", "-1", "nvme"])
def test_a_port_that_cannot_exist_is_refused(nvme: NvmeArray, port: str) -> None:
    assert nvme.error("Sdt", nvme.sdts()[0]["id"], "modifyNvmePort", newNvmePort=port).status == 400
    body = {
        "name": "new",
        "protectionDomainId": nvme.domain_id,
        "ips": [{"ip": "127.0.0.3", "role": "HostOnly"}],
    }
    assert nvme.send("POST", "/api/types/Sdt/instances", {**body, "nvmePort": port}).status == 400


@pytest.mark.parametrize("ip", ["localhost", "127.0.0.1.5", "::1%%"])
def test_what_is_no_address_of_an_sdt_is_refused(nvme: NvmeArray, ip: str) -> None:
    assert nvme.error("Sdt", nvme.sdts()[0]["id"], "addIp", ip=ip, role="HostOnly").status == 400


def test_an_sdt_in_maintenance_does_not_listen(nvme: NvmeArray) -> None:
    nvme.mapped()
    sdt = nvme.sdts()[1]
    with nvme.connected(portal=1) as host:
        nvme.act("Sdt", sdt["id"], "enterMaintenanceMode")
        assert ended(host)
    assert [entry.address for entry in nvme.discovered()] == ["127.0.0.1"]
    nvme.act("Sdt", sdt["id"], "exitMaintenanceMode")
    assert answers("127.0.0.2", sdt["nvmePort"])


def test_a_removed_sdt_does_not_listen_and_a_new_one_does(nvme: NvmeArray) -> None:
    sdt = nvme.sdts()[1]
    nvme.act("Sdt", sdt["id"], "removeSdt")
    assert not answers("127.0.0.2", sdt["nvmePort"])
    ips = [{"ip": "127.0.0.2", "role": "StorageAndHost"}]
    ports = {"nvmePort": str(sdt["nvmePort"]), "discoveryPort": str(sdt["discoveryPort"])}
    body = {"name": "again", "protectionDomainId": nvme.domain_id, "ips": ips, **ports}
    nvme.post("/api/types/Sdt/instances", body)
    assert answers("127.0.0.2", sdt["nvmePort"])


def test_the_other_paths_of_a_host_live_on_when_a_portal_goes(nvme: NvmeArray) -> None:
    host_id, _, number = nvme.mapped()
    with nvme.connected(portal=0) as lost, nvme.connected(portal=1) as left:
        lost.write(number, 0, b"x" * 512)
        nvme.act("Sdt", nvme.sdts()[0]["id"], "removeSdt")
        assert ended(lost)
        assert left.read(number, 0, 512) == b"x" * 512
        eventually(lambda: len(nvme.controllers(host_id)) == 1)
        (shown,) = nvme.controllers(host_id)
        assert (shown["sysPortIp"], shown["isAssigned"]) == ("127.0.0.2", True)


def test_a_portal_that_another_sdt_has_too_stays_that_of_the_first(nvme: NvmeArray) -> None:
    first, second = nvme.sdts()
    nvme.act("Sdt", second["id"], "addIp", ip="127.0.0.1", role="HostOnly")
    nvme.act("Sdt", second["id"], "modifyNvmePort", newNvmePort=str(first["nvmePort"]))
    host_id = nvme.add_host()
    with Initiator("127.0.0.1", first["nvmePort"], HOST_A, A).connect(nvme.nqn):
        assert nvme.controllers(host_id)[0]["sdtId"] == first["id"]


@pytest.mark.parametrize(
    ("key", "state"),
    [
        ("sdtState", "RemovePending"),
        ("membershipState", "Decoupled"),
        ("mdmConnectionState", "Disconnected"),
    ],
)
def test_the_admin_port_sets_the_states_that_an_sdt_shows(nvme: NvmeArray, key: str, state: str) -> None:
    with Server(nvme.simulator) as server, requests.Session() as client:
        client.trust_env = False
        url = f"{server.admin_url}/sdts/pd1-sdt1"
        client.post(url, json={key: state}, timeout=5).raise_for_status()
        assert [sdt[key] == state for sdt in nvme.sdts()] == [True, False]
        assert answers(*nvme.portals()[0])
        assert client.post(url, json={key: "Odd"}, timeout=5).status_code == 400
        assert client.post(url, json={}, timeout=5).status_code == 400
        assert client.post(url + "0", json={key: state}, timeout=5).status_code == 404


# --- the discovery log ---------------------------------------------------------------------------


def test_the_discovery_log_is_empty_until_a_volume_is_mapped_to_that_host(nvme: NvmeArray) -> None:
    host_id = nvme.add_host()
    nvme.mapped(host=nvme.add_host(HOST_B))
    assert nvme.discovered(A) == []
    assert len(nvme.discovered(B)) == 2
    _, volume_id, _ = nvme.mapped(host=host_id)
    assert {(entry.address, entry.port) for entry in nvme.discovered(A)} == set(nvme.portals())
    nvme.unmap_host(volume_id, host_id)
    assert nvme.discovered(A) == []


def test_a_host_that_the_array_does_not_know_sees_an_empty_log(nvme: NvmeArray) -> None:
    assert nvme.discovered() == []


def test_the_log_has_the_nqn_and_the_ports_for_io(nvme: NvmeArray) -> None:
    nvme.mapped()
    for port in ("nvmePort", "discoveryPort"):
        entries = Initiator("127.0.0.1", nvme.sdts()[0][port], HOST_A, A).discover()
        assert {entry.nqn for entry in entries} == {nvme.nqn}
        assert {(entry.address, entry.port) for entry in entries} == set(nvme.portals())


def test_the_log_shows_at_most_as_many_ports_as_the_host_may_have(tmp_path: Path) -> None:
    sdts = [SdtPlan((f"127.0.0.{2 * n}", f"127.0.0.{2 * n + 1}"), FREE, FREE) for n in range(1, 5)]
    with nvme_array(tmp_path, sdts) as nvme:
        host_id = nvme.add_host(maxNumSysPorts="3")
        nvme.mapped(host=host_id)
        shown = {entry.address for entry in nvme.discovered()}
        assert len(shown) == 3
        of_sdts = [{address["ip"] for address in sdt["ipList"]} for sdt in nvme.sdts()]
        assert sum(bool(shown & addresses) for addresses in of_sdts) == 3, "they are spread over the SDTs"
        nvme.act("Host", host_id, "modifyMaxNumSysPorts", newMaxNumSysPorts="10")
        assert len(nvme.discovered()) == 8


def test_the_generation_of_the_log_changes_with_the_array(nvme: NvmeArray) -> None:
    nvme.mapped()
    with contextlib.closing(Connection(*nvme.portals()[0])) as connection:
        connection.connect(DISCOVERY_NQN, HOST_A, A)
        before, count, _ = struct.unpack_from("<QQH", connection.log(0x70, 1024))
        assert struct.unpack_from("<Q", connection.log(0x70, 1024)) == (before,)
        nvme.act("Sdt", nvme.sdts()[1]["id"], "removeSdt")
        after, left, _ = struct.unpack_from("<QQH", connection.log(0x70, 1024))
        assert after > before
        assert (count, left) == (2, 1)


def test_an_nvme_controller_for_discovery_has_no_volumes_and_no_io(nvme: NvmeArray) -> None:
    _, _, number = nvme.mapped()
    with contextlib.closing(Connection(*nvme.portals()[0])) as connection:
        controller = connection.connect(DISCOVERY_NQN, HOST_A, A)
        connection.enable()
        page = connection.identify(1)
        assert (page[111], page[768:1024].rstrip(b"\0").decode()) == (2, DISCOVERY_NQN)
        assert connection.identify(2) == bytes(4096)
        with pytest.raises(Failed, match="0x400b"):
            connection.identify(0, number)
        with pytest.raises(Failed, match="0x4109"):
            connection.log(4, 4096)
        with pytest.raises(Failed, match="0x4001"):
            connection.ask(0x08)
        with contextlib.closing(Connection(*nvme.portals()[0])) as io, pytest.raises(Failed, match="0x182"):
            io.connect(DISCOVERY_NQN, HOST_A, A, queue=1, controller=controller)


def test_the_port_for_discovery_serves_no_volumes(nvme: NvmeArray) -> None:
    nvme.mapped()
    with pytest.raises(Failed, match="0x182"):
        Initiator("127.0.0.1", nvme.sdts()[0]["discoveryPort"], HOST_A, A).connect(nvme.nqn)


# --- the command line ----------------------------------------------------------------------------


def test_the_command_line_opens_portals_and_tells_where_they_are(tmp_path: Path) -> None:
    state = tmp_path / "state"
    options = ("--nvme-portal", "127.0.0.1:0", "--nvme-portal", "[::1]:0", "--state", str(state))
    with running(tmp_path, *options, "--version", "5.0") as (process, ready):
        assert [portal["ip"] for portal in ready["nvmePortals"]] == ["127.0.0.1", "::1"]
        assert all(answers(portal["ip"], portal["port"]) for portal in ready["nvmePortals"])
        with session(ready) as client:
            sdts = client.get(f"{ready['url']}/api/types/Sdt/instances", timeout=5).json()
            assert [sdt["nvmePort"] for sdt in sdts] == [portal["port"] for portal in ready["nvmePortals"]]
            (system,) = client.get(f"{ready['url']}/api/types/System/instances", timeout=5).json()
            assert system["systemNqn"] == ready["systemNqn"]
        assert process.stdout is not None
        assert any(line.startswith("  NVMe portal    [::1]:") for line in process.stdout)


def test_a_simulator_that_was_killed_continues_with_its_portals_and_data(tmp_path: Path) -> None:
    options = ("--nvme-portal", "127.0.0.1:0", "--state", str(tmp_path / "state"))
    with running(tmp_path, *options) as (process, ready):
        with session(ready) as client:
            host = client.post(
                f"{ready['url']}/api/types/Host/instances", json={"nqn": HOST_A}, timeout=5
            ).json()
            volume = new_volume(client, ready["url"])
            action = f"{ready['url']}/api/instances/Volume::{volume}/action/addMappedHost"
            client.post(action, json={"hostId": host["id"]}, timeout=5).raise_for_status()
        with portal_of(ready).connect(ready["systemNqn"]) as initiator:
            (number,) = initiator.namespaces()
            initiator.write(number, 0, b"kept".ljust(512))
        process.kill()
        process.wait(10)
    with running(tmp_path, *options) as (_, again):
        assert again["nvmePortals"] == ready["nvmePortals"]
        with portal_of(again).connect(again["systemNqn"]) as initiator:
            assert initiator.read(number, 0, 512) == b"kept".ljust(512)


def new_volume(client: requests.Session, url: str) -> str:
    (pool,) = client.get(f"{url}/api/types/StoragePool/instances", timeout=5).json()
    body = {"storagePoolId": pool["id"], "volumeSizeInGb": "8"}
    return str(client.post(f"{url}/api/types/Volume/instances", json=body, timeout=5).json()["id"])


def portal_of(ready: dict[str, object]) -> Initiator:
    portals = json.loads(json.dumps(ready["nvmePortals"]))
    return Initiator(portals[0]["ip"], portals[0]["port"], HOST_A, A)


def test_a_file_describes_the_sdts_of_a_system(tmp_path: Path) -> None:
    config = tmp_path / "systems.yaml"
    config.write_text(
        "systems:\n- name: east\n  version: '5.0'\n  settings: {nqn_suffix: ':sdt'}\n"
        "  domains:\n  - name: pd1\n"
        "    sdts:\n    - {addresses: [127.0.0.1, '::1'], nvme_port: 0, discovery_port: 0}\n"
        "    - {addresses: [127.0.0.2], nvme_port: 0, discovery_port: 0, role: StorageOnly}\n"
    )
    with running(tmp_path, "--config", str(config)) as (_, ready):
        assert [portal["ip"] for portal in ready["nvmePortals"]] == ["127.0.0.1", "::1"]


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        ("10.0.0.1", SdtPlan(("10.0.0.1",), 4420, 8009)),
        ("10.0.0.1:4421", SdtPlan(("10.0.0.1",), 4421, FREE)),
        ("fd00::1", SdtPlan(("fd00::1",), 4420, 8009)),
        ("[fd00::1]", SdtPlan(("fd00::1",), 4420, 8009)),
        ("[fd00::1]:0", SdtPlan(("fd00::1",), FREE, FREE)),
    ],
)
def test_a_portal_on_the_command_line_is_an_address_with_or_without_a_port(text: str, plan: SdtPlan) -> None:
    assert _portal(text) == plan


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("localhost:1", "does not begin with an IP address"),
        ("10.0.0.1:x", "does not end in a port"),
        ("10.0.0.1:65536", "does not end in a port"),
        ("[fd00::1]:-1", "does not end in a port"),
        ("", "does not begin with an IP address"),
    ],
)
def test_what_is_no_portal_is_refused_on_the_command_line(tmp_path: Path, text: str, reason: str) -> None:
    ended_run = CliRunner().invoke(command, ["--nvme-portal", text, "--state", str(tmp_path)])
    assert ended_run.exit_code == 2
    assert reason in ended_run.output


# --- faults of portals ---------------------------------------------------------------------------


def test_a_closed_portal_refuses_connections_until_the_fault_is_removed(nvme: NvmeArray) -> None:
    _, _, number = nvme.mapped()
    ip, port = nvme.portals()[0]
    with nvme.connected(portal=0) as lost, nvme.connected(portal=1) as left:
        with nvme.fault(FaultKind.CLOSED, path=f"{ip}:{port}"):
            assert ended(lost)
            with pytest.raises(ConnectionRefusedError):
                Connection(ip, port)
            assert left.read(number, 0, 512) == bytes(512)
            assert len(nvme.discovered()) == 2, "the array does not know that the portal is closed"
        assert answers(ip, port)


def test_all_portals_can_be_closed_at_once(nvme: NvmeArray) -> None:
    portals = nvme.portals()
    with nvme.fault(FaultKind.CLOSED):
        assert not any(answers(*portal) for portal in portals)
    assert all(answers(*portal) for portal in portals)


def test_a_closed_portal_whose_port_was_taken_meanwhile_stays_closed(nvme: NvmeArray) -> None:
    ip, port = nvme.portals()[0]
    with contextlib.ExitStack() as stack:
        with nvme.fault(FaultKind.CLOSED, path=f"{ip}:{port}"):
            stack.enter_context(socket.create_server((ip, port)))
        assert (ip, port) not in nvme.portals()
