"""What a host sends in error or with bad intent. It ends at most the host's own connection."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from csi_powerflex.simulator.nvme import subsystem
from csi_powerflex.simulator.nvme.subsystem import Subsystem
from tests.nvme_initiator import DISCOVERY_NQN, Connection, Failed
from tests.simulator.nvme import HOST_A, A, NvmeArray, eventually

INVALID_HEADER, SEQUENCE, OUT_OF_RANGE, LIMIT, UNSUPPORTED = 1, 2, 4, 5, 6
INITIALIZE = struct.pack("<BBBBI", 0, 0, 128, 0, 128) + bytes(120)


@pytest.fixture
def working(nvme: NvmeArray, caplog: pytest.LogCaptureFixture) -> Iterator[NvmeArray]:
    """An array with a connected host, which must still be served at the end of the test."""
    _, _, number = nvme.mapped()
    with nvme.connected(portal=0) as old:
        yield nvme
        old.write(number, 0, b"x" * 512)
        with nvme.connected(portal=0) as new:
            assert new.read(number, 0, 512) == b"x" * 512
        assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def opened(nvme: NvmeArray, *, timeout: float = 10) -> socket.socket:
    return socket.create_connection(nvme.portals()[0], timeout)


def all_of(sock: socket.socket) -> bytes:
    """What a target sends until it closes the connection."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := sock.recv(65536):
            received += part
    return received


def fatal_status(nvme: NvmeArray, *pdus: bytes) -> int:
    """The reason in the last PDU before the target closes the connection."""
    with opened(nvme) as sock:
        sock.sendall(b"".join(pdus))
        received = all_of(sock)
    kind, _, _, _, length = struct.unpack_from("<BBBBI", received[-24:])
    assert (kind, length) == (3, 24), received.hex()
    return int(struct.unpack_from("<H", received, len(received) - 16)[0])


def pdu(kind: int, header: int, offset: int, length: int, *, flags: int = 0) -> bytes:
    return struct.pack("<BBBBI", kind, flags, header, offset, length).ljust(min(length, 4096), b"\0")


@pytest.mark.parametrize(
    ("pdus", "status"),
    [
        ((pdu(4, 72, 0, 72),), SEQUENCE),  # a command before the handshake
        ((pdu(0, 128, 0, 128)[:8] + b"\x09" + bytes(119),), UNSUPPORTED),
        ((INITIALIZE, INITIALIZE), SEQUENCE),
        ((pdu(5, 24, 0, 24),), INVALID_HEADER),  # what only a target sends
        ((pdu(99, 24, 0, 24),), INVALID_HEADER),
        ((pdu(0, 12, 0, 128),), INVALID_HEADER),
        ((INITIALIZE, pdu(4, 72, 0, 8)), INVALID_HEADER),
        ((INITIALIZE, pdu(4, 72, 0, 0xFFFFFFFF)), INVALID_HEADER),
        ((INITIALIZE, pdu(4, 72, 72, 72 + 8192 + 129)), INVALID_HEADER),
        ((INITIALIZE, pdu(4, 72, 4, 80)), INVALID_HEADER),  # data inside of the header
        ((INITIALIZE, pdu(4, 72, 200, 80)), INVALID_HEADER),  # data behind the end
        ((INITIALIZE, pdu(4, 72, 0, 72, flags=1)), INVALID_HEADER),  # a digest
        ((INITIALIZE, pdu(6, 24, 24, 24 + 512)), INVALID_HEADER),  # data that no command waits for
    ],
)
def test_a_malformed_pdu_ends_the_connection_with_its_reason(
    working: NvmeArray, pdus: tuple[bytes, ...], status: int
) -> None:
    assert fatal_status(working, *pdus) == status


def test_a_command_with_less_data_than_it_says_ends_the_connection(working: NvmeArray) -> None:
    entry = struct.pack("<BBHI16xQI3xB24x", 0x7F, 0x40, 1, 1, 0, 1024, 0x01)
    command = struct.pack("<BBBBI", 4, 0, 72, 72, 72 + 512) + entry + bytes(512)
    assert fatal_status(working, INITIALIZE, command) == OUT_OF_RANGE


