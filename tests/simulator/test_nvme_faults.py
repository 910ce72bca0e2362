"""Each fault of NVMe/TCP, as a host sees it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.scenario import BadScenario, read_faults
from csi_powerflex.simulator.server import Server
from tests.nvme_initiator import Connection, Failed, Initiator
from tests.simulator.nvme import HOST_B, A, B, NvmeArray, eventually


def portal(nvme: NvmeArray, number: int) -> str:
    ip, port = nvme.portals()[number]
    return f"{ip}:{port}"


def is_lost(call: Callable[[], object]) -> bool:
    """Whether the target ends the connection in place of an answer."""
    try:
        call()
    except (EOFError, OSError):
        return True
    return False


def is_silent(initiator: Initiator, call: Callable[[], object]) -> bool:
    """Whether the target does not answer for a short time."""
    for connection in (initiator.admin, initiator.io):
        connection.socket.settimeout(0.2)
    try:
        call()
    except TimeoutError:
        return True
    return False


# --- connecting ----------------------------------------------------------------------------------


def test_a_host_is_refused_as_often_as_the_fault_says(nvme: NvmeArray) -> None:
    nvme.add_host()
    with nvme.fault(FaultKind.ERROR, route="Nvme.connect", code=0x184, times=2):
        for _ in range(2):
            with pytest.raises(Failed, match="0x184"):
                nvme.connected()
        nvme.connected().close()


def test_only_the_host_that_the_fault_names_is_refused(nvme: NvmeArray) -> None:
    host_a = nvme.add_host(name="worker-a")
    nvme.add_host(HOST_B)
    for wanted in (host_a, "worker-a", A):
        with nvme.fault(FaultKind.ERROR, route="Nvme.connect", code=0x184, object=wanted):
            with pytest.raises(Failed, match="0x184"):
                nvme.connected(A)
            nvme.connected(B).close()


def test_only_the_portal_that_the_fault_names_refuses(nvme: NvmeArray) -> None:
    nvme.add_host()
    with nvme.fault(FaultKind.ERROR, route="Nvme.connect", code=0x181, path=portal(nvme, 1)):
        with pytest.raises(Failed, match="0x181"):
            nvme.connected(portal=1)
        nvme.connected(portal=0).close()


def test_connecting_can_take_long(nvme: NvmeArray) -> None:
    nvme.add_host()
    with nvme.fault(FaultKind.LATENCY, route="Nvme.connect", seconds=0.15, times=1):
        before = time.monotonic()
        nvme.connected().close()
        assert time.monotonic() - before >= 0.15


def test_a_connection_can_be_reset_before_it_says_anything(nvme: NvmeArray) -> None:
    with nvme.fault(FaultKind.RESET, route="Nvme.accept", times=1):
        assert is_lost(lambda: Connection(*nvme.portals()[0]))
        Connection(*nvme.portals()[0]).close()


def test_a_connect_can_be_reset(nvme: NvmeArray) -> None:
    host_id = nvme.add_host()
    with nvme.fault(FaultKind.RESET, route="Nvme.connect", times=1):
        with pytest.raises(ConnectionResetError):
            nvme.connected()
        assert nvme.controllers(host_id) == []


# --- packets that vanish -------------------------------------------------------------------------


def test_a_portal_whose_packets_vanish_is_silent_and_the_other_is_not(nvme: NvmeArray) -> None:
    _, _, number = nvme.mapped()
    with nvme.connected(portal=0) as lost, nvme.connected(portal=1) as left:
        with nvme.fault(FaultKind.FREEZE, route="Nvme.*", path=portal(nvme, 0)):
            assert is_silent(lost, lambda: lost.read(number, 0, 512))
            assert left.read(number, 0, 512) == bytes(512)
            with pytest.raises(TimeoutError):
                Connection(*nvme.portals()[0], timeout=0.2)
        lost.io.socket.settimeout(30)
        assert lost.io.receive_pdu()[0] == 7, "the packets were late, and are not lost"


def test_a_write_that_was_swallowed_has_no_effect_once_the_target_has_given_up_the_host(
    nvme: NvmeArray,
) -> None:
    host_id, _, number = nvme.mapped()
    with nvme.connected() as lost:
        (association,) = nvme.target._subsystem.associations()
        with nvme.fault(FaultKind.FREEZE, route="Nvme.*", path=portal(nvme, 0)):
            assert is_silent(lost, lambda: lost.write(number, 0, b"late" * 128))
            association.keep_alive_ms = 1
            eventually(lambda: not nvme.controllers(host_id))
        with nvme.connected(portal=1) as left:
            assert left.read(number, 0, 512) == bytes(512)


def test_a_target_whose_packets_vanish_can_be_stopped(nvme: NvmeArray) -> None:
    _, _, number = nvme.mapped()
    host = nvme.connected()
    nvme.simulator.gateway.inject(Fault(kind=FaultKind.FREEZE, route="Nvme.*"))
    assert is_silent(host, lambda: host.read(number, 0, 512))
    nvme.simulator.close()
    assert is_lost(lambda: host.read(number, 0, 512))
    host.close()


# --- commands ------------------------------------------------------------------------------------


def test_reads_and_writes_can_fail_with_a_status(nvme: NvmeArray) -> None:
    _, volume_id, number = nvme.mapped()
    with nvme.connected() as host:
        with nvme.fault(FaultKind.ERROR, route="Nvme.read", code=0x281, object=volume_id):
            with pytest.raises(Failed, match="0x281"):
                host.read(number, 0, 512)
            host.write(number, 0, b"x" * 512)
        with nvme.fault(FaultKind.ERROR, route="Nvme.write", code=0x280, after_effect=True):
            with pytest.raises(Failed, match="0x280"):
                host.write(number, 0, b"y" * 512)
            assert host.read(number, 0, 512) == b"y" * 512
        with nvme.fault(FaultKind.ERROR, route="Nvme.flush", code=0x6), pytest.raises(Failed, match="0x6"):
            host.flush(number)
        with nvme.fault(FaultKind.ERROR, route="Nvme.discard", code=0x6), pytest.raises(Failed, match="0x6"):
            host.zero(number, 0, 512)


def test_a_path_can_be_inaccessible_while_another_is_not(nvme: NvmeArray) -> None:
    _, _, number = nvme.mapped()
    with nvme.connected(portal=0) as lost, nvme.connected(portal=1) as left:
        inaccessible = {"route": "Nvme.*", "code": 0x302, "path": portal(nvme, 0)}
        with nvme.fault(FaultKind.ERROR, **inaccessible), pytest.raises(Failed, match="0x302"):
            lost.write(number, 0, b"x" * 512)
        assert left.read(number, 0, 512) == bytes(512)


def test_commands_without_a_route_of_their_own_can_fail_too(nvme: NvmeArray) -> None:
    nvme.add_host()
    with nvme.connected() as host:
        with nvme.fault(FaultKind.ERROR, route="Nvme.io", code=0x6), pytest.raises(Failed, match="0x6"):
            host.io.ask(0x55, 1)
        with nvme.fault(FaultKind.ERROR, route="Nvme.admin", code=0x6), pytest.raises(Failed, match="0x6"):
            host.changed()


def test_a_command_can_take_long_on_one_path(nvme: NvmeArray) -> None:
    _, _, number = nvme.mapped()
    with nvme.connected() as host, nvme.fault(FaultKind.LATENCY, route="Nvme.read", seconds=0.15):
        before = time.monotonic()
        host.read(number, 0, 512)
        assert time.monotonic() - before >= 0.15


def test_a_connection_can_break_before_or_after_a_write(nvme: NvmeArray) -> None:
    _, _, number = nvme.mapped()
    for kind, expected in ((FaultKind.RESET, bytes(512)), (FaultKind.LOST_REPLY, b"x" * 512)):
        once = nvme.fault(kind, route="Nvme.write", times=1)
        with nvme.connected() as host, once, pytest.raises(ConnectionResetError):
            host.write(number, 0, b"x" * 512)
        with nvme.connected(portal=1) as other:
            assert other.read(number, 0, 512) == expected


def test_a_keep_alive_can_go_unanswered(nvme: NvmeArray) -> None:
    nvme.add_host()
    with nvme.connected() as host, nvme.fault(FaultKind.FREEZE, route="Nvme.keepAlive"):
        assert host.namespaces() == []
        assert is_silent(host, lambda: host.admin.ask(0x18))


def test_discovery_can_fail(nvme: NvmeArray) -> None:
    nvme.mapped()
    with nvme.fault(FaultKind.ERROR, route="Nvme.discovery", code=0x6, times=1):
        with pytest.raises(Failed, match="0x6"):
            nvme.discovered()
        assert len(nvme.discovered()) == 2


def test_the_discovery_log_can_name_another_array(nvme: NvmeArray) -> None:
    nvme.mapped()
    with nvme.fault(FaultKind.WRONG_NQN, times=1):
        # The first reading is for the length of the log, the second for its entries.
        assert nvme.nqn in {entry.nqn for entry in nvme.discovered()}
    with nvme.fault(FaultKind.WRONG_NQN):
        (foreign,) = {entry.nqn for entry in nvme.discovered()}
        assert foreign != nvme.nqn


# --- namespaces ----------------------------------------------------------------------------------


def test_an_event_can_be_lost_but_the_list_is_right(nvme: NvmeArray) -> None:
    host_id = nvme.add_host()
    with nvme.connected(portal=0) as lost, nvme.connected(portal=1) as told:
        events = lost.request_event(), told.request_event()
        with nvme.fault(FaultKind.NO_EVENT, path=portal(nvme, 0)):
            _, _, number = nvme.mapped(host=host_id)
        told.admin.wait(events[1])
        assert lost.namespaces() == told.namespaces() == [number]
        assert not lost.admin.has_ended(events[0])
        _, _, second = nvme.mapped(host=host_id)
        lost.admin.wait(events[0])
        assert lost.changed() == [number, second]


def test_only_the_events_of_one_volume_are_lost(nvme: NvmeArray) -> None:
    host_id, volume_id, number = nvme.mapped()
    _, other, second = nvme.mapped(host=host_id)
    with nvme.connected() as host, nvme.fault(FaultKind.NO_EVENT, object=volume_id):
        event = host.request_event()
        nvme.volume_action(volume_id, "setVolumeSize", sizeInGB="16")
        assert host.size(number) == 16 * 1024**3
        assert not host.admin.has_ended(event)
        nvme.volume_action(other, "setVolumeSize", sizeInGB="16")
        host.admin.wait(event)
        assert host.changed() == [number, second]


def test_an_event_that_waits_for_a_silent_portal_comes_when_packets_flow_again(nvme: NvmeArray) -> None:
    host_id = nvme.add_host()
    with nvme.connected() as host:
        event = host.request_event()
        host.namespaces()
        with nvme.fault(FaultKind.FREEZE, route="Nvme.*"):
            nvme.mapped(host=host_id)
        host.admin.wait(event)


def test_a_namespace_can_have_a_wrong_nguid_or_none(nvme: NvmeArray) -> None:
    _, volume_id, number = nvme.mapped()
    right = f"{volume_id}64b94e{nvme.system_id[-10:]}"
    with nvme.connected() as host:
        with nvme.fault(FaultKind.WRONG_NGUID, object=volume_id):
            wrong = host.nguid(number)
            assert wrong != right
            assert (len(wrong), wrong[16:]) == (32, right[16:]), "it looks like one of this system"
            assert host.admin.identify(0, number)[104:120].hex() == wrong
        with nvme.fault(FaultKind.ZERO_NGUID):
            assert host.nguid(number) == "0" * 32
        with nvme.fault(FaultKind.ZERO_NGUID, object="another-volume"):
            assert host.nguid(number) == right
        assert host.nguid(number) == right


# --- where faults come from ------------------------------------------------------------------------


def test_faults_of_requests_do_not_strike_nvme_and_the_other_way_round(nvme: NvmeArray) -> None:
    _, _, number = nvme.mapped()
    with nvme.connected() as host, nvme.fault(FaultKind.ERROR, code=28) as fault_id:
        host.read(number, 0, 512)
        assert nvme.simulator.gateway.faults.struck(fault_id) == 0
    for kind, route in ((FaultKind.ERROR, "Nvme.*"), (FaultKind.NO_EVENT, "*"), (FaultKind.CLOSED, "*")):
        with nvme.fault(kind, route=route) as fault_id:
            assert nvme.get("/api/types/Volume/instances")
            assert nvme.simulator.gateway.faults.struck(fault_id) == 0


def test_the_admin_port_closes_and_opens_a_portal(nvme: NvmeArray) -> None:
    ip, port = nvme.portals()[0]
    with Server(nvme.simulator) as server, requests.Session() as session:
        session.trust_env = False
        fault = {"kind": "closed", "path": f"{ip}:*"}
        answer = session.post(f"{server.admin_url}/faults", json=fault, timeout=5).json()
        assert is_lost(lambda: Connection(ip, port))
        session.delete(f"{server.admin_url}/faults/{answer['ids'][0]}", timeout=5).raise_for_status()
        Connection(ip, port).close()


def test_the_admin_port_does_not_connect_nvme_hosts(nvme: NvmeArray) -> None:
    host_id = nvme.add_host(name="worker-a")
    with Server(nvme.simulator) as server, requests.Session() as session, nvme.connected():
        session.trust_env = False
        overview = session.get(server.admin_url, timeout=5).json()
        assert overview["hosts"]["worker-a"] == {"connected": True}
        for name in ("worker-a", host_id):
            answer = session.post(f"{server.admin_url}/hosts/{name}", json={"connected": False}, timeout=5)
            assert answer.status_code == 404
            assert "an NVMe host is connected while it has connections" in answer.json()["message"]
        assert nvme.controllers(host_id)


def test_a_file_of_faults_may_have_those_of_nvme(tmp_path: Path) -> None:
    file = tmp_path / "faults.yaml"
    file.write_text(
        "faults:\n- {kind: closed, path: '127.0.0.1:4420'}\n"
        "- {kind: error, route: Nvme.connect, code: 388, times: 3}\n- {kind: no_event}\n"
    )
    assert [fault.kind for fault in read_faults(file)] == ["closed", "error", "no_event"]


def test_a_step_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "faults.yaml"
    file.write_text("faults:\n- {kind: error, route: Nvme.unmap, code: 388}\n")
    with pytest.raises(BadScenario, match=r"route Nvme\.unmap is none of Nvme\.accept, .*Nvme\.connect"):
        read_faults(file)
