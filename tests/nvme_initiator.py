"""A small NVMe/TCP host in user space: enough to test a target without a kernel that has NVMe/TCP."""

from __future__ import annotations

import contextlib
import socket
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

DISCOVERY_NQN = "nqn.2014-08.org.nvmexpress.discovery"
BLOCK = 512
FABRICS, ADMIN_EVENT = 0x7F, 0x0C

_COMMON = struct.Struct("<BBBBI")
_IN_CAPSULE = 8192
_STATUS_MASK = 0x7FF


def hostnqn(host_uuid: str) -> str:
    """The usual host NQN of a UUID."""
    return f"nqn.2014-08.org.nvmexpress:uuid:{host_uuid}"


class Failed(Exception):
    """A command ended with a status. ``code`` is the status without the bit that says: do not retry."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status:#x}")
        self.status = status
        self.code = status & _STATUS_MASK
        self.final = bool(status & 0x4000)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """An entry of the discovery log."""

    address: str
    port: int
    nqn: str
    family: int


@dataclass(slots=True)
class Completion:
    """The end of a command."""

    result: int
    status: int
    data: bytes = b""


@dataclass(slots=True)
class Sent:
    """A command on its way. ``out`` is the data that the target may still ask for."""

    id: int
    out: bytes = b""
    data: bytearray = field(default_factory=bytearray)


class Connection:
    """One TCP connection with the NVMe/TCP handshake done: a queue as soon as Connect was sent."""

    def __init__(self, address: str, port: int, *, timeout: float = 30) -> None:
        self.socket = socket.create_connection((address, port), timeout)
        self._next = 0
        self._sent: dict[int, Sent] = {}
        self._ended: dict[int, Completion] = {}
        try:
            self.socket.sendall(_COMMON.pack(0, 0, 128, 0, 128) + bytes(120))
            kind, _, _, _ = self.receive_pdu()
            assert kind == 1, f"the target answered with a PDU of type {kind}"
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.socket.close()

    # --- PDUs ----------------------------------------------------------------------------------------

    def _receive(self, length: int) -> bytes:
        received = b""
        while len(received) < length:
            part = self.socket.recv(length - len(received))
            if not part:
                raise EOFError("the target has closed the connection")
            received += part
        return received

    def receive_pdu(self) -> tuple[int, bytes, bytes, int]:
        """The next PDU as type, header, data and flags."""
        kind, flags, header_length, data_offset, length = _COMMON.unpack(self._receive(8))
        body = self._receive(length - 8)
        data = body[data_offset - 8 :] if data_offset else b""
        return kind, body[: header_length - 8], data, flags

    def _take(self) -> None:
        """Handle the next PDU."""
        kind, header, data, _ = self.receive_pdu()
        match kind:
            case 5:
                result, _, _, command_id, status = struct.unpack("<QHHHH", header)
                sent = self._sent.pop(command_id)
                self._ended[command_id] = Completion(result, status >> 1, bytes(sent.data))
            case 7:
                self._sent[struct.unpack_from("<H", header)[0]].data += data
            case 9:
                command_id, tag, offset, length, _ = struct.unpack("<HHIII", header)
                self.send_data(command_id, tag, offset, self._sent[command_id].out[offset : offset + length])
            case _:
                raise EOFError(f"the target ended the connection (PDU {kind}, {header.hex()})")

    def send_data(self, command_id: int, tag: int, offset: int, data: bytes) -> None:
        header = struct.pack("<HHIII", command_id, tag, offset, len(data), 0)
        self.socket.sendall(_COMMON.pack(6, 4, 24, 24, 24 + len(data)) + header + data)

    # --- commands ------------------------------------------------------------------------------------

    def send(
        self,
        opcode: int,
        namespace: int = 0,
        tail: bytes = b"",
        *,
        out: bytes = b"",
        expect: int = 0,
        inside: bool | None = None,
    ) -> Sent:
        """Send a command. ``tail``: its last 24 bytes, ``out``: its data, ``expect``: the answer's length."""
        self._next = self._next % 0xFFFE + 1
        sent = Sent(self._next, out)
        self._sent[sent.id] = sent
        inside = bool(out) and len(out) <= _IN_CAPSULE if inside is None else inside
        descriptor = struct.pack("<QI3xB", 0, len(out) or expect, 0x01 if inside else 0x5A)
        entry = struct.pack("<BBHI16x", opcode, 0x40, sent.id, namespace) + descriptor + tail.ljust(24, b"\0")
        data = out if inside else b""
        self.socket.sendall(_COMMON.pack(4, 0, 72, 72 if data else 0, 72 + len(data)) + entry + data)
        return sent

    def wait(self, sent: Sent) -> Completion:
        """The end of a command. Data that the target asks for is sent meanwhile.

        Raises:
            Failed: the status says so.
            EOFError, OSError: the connection has ended.
        """
        while sent.id not in self._ended:
            self._take()
        completion = self._ended.pop(sent.id)
        if completion.status:
            raise Failed(completion.status)
        return completion

    def has_ended(self, sent: Sent) -> bool:
        """Whether the end of a command has been received."""
        return sent.id in self._ended

    def ask(self, opcode: int, namespace: int = 0, tail: bytes = b"", **data: bytes | int) -> Completion:
        """Send a command and wait for its end."""
        return self.wait(self.send(opcode, namespace, tail, **data))  # type: ignore[arg-type]  # out or expect

    def connect(
        self,
        subsystem: str,
        host: str,
        host_id: str,
        *,
        queue: int = 0,
        controller: int = 0xFFFF,
        kato: int = 0,
    ) -> int:
        """Make the connection a queue. Returns the id of the NVMe controller."""
        data = struct.pack(
            "<16sH238x256s256s256x", uuid.UUID(host_id).bytes, controller, subsystem.encode(), host.encode()
        )
        tail = struct.pack("<HHHBBI", 0, queue, 127, 0, 0, kato)
        return self.ask(FABRICS, 1, tail, out=data).result & 0xFFFF

    # --- the admin queue -----------------------------------------------------------------------------

    def enable(self) -> None:
        """Enable the NVMe controller, as a host does before it connects queues for I/O."""
        self.ask(FABRICS, 0, struct.pack("<BBHIQ", 0, 0, 0, 0x14, 0x460001))

    def property(self, offset: int) -> int:
        return self.ask(FABRICS, 4, struct.pack("<BBHI", 1, 0, 0, offset)).result

    def identify(self, kind: int, namespace: int = 0) -> bytes:
        return self.ask(0x06, namespace, bytes((kind,)), expect=4096).data

    def log(self, page: int, length: int, *, offset: int = 0, retain: bool = False) -> bytes:
        words = length // 4 - 1
        tail = struct.pack("<BBHHHQ", page, 0x80 if retain else 0, words & 0xFFFF, words >> 16, 0, offset)
        return self.ask(0x02, 0xFFFFFFFF, tail, expect=length).data


