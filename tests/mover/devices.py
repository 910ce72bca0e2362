"""Loop devices over sparse files, and what is on them."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.units import KIB
from tests.commands import output_of


@dataclass(frozen=True)
class Loop:
    """A loop device and its file."""

    path: Path
    file: Path

    def content(self) -> bytes:
        """All of it, from the device."""
        output_of(["blockdev", "--flushbufs", self.path])
        return self.path.read_bytes()

    def put(self, data: bytes, offset: int) -> None:
        """Write to the device, durably."""
        with self.path.open("r+b", buffering=0) as device:
            os.pwrite(device.fileno(), data, offset)
            os.fsync(device.fileno())


@contextlib.contextmanager
def loop(file: Path, size: int) -> Iterator[Loop]:
    """A loop device of ``size`` bytes, which is empty."""
    with file.open("xb") as created:
        created.truncate(size)
    device = Path(output_of(["losetup", "--find", "--show", file]))
    output_of(["blockdev", "--setrw", device])
    try:
        yield Loop(device, file)
    finally:
        output_of(["losetup", "--detach", device])


def sparse(size: int, parts: dict[int, int], seed: int = 1) -> bytes:
    """Zeros with random data: for each offset the number of bytes."""
    content = bytearray(size)
    source = random.Random(seed)  # noqa: S311 - test data
    for offset, length in parts.items():
        content[offset : offset + length] = source.randbytes(length)
    return bytes(content)


BOOT_SECTOR = bytes(510) + b"\x55\xaa"
"""The first sector of a disk with a partition table that has no partition."""


def disk(size: int, parts: dict[int, int], seed: int = 1) -> bytes:
    """The same with a partition table, so that it is known as a RAW disk."""
    return BOOT_SECTOR + sparse(size, parts, seed)[len(BOOT_SECTOR) :]


SOME_DATA = {4 * KIB: 100 * KIB, 5000 * KIB: 300 * KIB, 9000 * KIB: KIB}
