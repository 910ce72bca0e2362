"""Commands and their completions, as the NVM Express specifications 2.0 (Base, NVM Command Set) say."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

DO_NOT_RETRY = 0x4000
"""The bit of a status that says that the same command fails again."""

_ENTRY = struct.Struct("<BBHI16xQI3xB6I")
_IN_CAPSULE_DATA = 0x01
_TO_TARGET = 1


class Fabrics(IntEnum):
    """The types of fabrics commands, whose opcode is ``FABRICS``."""

    PROPERTY_SET = 0x00
    CONNECT = 0x01
    PROPERTY_GET = 0x04


FABRICS = 0x7F


class Admin(IntEnum):
    """Opcodes of the admin queue."""

    GET_LOG_PAGE = 0x02
    IDENTIFY = 0x06
    ABORT = 0x08
    SET_FEATURES = 0x09
    GET_FEATURES = 0x0A
    ASYNCHRONOUS_EVENT = 0x0C
    KEEP_ALIVE = 0x18


class Io(IntEnum):
    """Opcodes of queues for I/O."""

    FLUSH = 0x00
    WRITE = 0x01
    READ = 0x02
    WRITE_ZEROES = 0x08
    DATASET_MANAGEMENT = 0x09


class Status(IntEnum):
    """Results of commands, with the status code type above the lowest 8 bits."""

    SUCCESS = 0x000
    INVALID_OPCODE = 0x001
    INVALID_FIELD = 0x002
    COMMAND_ID_CONFLICT = 0x003
    INTERNAL_ERROR = 0x006
    INVALID_NAMESPACE = 0x00B
    SEQUENCE_ERROR = 0x00C
    DATA_LENGTH_INVALID = 0x00F
    WRITE_PROTECTED = 0x020
    LBA_OUT_OF_RANGE = 0x080
    TOO_MANY_EVENT_REQUESTS = 0x105
    INVALID_LOG_PAGE = 0x109
    CONTROLLER_BUSY = 0x181
    INVALID_PARAMETERS = 0x182
    INVALID_HOST = 0x184


@dataclass(frozen=True, slots=True)
class Command:
    """An entry of a submission queue.

    ``length`` is the length of the data that the host gives or expects, in bytes. ``dwords`` are the last six
    32-bit words, which the specification counts from 10.
    """

    opcode: int
    id: int
    namespace_id: int
    offset: int
    length: int
    data_type: int
    dwords: tuple[int, ...]

    @classmethod
    def parse(cls, header: bytes) -> Command:
        """Read an entry of 64 bytes."""
        opcode, _, command_id, namespace_id, offset, length, data_type, *dwords = _ENTRY.unpack(header)
        return cls(opcode, command_id, namespace_id, offset, length, data_type, tuple(dwords))

    def dword(self, number: int) -> int:
        """The 32-bit word ``number``, from 10 to 15."""
        return self.dwords[number - 10]

    def qword(self, number: int) -> int:
        """The 64-bit word that starts at the 32-bit word ``number``."""
        return self.dword(number) | self.dword(number + 1) << 32

    @property
    def fabrics_type(self) -> int:
        """The type of a fabrics command. It stands where other commands have the namespace."""
        return self.namespace_id & 0xFF

    @property
    def gives_data(self) -> bool:
        """Whether the host sends data with the command. The lowest bits of an opcode say this."""
        kind = self.fabrics_type if self.opcode == FABRICS else self.opcode
        return kind & 3 == _TO_TARGET and self.length > 0

    @property
    def is_data_inside(self) -> bool:
        """Whether the data follows the command in the same PDU."""
        return self.data_type == _IN_CAPSULE_DATA


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a command: a status, the command-specific 64 bits, and data for the host."""

    status: int = Status.SUCCESS
    result: int = 0
    data: bytes | None = None


DONE = Answer()


class Refused(Exception):
    """A command fails with a status."""

    def __init__(self, status: int, result: int = 0) -> None:
        super().__init__(f"status {status:#x}")
        self.status = status
        self.result = result


def final(status: Status) -> Refused:
    """A failure that a repetition does not change."""
    return Refused(status | DO_NOT_RETRY)
