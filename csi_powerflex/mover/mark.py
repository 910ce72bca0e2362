"""The mark of a job on its target, in the first block of the device.

The mark says which job began to write the device, from which source, and how far it is. The first block of
the source is written last, over the mark. So a device that is not complete never looks like a disk, and a
job knows its own target. The mark fits into one sector, which a device writes whole or not at all.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace

import msgspec

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.mover.disk import BLOCK, SECTOR

_MAGIC = b"csi-powerflex mover 1\n\0\0"
_DIGEST_BYTES = 32
_JOB = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Job:
    """What a target is written for.

    Attributes:
        name: the name of the job, which no other job ever has, such as the UID of an object.
        source: what identifies the content of the source, in any form.
    """

    name: str
    source: str

    @classmethod
    def parse(cls, name: str, source: str) -> Job:
        """Check the name of a job.

        Raises:
            InvalidArgument: it has another form.
        """
        if _JOB.fullmatch(name) is None:
            raise InvalidArgument(
                f"the job {name!r} is not usable; give at most 63 letters, digits, dots, dashes and "
                "underscores"
            )
        return cls(name, source)


@dataclass(frozen=True, slots=True)
class Mark:
    """The mark of a job.

    Attributes:
        job: the name of the job.
        source: the SHA-256 of what identifies the source, in hexadecimal form.
        size: the size of the source in bytes.
        done: all before this offset is written and durable, except the first block.
    """

    job: str
    source: str
    size: int
    done: int

    @classmethod
    def of(cls, job: Job, size: int) -> Mark:
        """The mark of a job that has written nothing yet."""
        return cls(job.name, hashlib.sha256(job.source.encode()).hexdigest(), size, 0)

    def at(self, done: int) -> Mark:
        """The mark of the same job, when it is farther."""
        return replace(self, done=done)

    def is_of(self, other: Mark) -> bool:
        """Whether both are of the same job and source."""
        return replace(self, done=other.done) == other

    def block(self) -> bytes:
        """The mark as the first block of a device."""
        content = msgspec.json.encode(self)
        if len(_MAGIC) + _DIGEST_BYTES + len(content) > SECTOR:
            raise AssertionError("a mark is longer than a sector")
        return (_MAGIC + hashlib.sha256(content).digest() + content).ljust(BLOCK, b"\0")

    @classmethod
    def read(cls, block: bytes) -> Mark | None:
        """The mark in the first block of a device; None if it has no mark, or a damaged one."""
        if not block.startswith(_MAGIC):
            return None
        digest = block[len(_MAGIC) : len(_MAGIC) + _DIGEST_BYTES]
        content = block[len(_MAGIC) + _DIGEST_BYTES : SECTOR].rstrip(b"\0")
        if hashlib.sha256(content).digest() != digest:
            return None
        try:
            return msgspec.json.decode(content, type=cls)
        except msgspec.DecodeError:
            return None
