"""The volumes of NVMe hosts: what a host sees, reads and writes, and how it learns of changes."""

from __future__ import annotations

import contextlib
import itertools
import os
import struct
import threading
from collections.abc import Sequence

import pytest

from csi_powerflex.simulator.model import READ_ONLY
from tests.nvme_initiator import BLOCK, Connection, Failed, Initiator, Sent
from tests.simulator.nvme import HOST_B, A, B, NvmeArray

GIB = 1024**3
NAMESPACE_CHANGED = 0x00040002
UNMAPPED, WRITE_PROTECTED, OUT_OF_RANGE = 0x00B, 0x020, 0x080


def refused(initiator: Initiator, namespace: int, data: bytes = bytes(BLOCK), *, offset: int = 0) -> Failed:
    """The failure of a write."""
    with pytest.raises(Failed) as caught:
        initiator.write(namespace, offset, data)
    return caught.value


def test_a_host_sees_the_volumes_that_are_mapped_to_it_and_no_others(nvme: NvmeArray) -> None:
    _, volume_a, number_a = nvme.mapped()
    _, _, number_b = nvme.mapped(host=nvme.add_host(HOST_B))
    with nvme.connected(A) as a, nvme.connected(B) as b:
        assert (a.namespaces(), b.namespaces()) == ([number_a], [number_b])
        assert refused(a, number_b).code == UNMAPPED
        assert a.nguid(number_a) == f"{volume_a}64b94e{nvme.system_id[-10:]}"
        assert a.size(number_a) == 8 * GIB
        with pytest.raises(Failed, match="0x400b"):
            a.size(number_b)


def test_both_identify_pages_have_the_same_nguid(nvme: NvmeArray) -> None:
    _, _, number = nvme.mapped()
    with nvme.connected() as host:
        assert host.admin.identify(0, number)[104:120].hex() == host.nguid(number)


@pytest.mark.parametrize("length", [BLOCK, 8192, 8192 + BLOCK, 128 * 1024])
def test_data_written_by_one_path_is_read_by_another(nvme: NvmeArray, length: int) -> None:
    _, _, number = nvme.mapped()
    data = os.urandom(length)
    with nvme.connected(portal=0) as first, nvme.connected(portal=1) as second:
        first.write(number, 4096, data)
        first.flush(number)
        assert second.read(number, 4096, length) == data
        assert second.read(number, 0, BLOCK) == bytes(BLOCK)


def test_a_clone_of_a_volume_of_an_nvme_host_has_its_data(nvme: NvmeArray) -> None:
    host, volume_id, number = nvme.mapped()
    with nvme.connected() as initiator:
        initiator.write(number, 0, b"before".ljust(BLOCK))
        (clone,) = nvme.snapshot(volume_id, action="createThinClone")
        initiator.write(number, 0, b"behind".ljust(BLOCK))
        nvme.map_host(clone, host)
        assert initiator.read(nvme.namespace(clone), 0, BLOCK) == b"before".ljust(BLOCK)


@pytest.mark.parametrize("rounds", range(3))
def test_clones_of_several_volumes_are_of_one_point_in_time(nvme: NvmeArray, rounds: int) -> None:
    host_id, first, one = nvme.mapped()
    _, second, two = nvme.mapped(host=host_id)
    stop, written = threading.Event(), threading.Event()

    def write() -> None:
        with nvme.connected() as host:
            for number in itertools.count(1):
                block = struct.pack("<Q", number).ljust(BLOCK)
                host.write(one, 0, block)
                host.write(two, 0, block)
                written.set()
                if stop.is_set():
                    return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert written.wait(30)
        clones = nvme.snapshot(first, second, action="createThinClone")
    finally:
        stop.set()
        writer.join(30)
    for clone in clones:
        nvme.map_host(clone, host_id)
    with nvme.connected() as host:
        numbers = [
            struct.unpack_from("<Q", host.read(nvme.namespace(clone), 0, BLOCK))[0] for clone in clones
        ]
    assert numbers[0] - numbers[1] in (0, 1), "the second volume is written after the first"
    assert numbers[0] > 0


