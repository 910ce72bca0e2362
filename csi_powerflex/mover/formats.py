"""The format of an image, by its first bytes, and what in its header makes it unacceptable.

This module reads only headers, and opens no file that an image names. ``qemu-img`` is never asked for the
format: it takes each file that it does not know for a RAW disk, also a broken download.

Sources: docs/interop/qcow2.rst of QEMU; VMware's Virtual Disk Format 5.0.
"""

from __future__ import annotations

import enum
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.errors import Unavailable
from csi_powerflex.mover.disk import SECTOR
from csi_powerflex.mover.outcome import Refused
from csi_powerflex.units import TIB, readable

LARGEST = 64 * TIB
"""No disk is larger. PowerFlex volumes are not either."""

_HEAD = 128 * 1024


class Format(enum.StrEnum):
    """The formats of images that are accepted, and AUTO for the one that is found."""

    AUTO = "auto"
    RAW = "raw"
    QCOW2 = "qcow2"
    VMDK = "vmdk"


class Compression(enum.StrEnum):
    """How a whole image is compressed."""

    NONE = "none"
    GZIP = "gzip"
    XZ = "xz"
    ZSTD = "zstd"


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of an image says.

    Attributes:
        format: never AUTO.
        size: the virtual size in bytes.
    """

    format: Format
    size: int


_COMPRESSIONS = (
    (b"\x1f\x8b\x08", Compression.GZIP),
    (b"\xfd7zXZ\0", Compression.XZ),
    (b"\x28\xb5\x2f\xfd", Compression.ZSTD),
)

_CONVERT = "convert it to QCOW2 with qemu-img first"
# Offset, magic bytes, the name of the format, and what to do.
_REFUSED: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"LUKS\xba\xbe", "an encrypted disk (LUKS)", "decrypt it first; its key is not given to the mover"),
    (0, b"# Disk DescriptorFile", "a VMDK descriptor that names other files", _CONVERT),
    (0, b"COWD", "a VMDK of the old kind COWD", _CONVERT),
    (0, b"conectix", "a VHD image", _CONVERT),
    (0, b"vhdxfile", "a VHDX image", _CONVERT),
    (64, b"\x7f\x10\xda\xbe", "a VDI image", _CONVERT),
    (0, b"QED\0", "a QED image", _CONVERT),
    (0, b"WithoutFreeSpace", "a Parallels image", _CONVERT),
    (0, b"WithouFreSpacExt", "a Parallels image", _CONVERT),
    (0, b"BZh", "compressed with bzip2", "compress it with gzip, xz or zstd"),
    (0, b"PK\x03\x04", "a ZIP archive", "unpack it, and give the image in it"),
    (0, b"\x04\x22\x4d\x18", "compressed with lz4", "compress it with gzip, xz or zstd"),
    (257, b"ustar", "a tar archive, such as an OVA", "unpack it, and give the image in it"),
)
# Offset and magic bytes of what a RAW disk begins with: partition tables and filesystems.
_RAW: tuple[tuple[int, bytes], ...] = (
    (510, b"\x55\xaa"),
    (512, b"EFI PART"),
    (1080, b"\x53\xef"),
    (0, b"XFSB"),
    (65600, b"_BHRfS_M"),
    (32769, b"CD001"),
    (512, b"LABELONE"),
    (4086, b"SWAPSPACE2"),
)


def head_of(path: Path) -> bytes:
    """The begin of a file, as far as this module looks.

    Raises:
        Unavailable: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error