@pytest.mark.parametrize(
    ("offset", "data"), [(512, bytes(512)), (0, bytes(16384 + 512)), (0, b""), (0xFFFFFE00, bytes(512))]
)
def test_data_outside_of_what_was_asked_for_ends_the_connection(
    working: NvmeArray, offset: int, data: bytes
) -> None:
    with working.connected(portal=1) as host:
        (number,) = host.namespaces()
        write = host.io.send(0x01, number, struct.pack("<QH", 0, 31), out=bytes(16384), inside=False)
        kind, header, _, _ = host.io.receive_pdu()
        assert kind == 9
        command_id, tag, *_ = struct.unpack("<HHIII", header)
        host.io.send_data(command_id, tag, offset, data)
        with pytest.raises(EOFError, match="ended the connection"):
            host.io.wait(write)


def test_more_writes_at_once_than_the_queue_is_deep_end_the_connection(working: NvmeArray) -> None:
    with working.connected(portal=1) as host:
        last = [host.io.send(0x01, 1, out=bytes(512), inside=False) for _ in range(129)][-1]
        for _ in range(128):
            assert host.io.receive_pdu()[0] == 9
        with pytest.raises(EOFError, match="ended the connection"):
            host.io.wait(last)


def test_a_command_with_an_id_that_is_in_use_is_refused(working: NvmeArray) -> None:
    with working.connected(portal=1) as host:
        host.io.send(0x01, 1, out=bytes(512), inside=False)
        assert host.io.receive_pdu()[0] == 9
        host.io._next -= 1
        with pytest.raises(Failed, match="0x3"):
            host.io.wait(host.io.send(0x00, 1))


def test_a_write_longer_than_a_transfer_is_refused(working: NvmeArray) -> None:
    with working.connected(portal=1) as host:
        with pytest.raises(Failed, match="0x400f"):
            host.io.ask(0x01, 1, struct.pack("<QH", 0, 511), out=bytes(512 * 512))
        with pytest.raises(Failed, match="0x400f"):
            host.io.ask(0x02, 1, struct.pack("<QH", 0, 511), expect=512 * 512)


def test_a_host_that_only_terminates_is_let_go(working: NvmeArray) -> None:
    with opened(working) as sock:
        sock.sendall(INITIALIZE + pdu(2, 24, 0, 24))
        assert len(all_of(sock)) == 128


def test_a_host_that_leaves_in_the_middle_of_a_pdu_is_forgotten(working: NvmeArray) -> None:
    (listener, *_) = working.target._listeners.values()
    before = len(listener._connections)
    for part in (b"", INITIALIZE[:5], INITIALIZE[:60], INITIALIZE + bytes(3)):
        with opened(working) as sock:
            sock.sendall(part)
    eventually(lambda: len(listener._connections) == before)


def test_names_in_connect_may_be_anything(working: NvmeArray) -> None:
    for name in ("", "nqn.\udcff", "%s%n", "a" * 256, "nqn.2014-08.org.nvmexpress:uuid:\0x"):
        data = struct.pack(
            "<16sH238x256s256s256x",
            b"1" * 16,
            0xFFFF,
            name.encode("utf-8", "surrogateescape"),
            name.encode("utf-8", "surrogateescape"),
        )
        with (
            contextlib.closing(Connection(*working.portals()[0])) as connection,
            pytest.raises(Failed, match="0x182"),
        ):
            connection.ask(0x7F, 1, struct.pack("<HHH", 0, 0, 31), out=data)


def test_queue_sizes_that_cannot_be_are_refused(working: NvmeArray) -> None:
    data = struct.pack("<16sH238x256s256s256x", b"1" * 16, 0xFFFF, working.nqn.encode(), HOST_A.encode())
    for size in (0, 128, 0xFFFF):
        with (
            contextlib.closing(Connection(*working.portals()[0])) as connection,
            pytest.raises(Failed, match="0x182"),
        ):
            connection.ask(0x7F, 1, struct.pack("<HHH", 0, 0, size), out=data)


def test_more_connections_than_the_target_serves_are_closed(working: NvmeArray) -> None:
    (listener, *_) = working.target._listeners.values()
    listener._most = len(listener._connections) + 2
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(contextlib.closing(Connection(*working.portals()[0])))
        with opened(working) as sock:
            assert all_of(sock) == b""
    listener._most = 1024


def test_a_host_that_never_reads_does_not_hold_up_others(working: NvmeArray) -> None:
    with working.connected(portal=1) as greedy:
        (number,) = greedy.namespaces()
        greedy.io.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.io.socket.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            for _ in range(2000):
                greedy.io.send(0x02, number, struct.pack("<QH", 0, 255), expect=128 * 1024)
        with working.connected(portal=1) as other:
            other.read(number, 0, 512)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=400), connected=st.booleans(), admin=st.booleans())
