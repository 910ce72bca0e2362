"""Asking discovery services, and what becomes of their answers."""

from __future__ import annotations

import dataclasses
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csi_powerflex.errors import ConnectFailed, Unavailable
from csi_powerflex.model.nvme import NvmeTarget, Portal
from csi_powerflex.model.publish_context import PublishContext
from csi_powerflex.transport.nvme.connect import Address
from csi_powerflex.transport.nvme.discovery import Entry, discover
from csi_powerflex.transport.nvme.identity import HostPair
from csi_powerflex.transport.nvme.portals import PortalFinder
from tests.node.discovery_service import DiscoveryService, completion, entry, listening, pdu
from tests.node.nvme_kernel import HOST, HOST_ID, NQN, SYSTEM, FakeKernel, FakePortal, running
from tests.nvme_initiator import hostnqn
from tests.simulator.nvme import A, nvme_array

ME = HostPair(HOST, HOST_ID)
OTHER_NQN = "nqn.1988-11.com.dell:powerflex:00:ffffffffffffffff"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKernel]:
    with running(FakeKernel(tmp_path), monkeypatch) as kernel:
        yield kernel


def asked(service: DiscoveryService, *, seconds: float = 20.0) -> tuple[Entry, ...]:
    with listening(service):
        return discover("127.0.0.1", service.port, ME, seconds=seconds)


# --- the protocol ----------------------------------------------------------------------------------


def test_the_simulated_array_lists_its_portals_once_a_volume_is_mapped(tmp_path: Path) -> None:
    with nvme_array(tmp_path) as array:
        port = int(array.sdts()[0]["discoveryPort"])
        host = HostPair(hostnqn(A), A)
        host_id = array.add_host()
        assert discover("127.0.0.1", port, host, seconds=20) == ()
        array.mapped(host=host_id)
        found = discover("127.0.0.1", port, host, seconds=20)
        assert sorted((one.address, one.port) for one in found) == sorted(array.portals())
        assert {one.nqn for one in found} == {array.nqn}


def test_the_simulated_array_also_answers_at_its_ports_for_volumes(tmp_path: Path) -> None:
    with nvme_array(tmp_path) as array:
        array.mapped()
        address, port = array.portals()[1]
        assert len(discover(address, port, HostPair(hostnqn(A), A), seconds=20)) == 2


def test_the_service_learns_who_asks() -> None:
    service = DiscoveryService()
    assert asked(service) == ()
    assert service.hosts == [(HOST, bytes.fromhex(HOST_ID.replace("-", "")))]


@pytest.mark.parametrize("count", [1, 4, 5, 33])
def test_a_list_of_any_length_is_read(count: int) -> None:
    entries = [entry(NQN, f"192.0.2.{number}", 4420) for number in range(count)]
    assert len(asked(DiscoveryService(entries))) == count


def test_ipv6_and_repeated_entries_are_understood() -> None:
    entries = [entry(NQN, "2001:db8:0::1", "4420", family=2), entry(NQN, "2001:db8::1", "4420", family=2)]
    assert asked(DiscoveryService(entries)) == (Entry(NQN, "2001:db8::1", 4420),)


@pytest.mark.parametrize(
    "bad",
    [
        entry(NQN, "192.0.2.1", 4420, transport=1),
        entry(NQN, "192.0.2.1", 4420, family=3),
        entry(NQN, "192.0.2.1", 4420, kind=1),
        entry(NQN, "array.example", 4420),
        entry(NQN, "192.0.2.1,host_iface=x", 4420),
        entry(NQN, "fe80::1%eth0", 4420, family=2),
        entry(NQN, "192.0.2.1", "4420,x"),
        entry(NQN, "192.0.2.1", 0),
        entry(NQN, "192.0.2.1", 65536),
        entry(NQN, "192.0.2.1", "\u0664\u0664"),
        entry(f"{NQN},tls", "192.0.2.1", 4420),
        entry("", "192.0.2.1", 4420),
        bytes(1024),
        b"\xff" * 1024,
    ],
)
def test_an_entry_that_is_malformed_or_of_another_kind_is_left_out(bad: bytes) -> None:
    good = entry(NQN, "192.0.2.2", 4420)
    assert asked(DiscoveryService([bad, good])) == (Entry(NQN, "192.0.2.2", 4420),)


def test_messages_may_have_to_be_aligned() -> None:
    assert asked(DiscoveryService([entry(NQN, "192.0.2.1", 4420)], alignment=31)) != ()


