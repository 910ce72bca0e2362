"""Content that other software writes to disks."""

from __future__ import annotations

import struct
import uuid


def mbr() -> bytes:
    """A DOS partition table with one Linux partition."""
    entry = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0x83, b"\xff\xff\xff", 2048, 2048)
    return bytes(446) + entry + bytes(48) + b"\x55\xaa"


def luks(version: int) -> bytes:
    """The start of an encrypted device."""
    return b"LUKS\xba\xbe" + struct.pack(">H", version) + bytes(160) + str(uuid.uuid4()).encode() + bytes(4)
