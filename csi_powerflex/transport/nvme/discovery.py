"""Asking a discovery service which portals the array has planned for this host.

PowerFlex lists nothing until a volume is mapped to the host. The whole session is five commands, so no tool
is needed (NVM Express TCP Transport 1.0 and NVMe over Fabrics 1.1). Every length that the other side names is
bounded, and an entry that is not understood is left out.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import time
from dataclasses import dataclass
from typing import Self

from csi_powerflex.errors import ConnectFailed, Unavailable
from csi_powerflex.ids import is_nqn
from csi_powerflex.transport.nvme.identity import HostPair, host_id_bytes

SERVICE = "nqn.2014-08.org.nvmexpress.discovery"
"""The NQN of every discovery service."""

_IC_REQUEST, _IC_RESPONSE, _COMMAND, _RESPONSE, _DATA = 0, 1, 4, 5, 7
_HEADER = struct.Struct("<BBBBI")  # type, flags, length of the header, offset of the data, length of the PDU
_IC_BYTES, _COMMAND_BYTES, _RESPONSE_BYTES, _DATA_HEADER_BYTES = 128, 72, 24, 24
_LAST, _NO_RESPONSE = 0x04, 0x08

_FABRICS, _GET_LOG = 0x7F, 0x02
_SET_PROPERTY, _CONNECT, _GET_PROPERTY = 0x00, 0x01, 0x04
_CONFIGURATION, _STATUS = 0x14, 0x1C
_ENABLED = 0x00460001  # entries of 64 and 16 bytes, and the enable bit
_READY, _FATAL = 1, 2
_IN_CAPSULE, _BY_TRANSPORT = 0x01, 0x5A
_USES_SGL = 0x40
_ANY_CONTROLLER = 0xFFFF
_QUEUE_ENTRIES = 31
_MAX_ALIGNMENT = 31  # in units of 4 bytes, less one

_DISCOVERY_LOG = 0x70
_ENTRY_BYTES = 1024
_READ_BYTES = 4096
_MAX_ENTRIES = 256
_MAX_PDU = _READ_BYTES + 1024
_LOG_ATTEMPTS = 3
_TCP, _IPV4, _IPV6, _NVM_SUBSYSTEM = 3, 1, 2, 2
_MAX_PORT = 65535
_READY_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """A portal of a subsystem.

    Attributes:
        nqn: of the subsystem.
        address: an IPv4 or IPv6 address.
        port: for volumes.
    """

    nqn: str
    address: str
    port: int


def discover(address: str, port: int, host: HostPair, *, seconds: float) -> tuple[Entry, ...]:
    """The portals that a discovery service lists for this host; those of other transports are left out.

    Args:
        address: the IP address of the service.
        port: its port.
        host: the identity of this host.
        seconds: the time for everything.

    Raises:
        ConnectFailed: the service cannot be reached.
        Unavailable: it refuses this host, gives an answer that is not one, or does not answer in time.
    """
    until = time.monotonic() + seconds
    where = f"the discovery service at {address} port {port}"
    try:
        connection = socket.create_connection((address, port), timeout=seconds)
    except OSError as error:
        raise ConnectFailed(f"{where} cannot be reached: {error.strerror or error}") from error
    try:
        with connection:
            return _Session(connection, until).entries(host)
    except (OSError, EOFError, struct.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Unavailable(f"{where} gave no list: {reason}") from error


class _ProtocolError(OSError):
    """The other side sent something that the protocol does not allow, or refused a command."""


@dataclass(frozen=True, slots=True)
class _Pdu:
    """A message of the transport. ``body`` is all that follows its first 8 bytes."""

    type: int
    flags: int
    data_offset: int
    body: bytes

    @property
    def data(self) -> bytes:
        return self.body[self.data_offset - _HEADER.size :]


class _Session:
    """One session with a discovery service, on a connected socket."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        self._socket = connection
        self._until = until
        self._command = 0
        self._alignment = 4

    def entries(self, host: HostPair) -> tuple[Entry, ...]:
        self._initialize()
        self._connect(host)
        self._enable()
        for _ in range(_LOG_ATTEMPTS):
            before = _Head.of(self._log(0, _ENTRY_BYTES))
            found = self._all(before.entries)
            if _Head.of(self._log(0, _ENTRY_BYTES)) == before:
                return found
        raise _ProtocolError("its list changed while it was read")

    def _all(self, count: int) -> tuple[Entry, ...]:
        found = []
        for first in range(0, count, _READ_BYTES // _ENTRY_BYTES):
            length = min((count - first) * _ENTRY_BYTES, _READ_BYTES)
            data = self._log((1 + first) * _ENTRY_BYTES, length)
            for begin in range(0, length, _ENTRY_BYTES):
                entry = _entry(data[begin : begin + _ENTRY_BYTES])
                if entry is not None:
                    found.append(entry)
        return tuple(dict.fromkeys(found))

    def _initialize(self) -> None:
        self._send(_IC_REQUEST, _IC_BYTES, 0, bytes(_IC_BYTES - _HEADER.size))
        answer = self._receive()
        if answer.type != _IC_RESPONSE or len(answer.body) != _IC_BYTES - _HEADER.size:
            raise _ProtocolError(f"it answered with a message of type {answer.type}, so it is not NVMe/TCP")
        version, alignment, digests = struct.unpack_from("<HBB", answer.body)
        if version or digests or alignment > _MAX_ALIGNMENT:
            raise _ProtocolError("it wants a version or digests that were not offered")
        self._alignment = (alignment + 1) * 4

    def _connect(self, host: HostPair) -> None:
        data = host_id_bytes(host.host_id) + struct.pack("<H", _ANY_CONTROLLER)
        data = data.ljust(256, b"\0") + SERVICE.encode().ljust(256, b"\0")
        data = (data + host.nqn.encode().ljust(256, b"\0")).ljust(1024, b"\0")
        self._fabrics(_CONNECT, struct.pack("<HHHBBI", 0, 0, _QUEUE_ENTRIES, 0, 0, 0), data)

    def _enable(self) -> None:
        self._fabrics(_SET_PROPERTY, struct.pack("<BxxxIQ", 0, _CONFIGURATION, _ENABLED))
        while True:
            status = self._fabrics(_GET_PROPERTY, struct.pack("<BxxxI", 0, _STATUS))
            if status & _FATAL:
                raise _ProtocolError("it reports a fatal error")
            if status & _READY:
                return
            time.sleep(_READY_PAUSE_SECONDS)

    def _log(self, offset: int, length: int) -> bytes:
        """A part of the discovery log."""
        tail = struct.pack("<BBHIQ", _DISCOVERY_LOG, 0, length // 4 - 1, 0, offset)
        data = self._run(_GET_LOG, 0, tail, b"", length)[1]
        if len(data) != length:
            raise _ProtocolError(f"it sent {len(data)} of {length} bytes")
        return data

    def _fabrics(self, kind: int, tail: bytes, data: bytes = b"") -> int:
        return self._run(_FABRICS, kind, tail, data, 0)[0]

    def _run(self, opcode: int, nsid: int, tail: bytes, data: bytes, expected: int) -> tuple[int, bytes]:
        """Run a command. Returns the number and the data of its answer.

        Raises:
            _ProtocolError: it was refused, or the answer is not one.
        """
        self._command += 1
        kind = _IN_CAPSULE if data else _BY_TRANSPORT
        descriptor = struct.pack("<QI3xB", 0, len(data) or expected, kind)
        entry = struct.pack("<BBHI16x", opcode, _USES_SGL, self._command, nsid) + descriptor
        entry += tail.ljust(64 - len(entry), b"\0")
        if data:
            offset = -(-_COMMAND_BYTES // self._alignment) * self._alignment
            entry += bytes(offset - _COMMAND_BYTES) + data
            self._send(_COMMAND, _COMMAND_BYTES, offset, entry)
        else:
            self._send(_COMMAND, _COMMAND_BYTES, 0, entry)
        return self._answer(expected)

    def _answer(self, expected: int) -> tuple[int, bytes]:
        received = b""
        while True:
            pdu = self._receive()
            if pdu.type == _DATA:
                received += self._data(pdu, len(received))
                if len(received) > expected:
                    raise _ProtocolError("it sent more data than was asked for")
                if pdu.flags & _LAST and pdu.flags & _NO_RESPONSE:
                    return 0, received
            elif pdu.type == _RESPONSE and len(pdu.body) == _RESPONSE_BYTES - _HEADER.size:
                number, command, status = struct.unpack("<Q4xHH", pdu.body)
                if command != self._command:
                    raise _ProtocolError("it answered another command")
                if status >> 1:
                    raise _ProtocolError(f"it refused with status {status >> 1 & 0x7FF:#x}")
                return number, received
            else:
                raise _ProtocolError(f"it sent an unexpected message of type {pdu.type}")

    def _data(self, pdu: _Pdu, offset: int) -> bytes:
        if pdu.data_offset < _DATA_HEADER_BYTES or len(pdu.body) < _DATA_HEADER_BYTES - _HEADER.size:
            raise _ProtocolError("it sent data without their header")
        command, at, length = struct.unpack_from("<HxxII", pdu.body)
        if command != self._command or at != offset or length != len(pdu.data):
            raise _ProtocolError("it sent data that were not asked for")
        return pdu.data

    def _send(self, kind: int, header: int, data_offset: int, rest: bytes) -> None:
        self._limit()
        self._socket.sendall(_HEADER.pack(kind, 0, header, data_offset, _HEADER.size + len(rest)) + rest)

    def _receive(self) -> _Pdu:
        kind, flags, _, data_offset, length = _HEADER.unpack(self._exactly(_HEADER.size))
        if not _HEADER.size <= length <= _MAX_PDU:
            raise _ProtocolError(f"it sent a message of {length} bytes")
        return _Pdu(kind, flags, data_offset, self._exactly(length - _HEADER.size))

    def _exactly(self, length: int) -> bytes:
        received = bytearray()
        while len(received) < length:
            self._limit()
            part = self._socket.recv(length - len(received))
            if not part:
                raise EOFError("it closed the connection")
            received += part
        return bytes(received)

    def _limit(self) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("it did not answer in time")
        self._socket.settimeout(left)


@dataclass(frozen=True, slots=True)
class _Head:
    """The beginning of a discovery log: a number that changes with it, and how many entries it has."""

    generation: int
    entries: int

    @classmethod
    def of(cls, data: bytes) -> Self:
        generation, entries, form = struct.unpack_from("<QQH", data)
        if form or entries > _MAX_ENTRIES:
            raise _ProtocolError(f"its list has {entries} entries in form {form}")
        return cls(generation, entries)


def _entry(data: bytes) -> Entry | None:
    """An entry of the log; None for another kind of entry, or one that is malformed."""
    transport, family, kind = data[:3]
    port, nqn, address = (_string(data[begin:end]) for begin, end in ((32, 64), (256, 512), (512, 768)))
    if (transport, kind) != (_TCP, _NVM_SUBSYSTEM) or family not in (_IPV4, _IPV6) or not is_nqn(nqn):
        return None
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    usable = port.isascii() and port.isdigit() and len(port) <= len(str(_MAX_PORT))
    if not usable or not 0 < int(port) <= _MAX_PORT or "%" in address:
        return None
    return Entry(nqn, str(parsed), int(port))


def _string(data: bytes) -> str:
    return data.rstrip(b"\0 ").decode("ascii", errors="replace")