def test_the_end_of_a_command_may_be_in_its_data() -> None:
    assert asked(DiscoveryService([entry(NQN, "192.0.2.1", 4420)], separate_end=False)) != ()


def test_a_service_that_is_not_ready_is_waited_for() -> None:
    assert asked(DiscoveryService([entry(NQN, "192.0.2.1", 4420)], ready_after=2)) != ()


def test_a_list_that_changes_while_it_is_read_is_read_again() -> None:
    service = DiscoveryService([entry(NQN, "192.0.2.1", 4420)], grow=1)
    with pytest.raises(Unavailable, match="its list changed while it was read"):
        asked(service)


def test_a_port_without_a_service_is_named() -> None:
    with pytest.raises(ConnectFailed, match=r"at 127\.0\.0\.1 port 9 cannot be reached: Connection refused"):
        discover("127.0.0.1", 9, ME, seconds=5)


def test_a_service_that_says_nothing_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        began = time.monotonic()
        with pytest.raises(Unavailable, match=r"gave no list: .*(timed out|in time)"):
            discover("127.0.0.1", server.getsockname()[1], ME, seconds=0.3)
        assert time.monotonic() - began < 5


def test_a_service_that_never_becomes_ready_is_given_up_in_time() -> None:
    with pytest.raises(Unavailable, match=r"in time|timed out"):
        asked(DiscoveryService(ready_after=10**6), seconds=0.5)


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (b"", "timed out|in time"),
        (pdu(5, bytes(120)), "is not NVMe/TCP"),
        (pdu(1, bytes(16)), "is not NVMe/TCP"),
        (pdu(1, struct.pack("<HBB", 1, 0, 0).ljust(120, b"\0")), "version or digests"),
        (pdu(1, struct.pack("<HBB", 0, 0, 1).ljust(120, b"\0")), "version or digests"),
        (pdu(1, struct.pack("<HBB", 0, 32, 0).ljust(120, b"\0")), "version or digests"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "a message of"),
        (pdu(1, b"", length=3), "a message of 3 bytes"),
        (pdu(1, b"", length=2**31), "a message of"),
    ],
)
def test_a_service_that_speaks_something_else_is_refused(greeting: bytes, words: str) -> None:
    with pytest.raises(Unavailable, match=words):
        asked(DiscoveryService(greeting=greeting), seconds=1.0)


def data_for(command: int, data: bytes, *, at: int = 0, length: int | None = None, offset: int = 24) -> bytes:
    head = struct.pack("<HHIII", command, 0, at, len(data) if length is None else length, 0)
    return pdu(7, head + data, offset=offset)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda command: completion(command, status=0x4184), "refused with status 0x184"),
        (lambda command: completion(command + 1), "answered another command"),
        (lambda _command: pdu(3, bytes(24)), "unexpected message of type 3"),
        (lambda _command: pdu(5, bytes(8)), "unexpected message of type 5"),
        (completion, "sent 0 of 1024 bytes"),
        (lambda command: data_for(command, bytes(1024)) * 2, "not asked for|more data"),
        (lambda command: data_for(command, bytes(2048)), "more data than was asked for"),
        (lambda command: data_for(command, bytes(8), at=8), "data that were not asked for"),
        (lambda command: data_for(command + 1, bytes(8)), "data that were not asked for"),
        (lambda command: data_for(command, bytes(8), length=9), "data that were not asked for"),
        (lambda command: data_for(command, bytes(8), offset=8), "data without their header"),
        (lambda _command: pdu(7, bytes(4), offset=24), "data without their header"),
    ],
)
def test_an_answer_that_the_protocol_does_not_allow_is_refused(
    answer: Callable[[int], bytes], words: str
) -> None:
    service = DiscoveryService()
    service.answer = lambda opcode, _kind, command: answer(command) if opcode == 2 else None
    with pytest.raises(Unavailable, match=words):
        asked(service)


def test_a_host_that_is_refused_is_told_the_status() -> None:
    service = DiscoveryService()
    service.answer = lambda _opcode, kind, command: completion(command, status=0x184) if kind == 1 else None
    with pytest.raises(Unavailable, match="refused with status 0x184"):
        asked(service)


def test_a_service_with_a_fatal_error_is_given_up() -> None:
    service = DiscoveryService()
    service.answer = lambda _opcode, kind, command: completion(command, number=2) if kind == 4 else None
    with pytest.raises(Unavailable, match="fatal error"):
        asked(service)


