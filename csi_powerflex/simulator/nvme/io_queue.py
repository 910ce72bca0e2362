"""The commands of a queue for I/O: reads and writes of the volumes' files."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

from csi_powerflex.simulator.faults import Plan
from csi_powerflex.simulator.hosts import sparse
from csi_powerflex.simulator.nvme.association import Association
from csi_powerflex.simulator.nvme.command import DONE, Answer, Command, Io, Refused, Status, final
from csi_powerflex.simulator.nvme.namespaces import BLOCK, Namespace, Namespaces, Unmapped
from csi_powerflex.simulator.nvme.pdu import MAX_TRANSFER

_ALL_NAMESPACES = 0xFFFFFFFF
_DEALLOCATE = 0b100
_RANGE = struct.Struct("<4xIQ")
_ROUTES = {
    Io.READ: "Nvme.read",
    Io.WRITE: "Nvme.write",
    Io.FLUSH: "Nvme.flush",
    Io.WRITE_ZEROES: "Nvme.discard",
    Io.DATASET_MANAGEMENT: "Nvme.discard",
}

Handler = Callable[["IoQueue", Namespace, Command, bytes], Answer]


class IoQueue:
    """A queue for I/O of one association."""

    def __init__(self, namespaces: Namespaces, association: Association, queue_id: int) -> None:
        self._namespaces = namespaces
        self.association = association
        self.id = queue_id

    def route(self, command: Command) -> str:
        """The name of the step, for faults."""
        return next((name for opcode, name in _ROUTES.items() if opcode == command.opcode), "Nvme.io")

    def volume_of(self, command: Command) -> str:
        """The id of the volume that a command is about; empty if there is none."""
        namespace = self._of_host().get(command.namespace_id)
        return namespace.volume_id if namespace is not None else ""

    def execute(self, command: Command, data: bytes, _plan: Plan) -> Answer:
        """Run a command.

        Raises:
            Refused: the command fails.
        """
        handler = self._COMMANDS.get(command.opcode)
        if handler is None:
            raise final(Status.INVALID_OPCODE)
        if command.opcode == Io.FLUSH and command.namespace_id == _ALL_NAMESPACES:
            self._flush_all(command)
            return DONE
        namespace = self._of_host().get(command.namespace_id)
        if namespace is None:
            raise final(Status.INVALID_NAMESPACE)
        try:
            return handler(self, namespace, command, data)
        except Unmapped:
            raise final(Status.INVALID_NAMESPACE) from None
        except OSError as error:
            raise Refused(Status.INTERNAL_ERROR) from error

    def _flush_all(self, command: Command) -> None:
        for namespace in self._of_host().values():
            with contextlib.suppress(Unmapped):
                self._flush(namespace, command, b"")

    def _of_host(self) -> Mapping[int, Namespace]:
        return self._namespaces.of_host(self.association.initiator.host_id)

    def _read(self, namespace: Namespace, command: Command, _data: bytes) -> Answer:
        start, length = _range(namespace, command)
        if length > MAX_TRANSFER or length != command.length:
            raise final(Status.DATA_LENGTH_INVALID)
        with namespace.opened() as file:
            return Answer(data=os.pread(file, length, start).ljust(length, b"\0"))

    def _write(self, namespace: Namespace, command: Command, data: bytes) -> Answer:
        start, length = _range(namespace, command)
        if length != len(data):
            raise final(Status.DATA_LENGTH_INVALID)
        with _writable(namespace) as file:
            _write_all(file, data, start)
        return DONE

    def _write_zeroes(self, namespace: Namespace, command: Command, _data: bytes) -> Answer:
        start, length = _range(namespace, command)
        with _writable(namespace) as file:
            sparse.punch_hole(file, start, length)
        return DONE

    def _deallocate(self, namespace: Namespace, command: Command, data: bytes) -> Answer:
        count = (command.dword(10) & 0xFF) + 1
        if len(data) < count * _RANGE.size:
            raise final(Status.DATA_LENGTH_INVALID)
        if not command.dword(11) & _DEALLOCATE:
            return DONE  # it only describes how the host will use the blocks
        ranges = [_RANGE.unpack_from(data, number * _RANGE.size) for number in range(count)]
        for blocks, first in ranges:
            _check(namespace, first, blocks)
        with _writable(namespace) as file:
            for blocks, first in ranges:
                if blocks:
                    sparse.punch_hole(file, first * BLOCK, blocks * BLOCK)
        return DONE

    def _flush(self, namespace: Namespace, _command: Command, _data: bytes) -> Answer:
        with namespace.opened() as file:
            os.fdatasync(file)
        return DONE

    _COMMANDS: ClassVar[dict[int, Handler]] = {
        Io.READ: _read,
        Io.WRITE: _write,
        Io.WRITE_ZEROES: _write_zeroes,
        Io.DATASET_MANAGEMENT: _deallocate,
        Io.FLUSH: _flush,
    }


@contextlib.contextmanager
def _writable(namespace: Namespace) -> Iterator[int]:
    """The file of a namespace for one write.

    Raises:
        Refused: the host may only read.
    """
    with namespace.opened() as file:
        if namespace.shape.read_only:
            raise final(Status.WRITE_PROTECTED)
        yield file


def _range(namespace: Namespace, command: Command) -> tuple[int, int]:
    """The bytes that a command names, as start and length."""
    first, blocks = command.qword(10), (command.dword(12) & 0xFFFF) + 1
    _check(namespace, first, blocks)
    return first * BLOCK, blocks * BLOCK


def _check(namespace: Namespace, first: int, blocks: int) -> None:
    if first + blocks > namespace.shape.size // BLOCK:
        raise final(Status.LBA_OUT_OF_RANGE)


def _write_all(file: int, data: bytes, start: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, start)
        view, start = view[written:], start + written
