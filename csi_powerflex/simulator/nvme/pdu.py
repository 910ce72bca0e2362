"""The PDUs of NVMe/TCP: the units that cross a connection.

The layouts are those of the NVM Express TCP Transport Specification 1.0, section 3.6. All numbers are
little-endian. Digests are not offered.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

MAX_TRANSFER = 128 * 1024
"""The largest data transfer of one command, in bytes."""

IN_CAPSULE = 8192
"""The largest data that a command may carry with it, in bytes. Longer data is asked for."""

_COMMON = struct.Struct("<BBBBI")
_TRANSFER = struct.Struct("<HHIII")
_COMMAND_LENGTH = 64
_COMPLETION_LENGTH = 16
_INITIALIZE_LENGTH = 128
_LAST_DATA = 4
_DIGESTS = 3


class Kind(IntEnum):
    """The types of PDUs."""

    INITIALIZE = 0
    INITIALIZED = 1
    HOST_TERMINATES = 2
    TARGET_TERMINATES = 3
    COMMAND = 4
    COMPLETION = 5
    DATA_TO_TARGET = 6
    DATA_TO_HOST = 7
    READY_TO_TRANSFER = 9


class Fatal(IntEnum):
    """Why the target ends a connection: the fatal error status of the PDU that says so."""

    INVALID_HEADER = 1
    SEQUENCE = 2
    OUT_OF_RANGE = 4
    LIMIT_EXCEEDED = 5
    UNSUPPORTED = 6


class BadPdu(Exception):
    """A host sent something that ends the connection."""

    def __init__(self, status: Fatal, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Pdu:
    """A received PDU. ``header`` is what follows the common 8 bytes, ``data`` the data if there is any."""

    kind: Kind
    header: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class DataToTarget:
    """A piece of a write's data: for which command, and where it belongs in the whole."""

    command_id: int
    tag: int
    offset: int
    length: int

    @classmethod
    def parse(cls, header: bytes) -> DataToTarget:
        """Read the header of a PDU of data."""
        command_id, tag, offset, length, _ = _TRANSFER.unpack(header)
        return cls(command_id, tag, offset, length)


# For each PDU that a host may send: the length of its header, and the largest length of its data.
_FROM_HOST = {
    Kind.INITIALIZE: (_INITIALIZE_LENGTH, 0),
    Kind.HOST_TERMINATES: (24, 128),
    Kind.COMMAND: (8 + _COMMAND_LENGTH, IN_CAPSULE),
    Kind.DATA_TO_TARGET: (24, MAX_TRANSFER),
}
_MAX_PADDING = 128


def read(receive: Callable[[int], bytes]) -> Pdu:
    """Read the next PDU with ``receive``, which returns exactly as many bytes as it is asked for.

    Raises:
        BadPdu: it is malformed, too long, or none that a host may send.
    """
    first, flags, header_length, data_offset, length = _COMMON.unpack(receive(_COMMON.size))
    expected = _FROM_HOST.get(first)
    if expected is None or header_length != expected[0]:
        raise BadPdu(Fatal.INVALID_HEADER, f"a PDU of type {first} with a header of {header_length} bytes")
    if flags & _DIGESTS and first != Kind.INITIALIZE:
        raise BadPdu(Fatal.INVALID_HEADER, "a PDU with a digest, which was not agreed on")
    if not header_length <= length <= header_length + _MAX_PADDING + expected[1]:
        raise BadPdu(Fatal.INVALID_HEADER, f"a PDU of {length} bytes")
    if length > header_length and not header_length <= data_offset <= length:
        raise BadPdu(Fatal.INVALID_HEADER, f"data that starts at {data_offset} of {length} bytes")
    body = receive(length - _COMMON.size)
    header = body[: header_length - _COMMON.size]
    return Pdu(Kind(first), header, body[data_offset - _COMMON.size :] if length > header_length else b"")


def format_version(header: bytes) -> int:
    """The format version in a host's first PDU. Only 0 exists."""
    (version,) = struct.unpack_from("<H", header)
    return int(version)


def initialized() -> bytes:
    """The answer to a host's first PDU: no alignment, no digests, and the longest piece of data."""
    return _common(Kind.INITIALIZED, _INITIALIZE_LENGTH) + struct.pack("<HBBI112x", 0, 0, 0, MAX_TRANSFER)


def completion(*, result: int, head: int, queue: int, command_id: int, status: int) -> bytes:
    """The end of a command. ``head`` is the position in the submission queue."""
    content = struct.pack("<QHHHH", result, head, queue, command_id, status << 1)
    return _common(Kind.COMPLETION, 8 + _COMPLETION_LENGTH) + content


def data_to_host(command_id: int, data: bytes) -> bytes:
    """The data of a read, all at once."""
    header = _common(Kind.DATA_TO_HOST, 24, data=len(data), flags=_LAST_DATA)
    return header + _TRANSFER.pack(command_id, 0, 0, len(data), 0) + data


def ready_to_transfer(command_id: int, tag: int, length: int) -> bytes:
    """The request for all data of a write."""
    return _common(Kind.READY_TO_TRANSFER, 24) + _TRANSFER.pack(command_id, tag, 0, length, 0)


def terminated(status: Fatal) -> bytes:
    """The last PDU of a connection that the target ends."""
    return _common(Kind.TARGET_TERMINATES, 24) + struct.pack("<HI10x", status, 0)


def _common(kind: Kind, length: int, *, data: int = 0, flags: int = 0) -> bytes:
    return _COMMON.pack(kind, flags, length, length if data else 0, length + data)
