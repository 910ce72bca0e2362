"""A discovery service that answers as a test wants it, also in ways that the protocol does not allow."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

_HEADER = struct.Struct("<BBBBI")
_ENTRY = 1024


def entry(
    nqn: str, address: str, port: str | int, *, transport: int = 3, family: int = 1, kind: int = 2
) -> bytes:
    """An entry of the log."""
    data = bytearray(_ENTRY)
    data[:3] = bytes((transport, family, kind))
    struct.pack_into("<32s", data, 32, str(port).encode().ljust(32))
    struct.pack_into("<256s256s", data, 256, nqn.encode(), address.encode().ljust(256))
    return bytes(data)


def pdu(kind: int, body: bytes, *, flags: int = 0, offset: int = 0, length: int | None = None) -> bytes:
    """A message of the transport."""
    return _HEADER.pack(kind, flags, 8, offset, 8 + len(body) if length is None else length) + body


def completion(command: int, *, number: int = 0, status: int = 0) -> bytes:
    """The end of a command."""
    return pdu(5, struct.pack("<Q4xHH", number, command, status << 1))


@dataclass
class DiscoveryService:
    """The service. ``answer`` can replace its answer to a command.

    Attributes:
        entries: the entries of its log.
        count: the number of entries that it tells; None for the true one.
        generation: a number that it tells; it grows by ``grow`` with each reading.
        hosts: the NQN and the id of each host that has connected.
        answer: gets the opcode, the type of a fabrics command, and the id of the command. Its result is sent,
            unless it is None.
        greeting: the first answer; None for the right one.
        alignment: what it wants of data in a message, in units of 4 bytes, less one.
    """

    entries: Sequence[bytes] = ()
    count: int | None = None
    generation: int = 1
    grow: int = 0
    ready_after: int = 0
    hosts: list[tuple[str, bytes]] = field(default_factory=list)
    answer: Callable[[int, int, int], bytes | None] = lambda _opcode, _kind, _command: None
    greeting: bytes | None = None
    alignment: int = 0
    separate_end: bool = True
    port: int = 0

    def serve(self, connection: socket.socket) -> None:
        """Serve one session."""
        with connection, contextlib.suppress(OSError, EOFError):
            self._exactly(connection, 128)
            right = pdu(1, struct.pack("<HBBI", 0, self.alignment, 0, 8192).ljust(120, b"\0"))
            connection.sendall(self.greeting if self.greeting is not None else right)
            while True:
                _, _, _, offset, length = _HEADER.unpack(self._exactly(connection, 8))
                body = self._exactly(connection, length - 8)
                connection.sendall(self._answered(body, offset))

    def _answered(self, body: bytes, offset: int) -> bytes:
        opcode, _, command, kind = struct.unpack_from("<BBHB", body)
        replaced = self.answer(opcode, kind, command)
        if replaced is not None:
            return replaced
        if opcode == 0x7F:
            if kind == 1:
                assert offset % ((self.alignment + 1) * 4) == 0
                data = body[offset - 8 :]
                self.hosts.append((data[512:768].rstrip(b"\0").decode(), data[:16]))
            ready = 0
            if kind == 4:
                ready = int(self.ready_after <= 0)
                self.ready_after -= 1
            return completion(command, number=ready)
        length = 4 * (struct.unpack_from("<H", body, 42)[0] + 1)
        (start,) = struct.unpack_from("<Q", body, 48)
        count = len(self.entries) if self.count is None else self.count
        header = struct.pack("<QQH", self.generation, count, 0).ljust(_ENTRY, b"\0")
        self.generation += self.grow
        data = (header + b"".join(self.entries))[start : start + length]
        return self.data(command, data)

    def data(self, command: int, data: bytes) -> bytes:
        """Data for a command in two messages, and its end."""
        half = len(data) // 2
        first = struct.pack("<HHIII", command, 0, 0, half, 0) + data[:half]
        second = struct.pack("<HHIII", command, 0, half, len(data) - half, 0) + data[half:]
        flags = 0x04 if self.separate_end else 0x0C
        end = completion(command) if self.separate_end else b""
        return pdu(7, first, offset=24) + pdu(7, second, offset=24, flags=flags) + end

    @staticmethod
    def _exactly(connection: socket.socket, length: int) -> bytes:
        data = b""
        while len(data) < length:
            part = connection.recv(length - len(data))
            if not part:
                raise EOFError
            data += part
        return data


@contextlib.contextmanager
def listening(service: DiscoveryService, address: str = "127.0.0.1") -> Iterator[DiscoveryService]:
    """The service listens during the block, at ``service.port``."""
    with socket.create_server((address, 0)) as server:
        service.port = server.getsockname()[1]

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    threading.Thread(target=service.serve, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield service
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
