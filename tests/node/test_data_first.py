"""Data first: whatever might hold data is left as it is found, and the answer says what was found."""

from __future__ import annotations

import hashlib
import signal
import struct
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from csi_powerflex.host import mountinfo, probe
from csi_powerflex.model.volume_context import Origin
from csi_powerflex.units import GIB, MIB
from tests.needs import EACH_FILESYSTEM
from tests.node.client import Kubelet, Mode, filesystem, refused
from tests.node.loophost import LoopHost, Volume, command
from tests.node.namespaces import own_mounts

pytestmark = pytest.mark.needs("devices")

ReplaceTool = Callable[[str, str], None]
ApiError = grpc.StatusCode.FAILED_PRECONDITION

GPT_HEADER = b"EFI PART\x00\x00\x01\x00\x5c\x00\x00\x00"


def write(volume: Volume, offset: int, data: bytes) -> None:
    """Write to the volume as some other program would."""
    with volume.path.open("r+b") as device:
        device.seek(offset)
        device.write(data)
    volume.advance()


def fingerprint(volume: Volume) -> str:
    """Of all that the volume holds: what is allotted in its image, and what that contains."""
    volume.advance()
    extents = hashlib.sha256()
    with volume.image.open("rb") as image:
        for offset in (0, 64 * MIB, volume.size // 2, volume.size - 8 * MIB):
            image.seek(offset)
            extents.update(image.read(8 * MIB))
    return f"{volume.image.stat().st_blocks} {extents.hexdigest()}"


def mbr() -> bytes:
    """A DOS partition table with one Linux partition."""
    entry = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0x83, b"\xff\xff\xff", 2048, 2048)
    return bytes(446) + entry + bytes(48) + b"\x55\xaa"


def luks(version: int) -> bytes:
    """The start of an encrypted container."""
    return b"LUKS\xba\xbe" + struct.pack(">H", version) + bytes(160) + str(uuid.uuid4()).encode() + bytes(4)


