"""The data structures that a host reads of the subsystem: Identify data and log pages.

The layouts are those of the NVM Express Base Specification 2.0. The numbers are offsets of fields, in bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from csi_powerflex.simulator.nvme.namespaces import BLOCK, Shape
from csi_powerflex.simulator.nvme.pdu import IN_CAPSULE, MAX_TRANSFER
from csi_powerflex.simulator.nvme.ports import Port

PAGE = 4096
VERSION = 0x10300
EVENT_REQUESTS = 4
"""How many requests for events a host may have open."""

QUEUE_DEPTH = 128
IO_QUEUES = 32
NAMESPACE_EVENTS = 1 << 8
NAMESPACES_CHANGED = 0x04
DISCOVERY = 0x70
EMPTY_LOGS = (0x01, 0x02, 0x03)
"""Logs about errors, health and firmware. They are all zeros."""

_LARGEST_NAMESPACE = 1 << 20
_MAX_LISTED = PAGE // 4
_KEEP_ALIVE_GRANULARITY = 10
_LOG_HEADER = 1024


@dataclass(frozen=True, slots=True)
class ControllerFacts:
    """What differs between the NVMe controllers. ``release`` is the version of the array."""

    id: int
    nqn: str
    serial: str
    release: str
    discovery: bool


def controller(facts: ControllerFacts) -> bytes:
    """Identify data of an NVMe controller."""
    page = bytearray(PAGE)
    struct.pack_into("<HH20s40s8s", page, 0, 0x1028, 0x1028, _padded(facts.serial, 20),
                     _padded("PowerFlex (simulated)", 40), _padded(facts.release, 8))  # fmt: skip
    page[76] = 0b10  # several NVMe controllers
    page[77] = (MAX_TRANSFER // PAGE).bit_length() - 1
    struct.pack_into("<HI", page, 78, facts.id, VERSION)
    struct.pack_into("<I", page, 92, 0 if facts.discovery else NAMESPACE_EVENTS)
    page[111] = 2 if facts.discovery else 1
    page[258], page[259] = 3, EVENT_REQUESTS - 1
    page[261] = 0b100  # logs with an offset
    struct.pack_into("<H", page, 320, _KEEP_ALIVE_GRANULARITY)
    page[512], page[513] = 0x66, 0x44  # the sizes of entries of queues, as powers of two
    struct.pack_into("<HIH", page, 514, QUEUE_DEPTH, _LARGEST_NAMESPACE, 0b1100)  # deallocate, write zeroes
    page[525] = 0b111  # a cache, and flush for all namespaces at once
    struct.pack_into("<I", page, 536, 1 | 1 << 20)  # data inside of commands, at an offset
    struct.pack_into("<256s", page, 768, facts.nqn.encode())
    struct.pack_into("<IIHBB", page, 1792, (64 + IN_CAPSULE) // 16, 1, 0, 0, 1)
    return bytes(page)


def namespace(shape: Shape) -> bytes:
    """Identify data of an NVMe namespace."""
    page = bytearray(PAGE)
    blocks = shape.size // BLOCK
    struct.pack_into("<QQQ", page, 0, blocks, blocks, blocks)
    page[24] = 1  # thin
    page[30] = 1  # shared by several NVMe controllers
    page[33] = 0b1001  # deallocated blocks read as zeros
    page[99] = int(shape.read_only)
    page[104:120] = bytes.fromhex(shape.nguid)
    struct.pack_into("<I", page, 128, (BLOCK.bit_length() - 1) << 16)
    return bytes(page)


def descriptors(shape: Shape) -> bytes:
    """The identifiers of an NVMe namespace: its NGUID only, as real arrays show no UUID."""
    return (bytes((2, 16, 0, 0)) + bytes.fromhex(shape.nguid)).ljust(PAGE, b"\0")


def namespace_list(numbers: Iterable[int], after: int) -> bytes:
    """The numbers above ``after``, as many as fit."""
    listed = sorted(number for number in numbers if number > after)[:_MAX_LISTED]
    return struct.pack(f"<{len(listed)}I", *listed).ljust(PAGE, b"\0")


def changed_list(numbers: Iterable[int]) -> bytes:
    """The log of changed namespaces. Too many are one entry of all ones."""
    listed = sorted(numbers)
    if len(listed) > _MAX_LISTED:
        listed = [0xFFFFFFFF]
    return struct.pack(f"<{len(listed)}I", *listed).ljust(PAGE, b"\0")


def discovery_log(generation: int, nqn: str, ports: Sequence[Port]) -> bytes:
    """The discovery log: a header, and an entry for each port."""
    header = struct.pack("<QQH", generation, len(ports), 0).ljust(_LOG_HEADER, b"\0")
    return header + b"".join(_log_entry(number, nqn, port) for number, port in enumerate(ports, start=1))


def _log_entry(number: int, nqn: str, port: Port) -> bytes:
    family = 2 if ":" in port.address else 1
    entry = bytearray(1024)
    struct.pack_into("<BBBBHHH", entry, 0, 3, family, 2, 0, number, 0xFFFF, QUEUE_DEPTH)
    struct.pack_into("<32s", entry, 32, _padded(str(port.nvme_port), 32))
    struct.pack_into("<256s256s", entry, 256, nqn.encode(), _padded(port.address, 256))
    return bytes(entry)


def _padded(text: str, length: int) -> bytes:
    return text.encode()[:length].ljust(length)
