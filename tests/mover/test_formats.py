"""The format of images, by their first bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from csi_powerflex.errors import Unavailable
from csi_powerflex.mover import formats
from csi_powerflex.mover.formats import LARGEST, Compression, Format, Header, compression_of, examine
from csi_powerflex.mover.outcome import Refused
from csi_powerflex.units import GIB, MIB
from tests.mover.devices import BOOT_SECTOR
from tests.mover.images import qcow2_header, vmdk_header


def found(head: bytes, wanted: Format = Format.AUTO, length: int = MIB) -> Header:
    return examine(head, wanted=wanted, length=length, name="image")


def test_plain_images_are_accepted() -> None:
    assert found(qcow2_header()) == Header(Format.QCOW2, GIB)
    assert found(qcow2_header(version=2), Format.QCOW2) == Header(Format.QCOW2, GIB)
    assert found(vmdk_header()) == Header(Format.VMDK, GIB)
    assert found(vmdk_header(kind="streamOptimized"), Format.VMDK) == Header(Format.VMDK, GIB)
    assert found(vmdk_header().replace(b"\n", b"\r\n")[: 512 * 21].ljust(512 * 21, b"\0")) == Header(
        Format.VMDK, GIB
    )


@pytest.mark.parametrize(
    ("offset", "magic"),
    [
        (510, b"\x55\xaa"),
        (512, b"EFI PART"),
        (1080, b"\x53\xef"),
        (0, b"XFSB"),
        (65600, b"_BHRfS_M"),
        (32769, b"CD001"),
        (512, b"LABELONE"),
        (4086, b"SWAPSPACE2"),
    ],
)
def test_a_disk_with_partitions_or_a_filesystem_is_raw(offset: int, magic: bytes) -> None:
    assert found(bytes(offset) + magic) == Header(Format.RAW, MIB)


@pytest.mark.parametrize("head", [b"\x8e\x12\x93" * 1000, bytes(4096), b"<html>404</html>", b'{"error": 1}'])
def test_unknown_content_is_raw_only_if_asked_for(head: bytes) -> None:
    with pytest.raises(Refused, match=r"has no known format: .* ask for the format raw, with a checksum"):
        found(head)
    assert found(head, Format.RAW) == Header(Format.RAW, MIB)


def test_a_text_is_called_so() -> None:
    with pytest.raises(Refused, match="it begins like a web page or a text; if it is a RAW disk"):
        found(b"<!DOCTYPE html>")


@pytest.mark.parametrize("wanted", [Format.AUTO, Format.RAW])
@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"LUKS\xba\xbe\0\1", "an encrypted disk"),
        (b"# Disk DescriptorFile\n", "a VMDK descriptor that names other files"),
        (b"COWD", "a VMDK of the old kind"),
        (b"conectix", "a VHD image"),
        (b"vhdxfile", "a VHDX image"),
        (bytes(64) + b"\x7f\x10\xda\xbe", "a VDI image"),
        (b"QED\0", "a QED image"),
        (b"WithoutFreeSpace", "a Parallels image"),
        (b"WithouFreSpacExt", "a Parallels image"),
        (b"BZh9", "compressed with bzip2"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"\x04\x22\x4d\x18", "compressed with lz4"),
        (bytes(257) + b"ustar", "a tar archive"),
    ],
)
def test_other_formats_are_refused_in_words(head: bytes, words: str, wanted: Format) -> None:
    with pytest.raises(Refused, match=rf"image is {words}.*, which is not accepted; .+"):
        found(head.ljust(4096, b"\0"), wanted)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (qcow2_header(backing=4096), "it names a backing file"),
        (qcow2_header(features=4), "its data is in another file"),
        (qcow2_header(crypt=1), "it is encrypted"),
        (qcow2_header(crypt=2), "it is encrypted"),
        (qcow2_header(snapshots=3), "it has 3 internal snapshots"),
        (qcow2_header(features=2), "it is marked as corrupt"),
        (qcow2_header(features=1), "it was not closed properly"),
        (qcow2_header(version=1), "is QCOW of version 1"),
        (qcow2_header()[:70], "ends within the header of QCOW2"),
        (vmdk_header(sectors=0), "without a size, whose data is in other files"),
        (vmdk_header(kind="monolithicFlat"), "of the type monolithicFlat; accepted are"),
        (vmdk_header(kind="x").replace(b"createType", b"otherField"), "of the type none"),
        (vmdk_header(parent="0a1b2c3d"), "with a parent"),
        (vmdk_header(extents=()), "with 0 extents"),
        (vmdk_header(extents=('RW 2097152 FLAT "/etc/shadow" 0',)), "with 1 extents, and one sparse"),
        (vmdk_header(extents=('RW 1 SPARSE "a"', 'RW 1 SPARSE "b"')), "with 2 extents"),
        (vmdk_header(begin=0), "without a descriptor near its begin"),
        (vmdk_header(begin=2**40), "without a descriptor near its begin"),
        (vmdk_header()[:100], "ends within the header of VMDK"),
        (qcow2_header(size=0), "says that its disk has 0 bytes"),
        (qcow2_header(size=LARGEST + 1), "the image is broken or hostile"),
        (qcow2_header(size=2**63), "the image is broken or hostile"),
        (vmdk_header(sectors=2**60), "the image is broken or hostile"),
    ],
)
def test_dangerous_images_are_refused_by_their_header(head: bytes, words: str) -> None:
    with pytest.raises(Refused, match=words):
        found(head)


def test_the_format_must_be_the_one_that_was_asked_for() -> None:
    with pytest.raises(Refused, match="has the format qcow2, and raw was asked for; ask for qcow2 or auto"):
        found(qcow2_header(), Format.RAW)
    with pytest.raises(Refused, match="has the format raw, and vmdk was asked for"):
        found(BOOT_SECTOR, Format.VMDK)


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(Refused, match="image is empty"):
        found(b"", Format.RAW, 0)


def test_a_raw_disk_without_whole_sectors_is_refused() -> None:
    with pytest.raises(Refused, match="has 1000001 bytes, and a RAW disk has whole sectors"):
        found(BOOT_SECTOR, length=1000001)


def test_compressed_files_are_known_by_their_first_bytes() -> None:
    assert compression_of(b"\x1f\x8b\x08\0") is Compression.GZIP
    assert compression_of(b"\xfd7zXZ\0\0") is Compression.XZ
    assert compression_of(b"\x28\xb5\x2f\xfd") is Compression.ZSTD
    assert compression_of(BOOT_SECTOR) is Compression.NONE


def test_a_missing_file_has_no_begin_and_no_length(tmp_path: Path) -> None:
    for look in (formats.head_of, formats.length_of):
        with pytest.raises(Unavailable, match="cannot be read: No such file"):
            look(tmp_path / "missing")


def test_a_file_has_the_length_of_its_content(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(1000))
    assert formats.length_of(tmp_path / "file") == 1000