def length_of(path: Path) -> int:
    """The bytes of a file or device.

    Raises:
        Unavailable: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.seek(0, os.SEEK_END)
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error


def compression_of(head: bytes) -> Compression:
    """How a file with this begin is compressed."""
    return next((kind for magic, kind in _COMPRESSIONS if head.startswith(magic)), Compression.NONE)


def examine(head: bytes, *, wanted: Format, length: int, name: str) -> Header:
    """The format and virtual size of an image, if it is acceptable by its header.

    Args:
        head: the begin of the file, see ``head_of``.
        wanted: the format that was asked for. A RAW image without a known begin is accepted only if it was.
        length: the size of the file in bytes.
        name: the image, for messages.

    Raises:
        Refused: it is not acceptable.
    """
    if length == 0:
        raise Refused(f"{name} is empty; check where it comes from")
    found = _format_of(head, wanted=wanted, name=name)
    if wanted not in (Format.AUTO, found):
        raise Refused(f"{name} has the format {found}, and {wanted} was asked for; ask for {found} or auto")
    match found:
        case Format.QCOW2:
            size = _qcow2_size(head, name)
        case Format.VMDK:
            size = _vmdk_size(head, name)
        case _:
            size = _raw_size(length, name)
    if not 0 < size <= LARGEST:
        raise Refused(
            f"{name} says that its disk has {readable(size)}; a disk has 1 byte to {readable(LARGEST)}; "
            "the image is broken or hostile"
        )
    return Header(found, size)


def _format_of(head: bytes, *, wanted: Format, name: str) -> Format:
    if head.startswith(b"QFI\xfb"):
        return Format.QCOW2
    if head.startswith(b"KDMV"):
        return Format.VMDK
    for offset, magic, what, remedy in _REFUSED:
        if head.startswith(magic, offset):
            raise Refused(f"{name} is {what}, which is not accepted; {remedy}")
    if wanted is Format.RAW or any(head.startswith(magic, offset) for offset, magic in _RAW):
        return Format.RAW
    hint = "it begins like a web page or a text; " if head[:1] in (b"<", b"{") else ""
    raise Refused(
        f"{name} has no known format: it is no QCOW2 or VMDK image, and has neither a partition table nor "
        f"a known filesystem; {hint}if it is a RAW disk, ask for the format raw, with a checksum; else "
        "check the source"
    )


def _raw_size(length: int, name: str) -> int:
    if length % SECTOR:
        raise Refused(
            f"{name} has {length} bytes, and a RAW disk has whole sectors of {SECTOR} bytes; it may be "
            "truncated"
        )
    return length


_QCOW2 = struct.Struct(">4sIQIIQIIQQIIQ")
_INCOMPATIBLE = struct.Struct(">Q")
_DIRTY, _CORRUPT, _DATA_FILE = 1, 2, 4


def _qcow2_size(head: bytes, name: str) -> int:
    """The virtual size in the header of a QCOW2 image."""
    if len(head) < _QCOW2.size + _INCOMPATIBLE.size:
        raise Refused(f"{name} ends within the header of QCOW2; it is truncated")
    _, version, backing, _, _, size, crypt, _, _, _, _, snapshots, _ = _QCOW2.unpack_from(head)
    if version not in (2, 3):
        raise Refused(f"{name} is QCOW of version {version}, which is not accepted; {_CONVERT}")
    features = _INCOMPATIBLE.unpack_from(head, _QCOW2.size)[0] if version == 3 else 0
    problem = next(
        (
            text
            for found, text in (
                (backing, "it names a backing file, so it has only a part of the disk"),
                (features & _DATA_FILE, "its data is in another file"),
                (crypt, "it is encrypted"),
                (snapshots, f"it has {snapshots} internal snapshots"),
                (features & _CORRUPT, "it is marked as corrupt"),
                (features & _DIRTY, "it was not closed properly; repair it with qemu-img check -r all"),
            )
            if found
        ),
        None,
    )
    if problem is not None:
        raise Refused(f"{name} is not accepted: {problem}; make a plain image of it with qemu-img convert")
    return int(size)


_VMDK = struct.Struct("<4sIIQQQQIQQQB")
_CREATE_TYPE = re.compile(rb'^createType="([^"\n]*)"', re.MULTILINE)
_PARENT = re.compile(rb"^parentCID=([0-9a-fA-F]+)", re.MULTILINE)
_EXTENT = re.compile(rb"^(?:RW|RDONLY|NOACCESS) \d+ (\w+)", re.MULTILINE)
_ACCEPTED_TYPES = ("monolithicSparse", "streamOptimized")


def _vmdk_size(head: bytes, name: str) -> int:
    """The virtual size in the header of a VMDK image."""
    if len(head) < SECTOR:
        raise Refused(f"{name} ends within the header of VMDK; it is truncated")
    _, _, _, sectors, _, begin, length, *_ = _VMDK.unpack_from(head)
    # With a capacity of 0, qemu-img would follow the file names in the descriptor.
    if not sectors:
        raise Refused(f"{name} is a VMDK without a size, whose data is in other files; {_CONVERT}")
    if not begin or not length or (begin + length) * SECTOR > len(head):
        raise Refused(f"{name} is a VMDK without a descriptor near its begin, or truncated; {_CONVERT}")
    descriptor = head[begin * SECTOR : (begin + length) * SECTOR].split(b"\0", 1)[0].replace(b"\r\n", b"\n")
    kind = _CREATE_TYPE.search(descriptor)
    text = kind[1].decode("ascii", "replace") if kind else "none"
    if text not in _ACCEPTED_TYPES:
        raise Refused(
            f"{name} is a VMDK of the type {text}; accepted are {' and '.join(_ACCEPTED_TYPES)}; {_CONVERT}"
        )
    parent = _PARENT.search(descriptor)
    if parent is not None and parent[1].lower() != b"ffffffff":
        raise Refused(f"{name} is a VMDK with a parent, so it has only a part of the disk; {_CONVERT}")
    extents = _EXTENT.findall(descriptor)
    if extents != [b"SPARSE"]:
        raise Refused(
            f"{name} is a VMDK with {len(extents)} extents, and one sparse extent is accepted; {_CONVERT}"
        )
    return int(sectors) * SECTOR
