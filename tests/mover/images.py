"""Images, also hostile ones, made byte by byte or by qemu-img."""

from __future__ import annotations

import struct
from pathlib import Path

from csi_powerflex.units import GIB
from tests.commands import output_of


def qcow2_header(
    *,
    version: int = 3,
    backing: int = 0,
    size: int = GIB,
    crypt: int = 0,
    snapshots: int = 0,
    features: int = 0,
) -> bytes:
    """The begin of a QCOW2 image. Its tables are missing."""
    fixed = struct.pack(
        ">4sIQIIQIIQQIIQ", b"QFI\xfb", version, backing, 4, 16, size, crypt, 1, 0, 0, 1, snapshots, 0
    )
    return (fixed + struct.pack(">Q", features)).ljust(4096, b"\0")


def vmdk_header(
    *,
    sectors: int = GIB // 512,
    kind: str = "monolithicSparse",
    parent: str = "ffffffff",
    extents: tuple[str, ...] = ('RW 2097152 SPARSE "disk.vmdk"',),
    begin: int = 1,
) -> bytes:
    """The begin of a VMDK image with a descriptor."""
    header = struct.pack("<4sIIQQQQIQQQB", b"KDMV", 1, 3, sectors, 128, begin, 20, 512, 21, 26, 128, 0)
    lines = ["# Disk DescriptorFile", "version=1", f"parentCID={parent}", f'createType="{kind}"', *extents]
    return header.ljust(512, b"\0") + "\n".join(lines).encode().ljust(20 * 512, b"\0")


def converted(raw: Path, image: Path, form: str, *options: str) -> Path:
    """An image made of a RAW file by qemu-img."""
    output_of(["qemu-img", "convert", "-f", "raw", "-O", form, *options, raw, image])
    return image