def test_io_waits_while_a_clone_is_made_and_then_goes_on(
    nvme: NvmeArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, volume_id, number = nvme.mapped()
    plane = nvme.simulator.gateway.array.plane
    copy = plane.snapshot
    with nvme.connected() as host:
        waiting: list[Sent] = []

        def slow(pairs: Sequence[tuple[str, str]]) -> None:
            waiting.append(host.io.send(0x01, number, struct.pack("<QH", 0, 0), out=b"x" * BLOCK))
            assert host.namespaces() == [number], "commands that are no I/O go on"
            host.io.socket.settimeout(0.1)
            with pytest.raises(TimeoutError):
                host.io.wait(waiting[0])
            copy(pairs)

        monkeypatch.setattr(plane, "snapshot", slow)
        (clone,) = nvme.snapshot(volume_id, action="createThinClone")
        host.io.socket.settimeout(30)
        host.io.wait(waiting[0])
        assert host.read(number, 0, BLOCK) == b"x" * BLOCK
    with plane.file(clone, 8 * GIB).open("rb") as content:
        assert content.read(BLOCK) == bytes(BLOCK)


def test_other_commands_may_arrive_between_a_request_for_data_and_the_data(nvme: NvmeArray) -> None:
    _, _, number = nvme.mapped()
    with nvme.connected() as host:
        io = host.io
        tail = struct.pack("<QH", 0, 15)
        first = io.send(0x01, number, tail, out=b"1" * 16 * BLOCK, inside=False)
        second = io.send(0x01, number, struct.pack("<QH", 16, 15), out=b"2" * 16 * BLOCK, inside=False)
        kind, header, _, _ = io.receive_pdu()
        assert kind == 9, "the target asks for the data of the first write"
        flush = io.send(0x00, number)
        io.wait(flush)
        assert not io.has_ended(first)
        command_id, tag, offset, length, _ = struct.unpack("<HHIII", header)
        for start in (0, length // 2):
            io.send_data(command_id, tag, offset + start, first.out[start : start + length // 2])
        io.wait(first)
        io.wait(second)
        assert host.read(number, 0, 32 * BLOCK) == b"1" * 16 * BLOCK + b"2" * 16 * BLOCK


def test_zeroed_and_discarded_blocks_read_as_zeros(nvme: NvmeArray) -> None:
    _, _, number = nvme.mapped()
    with nvme.connected() as host:
        host.write(number, 0, b"x" * 16384)
        host.zero(number, 0, 4096)
        host.discard(number, 4096, 4096)
        assert host.read(number, 0, 16384) == bytes(8192) + b"x" * 8192


def test_a_hint_about_blocks_that_is_no_discard_changes_nothing(nvme: NvmeArray) -> None:
    _, _, number = nvme.mapped()
    with nvme.connected() as host:
        host.write(number, 0, b"x" * BLOCK)
        host.io.ask(0x09, number, struct.pack("<II", 0, 1), out=struct.pack("<IIQ", 0, 1, 0))
        assert host.read(number, 0, BLOCK) == b"x" * BLOCK


def test_blocks_beyond_the_end_are_refused(nvme: NvmeArray) -> None:
    _, _, number = nvme.mapped()
    with nvme.connected() as host:
        host.write(number, 8 * GIB - BLOCK, b"x" * BLOCK)
        for operation in (
            lambda: host.write(number, 8 * GIB, bytes(BLOCK)),
            lambda: host.write(number, 8 * GIB - BLOCK, bytes(2 * BLOCK)),
            lambda: host.read(number, 8 * GIB, BLOCK),
            lambda: host.zero(number, 8 * GIB, BLOCK),
            lambda: host.discard(number, 8 * GIB, BLOCK),
            lambda: host.read(number, BLOCK * (2**63), BLOCK),
        ):
            with pytest.raises(Failed) as caught:
                operation()
            assert caught.value.code == OUT_OF_RANGE


def test_a_read_only_mapping_is_write_protected(nvme: NvmeArray) -> None:
    host_id, volume_id, number = nvme.mapped(accessMode=READ_ONLY)
    with nvme.connected() as host:
        assert host.is_read_only(number)
        assert host.read(number, 0, BLOCK) == bytes(BLOCK)
        assert (refused(host, number).code, refused(host, number).final) == (WRITE_PROTECTED, True)
        for operation in (host.zero, host.discard):
            with pytest.raises(Failed, match="0x4020"):
                operation(number, 0, BLOCK)
        mode = {"sdcId": host_id, "accessMode": "ReadWrite"}
        nvme.volume_action(volume_id, "setVolumeMappingAccessMode", **mode)
        assert not host.is_read_only(number)
        host.write(number, 0, b"x" * BLOCK)


def test_a_mapping_without_access_shows_no_namespace(nvme: NvmeArray) -> None:
    _, _, number = nvme.mapped(accessMode="NoAccess")
    with nvme.connected() as host:
        assert host.namespaces() == []
        assert refused(host, number).code == UNMAPPED


def test_io_after_an_unmapping_is_refused_for_good(nvme: NvmeArray) -> None:
    host_id, volume_id, number = nvme.mapped()
    with nvme.connected() as host:
        host.write(number, 0, b"x" * BLOCK)
        nvme.unmap_host(volume_id, host_id)
        failure = refused(host, number)
        assert (failure.code, failure.final) == (UNMAPPED, True)
        with pytest.raises(Failed, match="0x400b"):
            host.read(number, 0, BLOCK)
        host.flush(0xFFFFFFFF)


def test_a_write_whose_data_arrives_after_the_unmapping_does_not_reach_the_volume(nvme: NvmeArray) -> None:
    host_id, volume_id, number = nvme.mapped()
    other = nvme.add_host(HOST_B)
    with nvme.connected() as host:
        late = host.io.send(0x01, number, struct.pack("<QH", 0, 15), out=b"late" * 2048, inside=False)
        kind, header, _, _ = host.io.receive_pdu()
        assert kind == 9
        nvme.unmap_host(volume_id, host_id)
        command_id, tag, offset, _, _ = struct.unpack("<HHIII", header)
        host.io.send_data(command_id, tag, offset, late.out)
        with pytest.raises(Failed, match="0x400b"):
            host.io.wait(late)
    nvme.map_host(volume_id, other)
    with nvme.connected(B) as successor:
        assert successor.read(number, 0, BLOCK) == bytes(BLOCK)


def test_when_an_unmapping_is_answered_no_write_of_the_host_is_in_progress(nvme: NvmeArray) -> None:
    host_id, volume_id, number = nvme.mapped()
    other = nvme.add_host(HOST_B)
    stop = threading.Event()

    def write() -> None:
        with nvme.connected() as host, contextlib.suppress(Failed):
            while not stop.is_set():
                host.write(number, 0, b"old!" * 2048)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        nvme.map_host(volume_id, other)
        with nvme.connected(B) as successor:
            while not successor.read(number, 0, BLOCK).startswith(b"old!") and writer.is_alive():
                pass
            nvme.unmap_host(volume_id, host_id)
            successor.write(number, 0, b"new!" * 2048)
            writer.join(30)
            assert successor.read(number, 0, 8192) == b"new!" * 2048
    finally:
        stop.set()
        writer.join(30)


def test_io_that_began_before_an_unmapping_and_arrives_after_it_is_refused(nvme: NvmeArray) -> None:
    host_id, _, number = nvme.mapped()
    with nvme.connected() as host:
        host.write(number, 0, b"x" * BLOCK)
        namespace = nvme.target._namespaces.of_host(host_id)[number]
        namespace.retire()
        assert refused(host, number).code == UNMAPPED
        host.flush(0xFFFFFFFF)


def test_one_flush_is_for_all_volumes_of_the_host(nvme: NvmeArray) -> None:
    host_id, _, number = nvme.mapped()
    nvme.mapped(host=host_id)
    with nvme.connected() as host:
        host.write(number, 0, b"x" * BLOCK)
        host.flush(0xFFFFFFFF)


# --- events --------------------------------------------------------------------------------------


def test_a_mapping_an_unmapping_and_a_new_size_are_events(nvme: NvmeArray) -> None:
    host_id, first, _ = nvme.mapped()
    with nvme.connected() as host:
        event = host.request_event()
        _, second, number = nvme.mapped(host=host_id)
        assert host.admin.wait(event).result == NAMESPACE_CHANGED
        assert host.changed() == [number]

        event = host.request_event()
        nvme.volume_action(second, "setVolumeSize", sizeInGB="16")
        assert host.admin.wait(event).result == NAMESPACE_CHANGED
        assert (host.changed(), host.size(number)) == ([number], 16 * GIB)
        host.write(number, 16 * GIB - BLOCK, b"x" * BLOCK)

        event = host.request_event()
        nvme.unmap_host(first, host_id)
        host.admin.wait(event)
        assert host.namespaces() == [number]


def test_an_event_is_kept_until_the_host_asks_for_one(nvme: NvmeArray) -> None:
    host_id = nvme.add_host()
    with nvme.connected() as host:
        _, _, number = nvme.mapped(host=host_id)
        assert host.admin.wait(host.request_event()).result == NAMESPACE_CHANGED
        assert host.changed() == [number]


def test_the_next_event_comes_only_after_the_host_has_read_what_changed(nvme: NvmeArray) -> None:
    host_id = nvme.add_host()
    with nvme.connected() as host:
        first, second = host.request_event(), host.request_event()
        _, _, one = nvme.mapped(host=host_id)
        host.admin.wait(first)
        _, _, two = nvme.mapped(host=host_id)
        kept = struct.unpack("<3I", host.admin.log(4, 12, retain=True))
        assert kept == (one, two, 0)
        assert host.namespaces() == [one, two]
        assert not host.admin.has_ended(second)
        assert host.changed() == [one, two]
        _, _, three = nvme.mapped(host=host_id)
        host.admin.wait(second)
        assert host.changed() == [three]


def test_a_host_that_wants_no_events_gets_them_when_it_changes_its_mind(nvme: NvmeArray) -> None:
    host_id = nvme.add_host()
    with nvme.connected() as host:
        host.admin.ask(0x09, 0, struct.pack("<II", 0x0B, 0))
        event = host.request_event()
        nvme.mapped(host=host_id)
        assert host.namespaces() != []
        assert not host.admin.has_ended(event)
        host.admin.ask(0x09, 0, struct.pack("<II", 0x0B, 1 << 8))
        host.admin.wait(event)


def test_each_path_of_a_host_gets_the_event_and_other_hosts_get_none(nvme: NvmeArray) -> None:
    host_id = nvme.add_host()
    nvme.add_host(HOST_B)
    with nvme.connected(portal=0) as one, nvme.connected(portal=1) as two, nvme.connected(B) as other:
        events = [(each, each.request_event()) for each in (one, two)]
        foreign = other.request_event()
        nvme.mapped(host=host_id)
        for each, event in events:
            assert each.admin.wait(event).result == NAMESPACE_CHANGED
        assert other.namespaces() == []
        assert not other.admin.has_ended(foreign)


def test_more_requests_for_events_than_the_target_announces_are_refused(nvme: NvmeArray) -> None:
    nvme.add_host()
    with nvme.connected() as host:
        allowed = host.admin.identify(1)[259] + 1
        for _ in range(allowed):
            host.request_event()
        with pytest.raises(Failed, match="0x105"):
            host.admin.wait(host.request_event())


def test_too_many_changes_are_one_entry_of_all_ones(nvme: NvmeArray) -> None:
    nvme.add_host()
    with nvme.connected() as host:
        (association,) = nvme.target._subsystem.associations()
        for number in range(1, 1026):
            association.note(number, announce=True)
        assert host.changed() == [0xFFFFFFFF]


# --- what an NVMe controller says of itself --------------------------------------------------------


def test_an_nvme_controller_says_what_it_can_do(nvme: NvmeArray) -> None:
    nvme.add_host()
    with nvme.connected() as host:
        page = host.admin.identify(1)
        assert page[768:1024].rstrip(b"\0").decode() == nvme.nqn
        assert struct.unpack_from("<H", page, 78)[0] == host.controller_id
        assert page[76] & 2, "several NVMe controllers share the namespaces"
        assert (1 << page[77]) * 4096 == 128 * 1024
        assert host.admin.property(0x08) == 0x10300
        assert host.admin.property(0x00) & 0xFFFF == 127
        assert host.admin.property(0x1C) & 1, "it is ready"
        assert host.admin.ask(0x09, 0, struct.pack("<II", 0x07, 7 | 7 << 16)).result == 7 | 7 << 16
        assert host.admin.ask(0x0A, 0, struct.pack("<I", 0x07)).result == 31 | 31 << 16
        assert host.admin.ask(0x08, 0).result == 1, "nothing is left to abort"
        host.admin.ask(0x18)


def test_a_shut_down_nvme_controller_says_so(nvme: NvmeArray) -> None:
    nvme.add_host()
    with nvme.connected() as host:
        host.admin.ask(0x7F, 0, struct.pack("<BBHIQ", 0, 0, 0, 0x14, 0x464001))
        assert host.admin.property(0x1C) & 0b1100 == 0b1000


@pytest.mark.parametrize(
    ("opcode", "tail", "status"),
    [
        (0x06, b"\x44", 0x4002),  # unknown Identify page
        (0x02, struct.pack("<BBH", 0x0C, 0, 3), 0x4109),  # unknown log page
        (0x02, struct.pack("<BBHHHQ", 4, 0, 3, 0, 0, 2), 0x4002),  # odd offset
        (0x02, struct.pack("<BBHHHQ", 4, 0, 3, 0, 0, 8192), 0x4002),  # offset beyond the end
        (0x02, struct.pack("<BBHH", 4, 0, 0xFFFF, 0xFFFF), 0x4002),  # more than one transfer
        (0x09, struct.pack("<I", 0x0E), 0x4002),  # unknown feature to set
        (0x0A, struct.pack("<I", 0x0E), 0x4002),  # unknown feature to get
        (0xC0, b"", 0x4001),  # unknown command
    ],
)
def test_what_the_target_does_not_know_is_refused(
    nvme: NvmeArray, opcode: int, tail: bytes, status: int
) -> None:
    nvme.add_host()
    with nvme.connected() as host:
        with pytest.raises(Failed) as caught:
            host.admin.ask(opcode, 0, tail, expect=0 if opcode & 1 else 4096)
        assert caught.value.status == status
        assert host.admin.property(0x08), "the connection goes on"


def test_unknown_properties_and_a_second_connect_are_refused(nvme: NvmeArray) -> None:
    nvme.add_host()
    with nvme.connected() as host:
        with pytest.raises(Failed, match="0x4002"):
            host.admin.property(0x30)
        with pytest.raises(Failed, match="0x4002"):
            host.admin.ask(0x7F, 0, struct.pack("<BBHIQ", 0, 0, 0, 0x30, 1))
        with pytest.raises(Failed, match="0x400c"):
            host.admin.connect(nvme.nqn, host.hostnqn, host.hostid)


def test_wrong_lengths_of_data_are_refused(nvme: NvmeArray) -> None:
    _, _, number = nvme.mapped()
    with nvme.connected() as host:
        one_block = struct.pack("<QH", 0, 0)
        for opcode, fields in (
            (0x01, {"out": bytes(2 * BLOCK)}),
            (0x02, {"expect": 2 * BLOCK}),
            (0x09, {"out": bytes(8)}),
        ):
            with pytest.raises(Failed, match="0x400f"):
                host.io.ask(opcode, number, one_block, **fields)
        with pytest.raises(Failed, match="0x4001"):
            host.io.ask(0x05, number, one_block)


def test_a_log_page_can_be_read_in_parts(nvme: NvmeArray) -> None:
    host_id = nvme.add_host()
    with nvme.connected() as host:
        numbers = [nvme.mapped(host=host_id)[2] for _ in range(3)]
        assert struct.unpack("<2I", host.admin.log(4, 8, offset=4, retain=True)) == tuple(numbers[1:])
        assert host.admin.log(2, 512) == bytes(512)


def test_a_damaged_disk_is_an_error_of_the_command_and_not_of_the_connection(nvme: NvmeArray) -> None:
    _, volume_id, number = nvme.mapped()
    (file,) = [nvme.simulator.gateway.array.plane.file(volume_id, 8 * GIB)]
    file.unlink()
    file.mkdir()
    with nvme.connected() as host:
        assert refused(host, number).code == 0x006
        file.rmdir()
        host.write(number, 0, b"x" * BLOCK)


def test_a_queue_for_io_can_be_closed_and_opened_again(nvme: NvmeArray) -> None:
    _, _, number = nvme.mapped()
    with nvme.connected() as host:
        extra: Connection = host.queue(nvme.nqn, 2)
        extra.ask(0x00, number)
        with pytest.raises(Failed, match="0x182"):
            host.queue(nvme.nqn, 2)
        extra.close()
        host.write(number, 0, b"x" * BLOCK)