def test_a_service_that_closes_the_connection_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def close() -> None:
            server.accept()[0].close()

        threading.Thread(target=close, daemon=True).start()
        with pytest.raises(Unavailable, match=r"closed the connection|reset"):
            discover("127.0.0.1", server.getsockname()[1], ME, seconds=10)


@pytest.mark.parametrize("count", [257, 2**63])
def test_a_list_that_is_too_long_is_refused(count: int) -> None:
    with pytest.raises(Unavailable, match=f"its list has {count} entries"):
        asked(DiscoveryService(count=count))


def test_a_list_that_is_shorter_than_it_says_is_refused() -> None:
    with pytest.raises(Unavailable, match="sent 0 of"):
        asked(DiscoveryService(count=2))


# --- the plan --------------------------------------------------------------------------------------


def target(*portals: Portal, nqn: str = NQN) -> NvmeTarget:
    return NvmeTarget(nqn, portals, "0" * 32)


def plan(finder: PortalFinder, wanted: NvmeTarget) -> tuple[str, list[str]]:
    finder.ask(SYSTEM, wanted.portals, ME, limit=time.monotonic() + 20, max_age=0.0)
    found = finder.plan(SYSTEM, wanted, ME)
    return found.nqn, list(map(str, found.addresses))


def test_the_array_chooses_the_portals_of_a_host() -> None:
    with listening(
        DiscoveryService([entry(NQN, "192.0.2.2", 4420), entry(NQN, "192.0.2.9", 4421)])
    ) as service:
        portals = [Portal(f"192.0.2.{number}", 4420, 9) for number in (1, 2)]
        wanted = target(*portals, Portal("127.0.0.1", 4420, service.port))
        finder = PortalFinder(20.0)
        assert plan(finder, wanted) == (NQN, ["192.0.2.2:4420", "192.0.2.9:4421"])
        assert finder.plan(SYSTEM, wanted, ME).others == (
            Address("192.0.2.1", 4420),
            Address("127.0.0.1", 4420),
        )


def test_without_discovery_the_publish_context_names_the_portals() -> None:
    finder = PortalFinder(5.0)
    wanted = target(Portal("127.0.0.1", 4420, 9))
    assert plan(finder, wanted) == (NQN, ["127.0.0.1:4420"])
    assert "port 9 cannot be reached" in finder.plan(SYSTEM, wanted, ME).problem


def test_a_list_that_is_empty_at_first_is_asked_for_again() -> None:
    service = DiscoveryService()
    readings: list[int] = []

    def fill(opcode: int, _kind: int, command: int) -> bytes | None:
        if opcode == 2:
            readings.append(command)
            if len(readings) == 3:
                service.entries = [entry(NQN, "192.0.2.2", 4420)]
        return None

    service.answer = fill
    with listening(service):
        wanted = target(Portal("127.0.0.1", 4420, service.port))
        assert plan(PortalFinder(20.0), wanted) == (NQN, ["192.0.2.2:4420"])


def test_a_list_that_stays_empty_leaves_the_portals_of_the_publish_context(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("csi_powerflex.transport.nvme.portals._EMPTY_SECONDS", 0.6)
    with listening(DiscoveryService()) as service:
        wanted = target(Portal("127.0.0.1", 4420, service.port))
        finder = PortalFinder(20.0)
        assert plan(finder, wanted) == (NQN, ["127.0.0.1:4420"])
        assert (
            finder.plan(SYSTEM, wanted, ME).problem == "the discovery service lists no portal for this host"
        )


def test_a_dead_first_service_does_not_delay_the_others() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        listening(DiscoveryService([entry(NQN, "192.0.2.2", 4420)])) as service,
    ):
        ports = silent.getsockname()[1], service.port
        wanted = target(*(Portal("127.0.0.1", 4420, port) for port in ports))
        began = time.monotonic()
        assert plan(PortalFinder(15.0), wanted) == (NQN, ["192.0.2.2:4420"])
        assert time.monotonic() - began < 10


def test_an_nqn_of_another_system_in_the_list_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csi_powerflex.transport.nvme.portals._EMPTY_SECONDS", 0.0)
    with listening(DiscoveryService([entry(OTHER_NQN, "192.0.2.2", 4420)])) as service:
        wanted = target(Portal("127.0.0.1", 4420, service.port))
        assert plan(PortalFinder(20.0), wanted) == (NQN, ["127.0.0.1:4420"])