def test_random_bytes_do_no_harm(working: NvmeArray, content: bytes, connected: bool, admin: bool) -> None:
    if not connected:
        with opened(working) as sock:
            sock.sendall(content)
        return
    with working.connected(portal=1) as host:
        connection = host.admin if admin else host.io
        with contextlib.suppress(OSError):
            connection.socket.sendall(content)


def test_random_commands_do_no_harm(working: NvmeArray) -> None:
    draw = random.Random(7)  # noqa: S311 - it must be repeatable
    for _ in range(40):
        with working.connected(portal=1) as host:
            for connection in (host.admin, host.io):
                for _ in range(20):
                    opcode, namespace = (
                        draw.choice((draw.randrange(256), 0x7F, 6, 2, 1, 9)),
                        draw.randrange(4),
                    )
                    length = draw.choice((0, 0, 16, 512, 4096, draw.randrange(2**32)))
                    entry = struct.pack("<BBHI", opcode, 0x40, draw.randrange(2**16), namespace)
                    entry += bytes(16) + struct.pack(
                        "<QI3xB", draw.choice((0, 1)), length, draw.choice((1, 90))
                    )
                    entry += draw.randbytes(24)
                    data = bytes(draw.choice((0, 0, 16, 512)))
                    header = struct.pack("<BBBBI", 4, 0, 72, 72 if data else 0, 72 + len(data))
                    with contextlib.suppress(OSError):
                        connection.socket.sendall(header + entry + data)


def test_the_namespaces_of_a_host_are_not_those_of_a_host_with_a_longer_name(working: NvmeArray) -> None:
    with pytest.raises(Failed, match="0x184"):
        working.initiator(A, nqn=HOST_A + "0").connect(working.nqn)
    with pytest.raises(Failed, match="0x184"):
        working.initiator(A, nqn=HOST_A[:-1]).connect(working.nqn)


# --- errors of the target itself -------------------------------------------------------------------


def test_an_unexpected_error_of_the_target_ends_one_connection_and_is_logged(
    nvme: NvmeArray, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nvme.add_host()
    with nvme.connected() as host:
        with monkeypatch.context() as broken:
            broken.setattr(Subsystem, "facts", lambda *_: 1 / 0)
            with pytest.raises(EOFError):
                host.admin.identify(1)
        with nvme.connected() as other:
            other.admin.identify(1)
    assert "the connection of 127.0.0.1 ended" in caplog.text


def test_a_target_that_gets_no_more_threads_refuses_connections_and_goes_on(
    nvme: NvmeArray, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nvme.add_host()

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as broken:
        broken.setattr(threading.Thread, "start", start)
        with opened(nvme) as sock:
            assert all_of(sock) == b""
    nvme.connected().close()
    assert "a connection was not accepted: can't start new thread" in caplog.text


def test_a_target_that_gets_no_more_descriptors_goes_on(
    nvme: NvmeArray, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nvme.add_host()
    reached = threading.Event()

    def accept(sock: socket.socket) -> tuple[socket.socket, object]:
        reached.set()
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as broken:
        broken.setattr(socket.socket, "accept", accept)
        Connection(*nvme.portals()[0]).close()  # its thread waits in the old function
        with opened(nvme):
            assert reached.wait(30)
    nvme.connected().close()
    assert "cannot accept a connection: [Errno 24] Too many open files" in caplog.text


def test_there_is_an_end_to_nvme_controllers_for_discovery(
    nvme: NvmeArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subsystem, "_MAX_DISCOVERY_CONTROLLERS", 1)
    with contextlib.closing(Connection(*nvme.portals()[0])) as first:
        first.connect(DISCOVERY_NQN, HOST_A, A)
        with pytest.raises(Failed, match="0x181"):
            nvme.discovered()


def test_the_ids_of_nvme_controllers_start_again_at_the_end_and_skip_those_in_use(
    nvme: NvmeArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvme.add_host()
    monkeypatch.setattr(subsystem, "_LAST_ID", 2)
    with nvme.connected() as first, nvme.connected() as second:
        assert {first.controller_id, second.controller_id} == {1, 2}
        with pytest.raises(Failed, match="0x181"):
            nvme.connected()
        second.close()
        eventually(lambda: len(nvme.target._subsystem.associations()) == 1)
        with nvme.connected() as third:
            assert third.controller_id == second.controller_id