class Initiator:
    """A host that connects to one portal. Use it as a context manager.

    ``connect`` opens the admin queue and one queue for I/O. ``discover`` needs neither.
    """

    def __init__(self, address: str, port: int, hostnqn: str, hostid: str) -> None:
        self.address, self.port, self.hostnqn, self.hostid = address, port, hostnqn, hostid
        self.controller_id = 0
        self._admin: Connection | None = None
        self._io: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def admin(self) -> Connection:
        assert self._admin is not None, "connect was not called"
        return self._admin

    @property
    def io(self) -> Connection:
        assert self._io is not None, "connect was not called"
        return self._io

    def connect(self, nqn: str, *, kato: int = 0, io: bool = True) -> Self:
        """Connect to a subsystem: the admin queue, and one queue for I/O if ``io``.

        Raises:
            Failed: the target refuses, such as 0x184 for an unknown host.
            OSError, EOFError: it is not there, or ends the connection.
        """
        try:
            self._admin = Connection(self.address, self.port)
            self.controller_id = self._admin.connect(nqn, self.hostnqn, self.hostid, kato=kato)
            self._admin.enable()
            if io:
                self._io = self.queue(nqn, 1)
        except BaseException:
            self.close()
            raise
        return self

    def queue(self, nqn: str, number: int) -> Connection:
        """One more queue for I/O."""
        connection = Connection(self.address, self.port)
        try:
            connection.connect(nqn, self.hostnqn, self.hostid, queue=number, controller=self.controller_id)
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """End the connections. The target sees that the host has left."""
        for connection in (self._io, self._admin):
            if connection is not None:
                connection.close()
        self._admin = self._io = None

    def discover(self) -> list[LogEntry]:
        """The discovery log that the target shows to this host."""
        with contextlib.closing(Connection(self.address, self.port)) as connection:
            connection.connect(DISCOVERY_NQN, self.hostnqn, self.hostid)
            connection.enable()
            header = connection.log(0x70, 1024)
            (count,) = struct.unpack_from("<Q", header, 8)
            return list(_entries(connection.log(0x70, 1024 * (count + 1))[1024:]))

    # --- namespaces ----------------------------------------------------------------------------------

    def namespaces(self) -> list[int]:
        """The numbers of the NVMe namespaces that the host sees."""
        return [number for number in struct.unpack("<1024I", self.admin.identify(2)) if number]

    def nguid(self, namespace: int) -> str:
        """The NGUID of a namespace, 32 hexadecimal digits."""
        return self.admin.identify(3, namespace)[4:20].hex()

    def size(self, namespace: int) -> int:
        """The size of a namespace in bytes."""
        blocks: int = struct.unpack_from("<Q", self.admin.identify(0, namespace))[0]
        return blocks * BLOCK

    def is_read_only(self, namespace: int) -> bool:
        """Whether the target says that the namespace is write protected."""
        return bool(self.admin.identify(0, namespace)[99] & 1)

    # --- events --------------------------------------------------------------------------------------

    def request_event(self) -> Sent:
        """Ask for the next event. ``admin.wait`` then waits for it."""
        return self.admin.send(ADMIN_EVENT)

    def changed(self) -> list[int]:
        """The namespaces that changed since this was last asked; then the next event can come."""
        return [number for number in struct.unpack("<1024I", self.admin.log(4, 4096)) if number]

    # --- I/O -----------------------------------------------------------------------------------------

    def read(self, namespace: int, offset: int, length: int) -> bytes:
        """Read bytes. Both numbers are multiples of 512."""
        return self.io.ask(0x02, namespace, _blocks(offset, length), expect=length).data

    def write(self, namespace: int, offset: int, data: bytes) -> None:
        """Write bytes. ``offset`` and the length are multiples of 512."""
        self.io.ask(0x01, namespace, _blocks(offset, len(data)), out=data)

    def flush(self, namespace: int) -> None:
        """Make the target write its cache."""
        self.io.ask(0x00, namespace)

    def zero(self, namespace: int, offset: int, length: int) -> None:
        """Write zeros without sending them."""
        self.io.ask(0x08, namespace, _blocks(offset, length))

    def discard(self, namespace: int, offset: int, length: int) -> None:
        """Free a range of blocks."""
        extent = struct.pack("<IIQ", 0, length // BLOCK, offset // BLOCK)
        self.io.ask(0x09, namespace, struct.pack("<II", 0, 4), out=extent)


def _blocks(offset: int, length: int) -> bytes:
    return struct.pack("<QH", offset // BLOCK, length // BLOCK - 1)


def _entries(log: bytes) -> Iterator[LogEntry]:
    for start in range(0, len(log), 1024):
        entry = log[start : start + 1024]
        yield LogEntry(_text(entry[512:768]), int(_text(entry[32:64])), _text(entry[256:512]), entry[1])


def _text(field_: bytes) -> str:
    return field_.rstrip(b"\0 ").decode()