def test_a_longer_nqn_in_the_list_is_the_one_to_connect_to() -> None:
    with listening(DiscoveryService([entry(f"{NQN}:sdt", "192.0.2.2", 4420)])) as service:
        wanted = target(Portal("127.0.0.1", 4420, service.port))
        assert plan(PortalFinder(20.0), wanted) == (f"{NQN}:sdt", ["192.0.2.2:4420"])


def test_an_array_that_does_not_tell_its_nqn_is_asked_for_it() -> None:
    with listening(DiscoveryService([entry(NQN, "192.0.2.2", 4420)])) as service:
        wanted = target(Portal("127.0.0.1", 4420, service.port), nqn="")
        assert plan(PortalFinder(20.0), wanted) == (NQN, ["192.0.2.2:4420"])


def test_an_answer_counts_for_some_time_and_an_old_one_outlives_a_failure() -> None:
    finder = PortalFinder(20.0)
    with listening(DiscoveryService([entry(NQN, "192.0.2.2", 4420)])) as service:
        wanted = target(Portal("127.0.0.1", 4420, service.port))
        assert plan(finder, wanted)[1] == ["192.0.2.2:4420"]
        finder.ask(SYSTEM, wanted.portals, ME, limit=time.monotonic() + 20, max_age=60.0)
        assert len(service.hosts) == 1
    assert plan(finder, wanted)[1] == ["192.0.2.2:4420"]


def test_without_time_nothing_is_asked() -> None:
    finder = PortalFinder(20.0)
    wanted = target(Portal("127.0.0.1", 4420, 9))
    finder.ask(SYSTEM, wanted.portals, ME, limit=0.0, max_age=0.0)
    assert finder.plan(SYSTEM, wanted, ME).problem == "there was no time to ask"


# --- with the kernel -------------------------------------------------------------------------------


def test_a_volume_is_attached_over_the_portals_that_the_array_has_planned(kernel: FakeKernel) -> None:
    planned = "127.0.0.7:4420"
    kernel.array.portals[planned] = FakePortal()
    with listening(DiscoveryService([entry(NQN, "127.0.0.7", 4420)])) as service:
        context = with_discovery(kernel, service.port)
        kernel.transport(discovery_seconds=15.0).attach(context)
    assert [line["traddr"] for line in kernel.lines] == ["127.0.0.7"]


def test_portals_outside_of_the_plan_are_the_last_resort(kernel: FakeKernel) -> None:
    with listening(DiscoveryService([entry(NQN, "127.0.0.7", 4420)])) as service:
        context = with_discovery(kernel, service.port)
        kernel.transport(discovery_seconds=15.0).attach(context)
    assert kernel.lines[0]["traddr"] == "127.0.0.7"
    assert "127.0.0.1" in [line["traddr"] for line in kernel.lines]


def test_an_array_without_an_nqn_and_without_discovery_cannot_be_reached(kernel: FakeKernel) -> None:
    context = kernel.volume().publish_context("127.0.0.1:4420", nqn="")
    with pytest.raises(Unavailable, match=r"does not tell its NQN, so a discovery service has to"):
        kernel.transport(device_seconds=1.0).attach(context)
    assert kernel.lines == []


def with_discovery(kernel: FakeKernel, port: int) -> PublishContext:
    """The publish context of a new volume, with one portal and its discovery service."""
    context = kernel.volume().publish_context("127.0.0.1:4420")
    portals = {"portals": f"127.0.0.1:4420/{port}"}
    return dataclasses.replace(context, details={**context.details, **portals})


def test_an_old_plan_does_not_keep_a_volume_from_new_portals(kernel: FakeKernel) -> None:
    volume = kernel.volume()
    planned = "127.0.0.7:4420"
    kernel.array.portals[planned] = FakePortal()
    nvme = kernel.transport(discovery_seconds=15.0)
    with listening(DiscoveryService([entry(NQN, "127.0.0.7", 4420)])) as service:
        context = volume.publish_context("127.0.0.1:4420")
        portals = {"portals": f"127.0.0.1:4420/{service.port}"}
        nvme.attach(dataclasses.replace(context, details={**context.details, **portals}))
    kernel.lose(planned)
    nvme.attach(context)
    assert [line["traddr"] for line in kernel.lines] == ["127.0.0.7", "127.0.0.1"]