FOREIGN = {
    "partition table": (0, mbr(), "partition table (dos)"),
    "luks 1 header": (0, luks(1), "crypto_LUKS"),
    "lvm label": (512, b"LABELONE" + struct.pack("<QII", 1, 0, 32) + b"LVM2 001", "LVM2"),
    "unknown data at the start": (1 * MIB, b"who knows", "first 4 MiB are not all zero"),
    "unknown data at the end": (8 * GIB - 512, b"who knows", "last 4 MiB are not all zero"),
    "a spare superblock of ext4": (128 * MIB + 56, b"\x53\xef", "byte 134217728 are not zero"),
    "a spare superblock of btrfs": (64 * MIB + 64, b"_BHRfS_M", "byte 67108864 are not zero"),
    "a later allocation group of xfs": (2 * GIB, b"XFSB", "byte 2147483648 are not zero"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_volume_that_holds_something_else_is_left_alone(host: LoopHost, node: Kubelet, name: str) -> None:
    offset, data, words = FOREIGN[name]
    volume = host.volume()
    write(volume, offset, data)
    before = fingerprint(volume)
    with refused(ApiError, words, volume.handle, "left alone"):
        node.stage(volume)
    assert fingerprint(volume) == before


@pytest.mark.parametrize(
    ("there", "asked"),
    [
        pytest.param("xfs", "ext4", marks=pytest.mark.needs("xfs")),
        pytest.param("ext4", "xfs", marks=pytest.mark.needs("xfs")),
        pytest.param("btrfs", "ext4", marks=pytest.mark.needs("btrfs")),
    ],
)
def test_another_filesystem_is_left_alone(host: LoopHost, node: Kubelet, there: str, asked: str) -> None:
    volume = host.volume()
    staging = node.stage(volume, filesystem(there))
    (staging / "file").write_text("precious")
    node.unstage(volume)
    with refused(ApiError, f"holds a {there} filesystem and {asked} is asked"):
        node.stage(volume, filesystem(asked))
    node.stage(volume, filesystem(there))
    assert (staging / "file").read_text() == "precious"


@pytest.mark.parametrize("code", [1, 4, 127])
def test_a_blkid_that_errs_is_not_an_empty_device(
    host: LoopHost, node: Kubelet, replace_tool: ReplaceTool, code: int
) -> None:
    volume = host.volume()
    before = fingerprint(volume)
    replace_tool("blkid", f"echo 'cannot read' >&2; exit {code}")
    with refused(grpc.StatusCode.UNAVAILABLE, "blkid", "cannot read"):
        node.stage(volume)
    assert fingerprint(volume) == before


def test_a_blkid_that_sees_nothing_is_not_believed_alone(
    host: LoopHost, node: Kubelet, replace_tool: ReplaceTool
) -> None:
    volume = host.volume()
    node.stage(volume)
    node.unstage(volume)
    before = fingerprint(volume)
    replace_tool("blkid", "exit 2")
    with refused(ApiError, "signatures that wipefs knows (ext4"):
        node.stage(volume)
    replace_tool("wipefs", "exit 0")
    with refused(ApiError, "data of an unknown kind"):
        node.stage(volume)
    assert fingerprint(volume) == before


def test_a_blkid_that_is_of_two_minds_refuses(
    host: LoopHost, node: Kubelet, replace_tool: ReplaceTool
) -> None:
    volume = host.volume()
    replace_tool("blkid", "exit 8")
    with refused(ApiError, "more than one kind of content"):
        node.stage(volume)


def test_a_wipefs_that_errs_refuses(host: LoopHost, node: Kubelet, replace_tool: ReplaceTool) -> None:
    volume = host.volume()
    replace_tool("wipefs", "echo 'input/output error' >&2; exit 1")
    with refused(grpc.StatusCode.UNAVAILABLE, "wipefs", "input/output error"):
        node.stage(volume)


def test_an_fsck_killed_midway_does_not_lead_to_a_format(
    host: LoopHost, node: Kubelet, replace_tool: ReplaceTool
) -> None:
    """The killed check leaves no superblock where blkid looks, but the data are still there."""
    volume = host.volume()
    staging = node.stage(volume)
    (staging / "file").write_text("precious")
    node.unstage(volume)
    replace_tool("e2fsck", f"dd if=/dev/zero of={volume.path} bs=4k count=1 2>/dev/null; kill -9 $$")
    with refused(grpc.StatusCode.UNAVAILABLE, "e2fsck", f"signal {int(signal.SIGKILL)}"):
        node.stage(volume)
    with refused(ApiError, "left alone"):
        node.stage(volume)


def test_an_end_of_the_device_that_cannot_be_read_refuses(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    with volume.image.open("r+b") as image:
        image.truncate(volume.size - 1 * GIB)  # the device keeps its size, and fails there
    with refused(grpc.StatusCode.UNAVAILABLE, "does not answer", "Input/output error"):
        node.stage(volume)


def test_a_copy_is_never_formatted_however_blank(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    before = fingerprint(volume)
    with refused(ApiError, "made as a copy", "left alone"):
        node.stage(volume, origin=Origin.COPY)
    assert fingerprint(volume) == before


def test_an_unknown_origin_is_not_taken_for_a_new_volume(host: LoopHost, node: Kubelet) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "origin=''"):
        node.stage(host.volume(), context={"origin": ""})


def test_a_read_only_use_never_formats(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    before = fingerprint(volume)
    with refused(ApiError, "blank and is to be used read-only"):
        node.stage(volume, filesystem(mode=Mode.SINGLE_NODE_READER_ONLY))
    with refused(ApiError, "blank and is to be used read-only"):
        node.stage(volume, read_only_mapping=True)
    assert fingerprint(volume) == before


def test_a_device_that_is_smaller_than_the_volume_is_not_used(host: LoopHost, node: Kubelet) -> None:
    """The wrong device under the right link."""
    volume = host.volume(size=8 * GIB)
    volume.size = 16 * GIB
    with refused(grpc.StatusCode.UNAVAILABLE, volume.link, "which has 8 GiB and not the 16 GiB"):
        node.stage(volume, timeout=2)


def test_a_device_with_the_links_of_two_volumes_is_not_used(host: LoopHost, node: Kubelet) -> None:
    """The wrong device under the right link: the link is stale, its device serves another volume by now."""
    gone, other = host.volume(mapped=False), host.volume()
    gone.link.symlink_to(other.path)
    with refused(ApiError, gone.link.name, other.link.name, "stale"):
        node.stage(gone)
    with refused(ApiError, gone.link.name, other.link.name, "stale"):
        node.stage(other)


def test_the_link_of_a_partition_is_not_the_volume(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume(mapped=False)
    Path(f"{volume.link}-part1").symlink_to(volume.connect())
    with refused(grpc.StatusCode.UNAVAILABLE, volume.link):
        node.stage(volume, timeout=2)


def test_the_same_volume_id_of_another_system_is_not_the_volume(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume(mapped=False)
    (host.by_id / f"emc-vol-0f1e2d3c4b5a6978-{volume.handle.volume_id}").symlink_to(volume.connect())
    with refused(grpc.StatusCode.UNAVAILABLE, volume.link):
        node.stage(volume, timeout=2)


def test_a_device_in_use_out_of_sight_is_neither_checked_nor_formatted(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    command("mkfs.ext4", "-q", "-E", "nodiscard", volume.path)
    elsewhere, done = threading.Event(), threading.Event()

    def mount_elsewhere() -> None:
        with own_mounts():
            command("mount", volume.path, "/mnt")
            elsewhere.set()
            done.wait(20)

    other = threading.Thread(target=mount_elsewhere)
    other.start()
    try:
        assert elsewhere.wait(10)
        with refused(grpc.StatusCode.ABORTED, volume.path, "another mount namespace"):
            node.stage(volume)
    finally:
        done.set()
        other.join()


@pytest.mark.parametrize("fs_type", EACH_FILESYSTEM)
def test_a_filesystem_cut_short_in_the_making_is_made_anew(
    host: LoopHost, node: Kubelet, replace_tool: ReplaceTool, fs_type: str
) -> None:
    volume = host.volume()
    tool = f"mkfs.{fs_type}"
    # Half-made: the tool's first writes are there, its last ones are not.
    replace_tool(
        tool, f'$real "$@"; dd if=/dev/urandom of={volume.path} bs=4k count=8 seek=1 2>/dev/null; kill -9 $$'
    )
    with refused(grpc.StatusCode.UNAVAILABLE, tool):
        node.stage(volume, filesystem(fs_type))
    replace_tool(tool, 'exec $real "$@"')
    staging = node.stage(volume, filesystem(fs_type))
    (staging / "file").write_text("works")


def test_a_mark_of_another_volume_means_nothing(host: LoopHost, node: Kubelet) -> None:
    """As on a copy that was cut while its source was being formatted."""
    source, copy = host.volume(), host.volume()
    probe.mark(copy.path, source.handle)
    with refused(ApiError, "left alone"):
        node.stage(copy)


def test_no_mark_stays_behind(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume)
    node.unstage(volume)
    assert b"csi-powerflex" not in volume_end(volume)


def volume_end(volume: Volume) -> bytes:
    with volume.image.open("rb") as image:
        image.seek(-4 * MIB, 2)
        return image.read()


def test_a_damaged_filesystem_is_left_to_a_person(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    staging = node.stage(volume)
    (staging / "file").write_text("precious")
    node.unstage(volume)
    # The root directory's inode becomes nonsense, and the superblock says that something is wrong.
    command("debugfs", "-w", "-R", "clri <2>", volume.path)
    command("debugfs", "-w", "-R", "set_super_value state 2", volume.path)
    with refused(ApiError, "damaged; repair it by hand", "e2fsck says"):
        node.stage(volume)
    assert mountinfo.at(staging) is None
