"""A device that may have data is not formatted, and the error says what was found."""

from __future__ import annotations

import hashlib
import os
import signal
import struct
from pathlib import Path

import grpc
import pytest

from csi_powerflex.host import mountinfo, probe
from csi_powerflex.model.volume_context import Origin
from csi_powerflex.units import GIB, MIB
from tests.needs import EACH_FILESYSTEM
from tests.node.client import Kubelet, Mode, block, filesystem, refused
from tests.node.conftest import ReplaceTool
from tests.node.disk_content import luks, mbr
from tests.node.interruption import repeated
from tests.node.loophost import LoopHost, Volume, command
from tests.node.second_actor import mount_in_another_namespace

pytestmark = pytest.mark.needs("devices")

PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION

FOREIGN = {
    "partition table": (0, mbr(), "partition table (dos)"),
    "luks 1 header": (0, luks(1), "crypto_LUKS"),
    "lvm label": (512, b"LABELONE" + struct.pack("<QII", 1, 0, 32) + b"LVM2 001", "LVM2"),
    "unknown data at the start": (1 * MIB, b"some data", "first 4 MiB are not all zero"),
    "unknown data at the end": (8 * GIB - 512, b"some data", "last 4 MiB are not all zero"),
    "a spare superblock of ext4": (128 * MIB + 56, b"\x53\xef", "byte 134217728 are not zero"),
    "a spare superblock of btrfs": (64 * MIB + 64, b"_BHRfS_M", "byte 67108864 are not zero"),
    "a later allocation group of xfs": (2 * GIB, b"XFSB", "byte 2147483648 are not zero"),
}


def fingerprint(volume: Volume) -> str:
    """A checksum of the content of a volume, and the size of its image."""
    volume.flush()
    extents = hashlib.sha256()
    with volume.image.open("rb") as image:
        for offset in (0, 64 * MIB, volume.size // 2, volume.size - 8 * MIB):
            image.seek(offset)
            extents.update(image.read(8 * MIB))
    return f"{volume.image.stat().st_blocks} {extents.hexdigest()}"


@pytest.mark.parametrize("name", FOREIGN)
def test_a_volume_with_other_content_is_not_changed(host: LoopHost, node: Kubelet, name: str) -> None:
    offset, data, words = FOREIGN[name]
    volume = host.volume()
    volume.write(offset, data)
    before = fingerprint(volume)
    with refused(PRECONDITION, words, volume.handle, "the volume was not changed"):
        node.stage(volume)
    assert fingerprint(volume) == before


@pytest.mark.parametrize(
    ("present", "requested"),
    [
        pytest.param("xfs", "ext4", marks=pytest.mark.needs("xfs")),
        pytest.param("ext4", "xfs", marks=pytest.mark.needs("xfs")),
        pytest.param("btrfs", "ext4", marks=pytest.mark.needs("btrfs")),
    ],
)
def test_another_filesystem_is_not_changed(
    host: LoopHost, node: Kubelet, present: str, requested: str
) -> None:
    volume = host.volume()
    staging = node.stage(volume, filesystem(present))
    (staging / "file").write_text("precious")
    node.unstage(volume)
    with refused(PRECONDITION, f"holds a {present} filesystem and {requested} was asked for"):
        node.stage(volume, filesystem(requested))
    node.stage(volume, filesystem(present))
    assert (staging / "file").read_text() == "precious"


@pytest.mark.parametrize("code", [1, 4, 127])
def test_a_device_is_not_formatted_when_blkid_fails(
    host: LoopHost, node: Kubelet, replace_tool: ReplaceTool, code: int
) -> None:
    volume = host.volume()
    before = fingerprint(volume)
    replace_tool("blkid", f"echo 'cannot read' >&2; exit {code}")
    with refused(grpc.StatusCode.UNAVAILABLE, "blkid", "cannot read"):
        node.stage(volume)
    assert fingerprint(volume) == before


def test_a_device_is_not_formatted_only_because_blkid_finds_nothing(
    host: LoopHost, node: Kubelet, replace_tool: ReplaceTool
) -> None:
    volume = host.volume()
    node.stage(volume)
    node.unstage(volume)
    before = fingerprint(volume)
    replace_tool("blkid", "exit 2")
    with refused(PRECONDITION, "signatures that wipefs knows (ext4"):
        node.stage(volume)
    replace_tool("wipefs", "exit 0")
    with refused(PRECONDITION, "data of an unknown kind"):
        node.stage(volume)
    assert fingerprint(volume) == before


def test_a_device_is_not_formatted_when_blkid_finds_several_kinds_of_content(
    host: LoopHost, node: Kubelet, replace_tool: ReplaceTool
) -> None:
    volume = host.volume()
    replace_tool("blkid", "exit 8")
    with refused(PRECONDITION, "more than one kind of content"):
        node.stage(volume)


def test_a_device_is_not_formatted_when_wipefs_fails(
    host: LoopHost, node: Kubelet, replace_tool: ReplaceTool
) -> None:
    volume = host.volume()
    replace_tool("wipefs", "echo 'input/output error' >&2; exit 1")
    with refused(grpc.StatusCode.UNAVAILABLE, "wipefs", "input/output error"):
        node.stage(volume)


def test_a_killed_fsck_does_not_lead_to_a_format(
    host: LoopHost, node: Kubelet, replace_tool: ReplaceTool
) -> None:
    """After the killed check the superblock that blkid reads is missing, but the data still exist."""
    volume = host.volume()
    staging = node.stage(volume)
    (staging / "file").write_text("precious")
    node.unstage(volume)
    replace_tool("e2fsck", f"dd if=/dev/zero of={volume.path} bs=4k count=1 2>/dev/null; kill -9 $$")
    with refused(grpc.StatusCode.UNAVAILABLE, "e2fsck", f"signal {int(signal.SIGKILL)}"):
        node.stage(volume)
    with refused(PRECONDITION, "the volume was not changed"):
        node.stage(volume)


def test_a_device_whose_end_cannot_be_read_is_not_formatted(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    with volume.image.open("r+b") as image:
        image.truncate(volume.size - 1 * GIB)  # the device keeps its size, and fails there
    with refused(grpc.StatusCode.UNAVAILABLE, "does not answer", "Input/output error"):
        node.stage(volume)


def test_a_blank_copy_is_not_formatted(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    before = fingerprint(volume)
    with refused(PRECONDITION, "created as a copy", "it was not changed"):
        node.stage(volume, origin=Origin.COPY)
    assert fingerprint(volume) == before


def test_an_unknown_origin_is_refused(host: LoopHost, node: Kubelet) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "origin=''"):
        node.stage(host.volume(), context={"origin": ""})


def test_a_volume_is_not_formatted_for_read_only_use(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    before = fingerprint(volume)
    with refused(PRECONDITION, "is blank and is used read-only"):
        node.stage(volume, filesystem(mode=Mode.SINGLE_NODE_READER_ONLY))
    with refused(PRECONDITION, "is blank and is used read-only"):
        node.stage(volume, read_only_mapping=True)
    assert fingerprint(volume) == before


def test_a_device_mounted_in_another_namespace_is_neither_checked_nor_formatted(
    host: LoopHost, node: Kubelet, replace_tool: ReplaceTool
) -> None:
    volume = host.volume()
    command("mkfs.ext4", "-q", "-E", "nodiscard", volume.path)
    for tool in ("mkfs.ext4", "e2fsck", "wipefs"):
        replace_tool(tool, "exit 1")
    with mount_in_another_namespace(volume) as there:
        (there / "file").write_text("content")
        staged = node.stage(volume)
        assert (staged / "file").read_text() == "content"


@pytest.mark.needs("btrfs")
def test_a_device_with_another_filesystem_mounted_in_another_namespace_is_refused(
    host: LoopHost, node: Kubelet
) -> None:
    volume = host.volume()
    command("mkfs.btrfs", "-q", volume.path)
    with (
        mount_in_another_namespace(volume),
        refused(grpc.StatusCode.ABORTED, volume.path, "has it mounted at"),
    ):
        node.stage(volume)
    assert mountinfo.at(node.staging(volume)) is None


def test_a_device_that_a_program_claims_is_refused(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    descriptor = os.open(volume.path, os.O_RDONLY | os.O_EXCL)
    try:
        with refused(grpc.StatusCode.ABORTED, volume.path, "is in use and cannot be mounted"):
            node.stage(volume)
    finally:
        os.close(descriptor)


def incomplete_superblock(fs_type: str, device: Path) -> str:
    """A shell command that turns a finished mkfs into one that was killed before its last write.

    mkfs.ext4 writes the first superblock last. mkfs.xfs clears its mark "in progress" last. mkfs.btrfs writes
    the magic number last.
    """
    at, data = {"ext4": (1080, "\\0\\0"), "xfs": (126, "\\001"), "btrfs": (65600, "!BHRfS_M")}[fs_type]
    return f"printf '{data}' | dd of={device} bs=1 seek={at} conv=notrunc,fsync 2>/dev/null"


@pytest.mark.parametrize("fs_type", EACH_FILESYSTEM)
def test_a_complete_filesystem_is_not_erased_because_of_a_mark(
    host: LoopHost, node: Kubelet, fs_type: str
) -> None:
    """The node was killed before it removed the mark, and somebody else has used the filesystem since."""
    volume = host.volume()
    (node.stage(volume, filesystem(fs_type)) / "file").write_text("precious")
    node.unstage(volume)
    probe.mark(volume.path, volume.handle)
    staged = node.stage(volume, filesystem(fs_type))
    assert (staged / "file").read_text() == "precious"
    node.unstage(volume)
    assert not probe.is_marked(volume.path, volume.handle)


@pytest.mark.parametrize("fs_type", EACH_FILESYSTEM)
def test_a_marked_filesystem_that_blkid_could_not_read_is_kept(
    host: LoopHost, node: Kubelet, replace_tool: ReplaceTool, fs_type: str
) -> None:
    """blkid says "nothing", without an error, where the device gives errors only while blkid reads."""
    volume = host.volume()
    (node.stage(volume, filesystem(fs_type)) / "file").write_text("precious")
    node.unstage(volume)
    probe.mark(volume.path, volume.handle)
    before = fingerprint(volume)
    replace_tool("blkid", "exit 2")
    with refused(grpc.StatusCode.UNAVAILABLE, f"a superblock of {fs_type} is there", "repeat the call"):
        node.stage(volume, filesystem(fs_type))
    assert fingerprint(volume) == before
    replace_tool("blkid", 'exec $real "$@"')
    assert (node.stage(volume, filesystem(fs_type)) / "file").read_text() == "precious"


@pytest.mark.parametrize("fs_type", EACH_FILESYSTEM)
def test_a_new_filesystem_that_blkid_could_not_read_is_mounted_by_the_next_call(
    host: LoopHost, node: Kubelet, replace_tool: ReplaceTool, fs_type: str
) -> None:
    """blkid finds nothing before mkfs, and cannot read after it."""
    volume = host.volume()
    replace_tool("blkid", "exit 2")
    with refused(grpc.StatusCode.UNAVAILABLE, f"a superblock of {fs_type} is there"):
        node.stage(volume, filesystem(fs_type))
    replace_tool("blkid", 'exec $real "$@"')
    replace_tool(f"mkfs.{fs_type}", "exit 1")
    (node.stage(volume, filesystem(fs_type)) / "file").write_text("works")
    node.unstage(volume)
    assert not probe.is_marked(volume.path, volume.handle)


def test_a_block_volume_loses_the_mark_before_a_pod_gets_it(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    probe.mark(volume.path, volume.handle)
    node.stage(volume, block())
    node.publish(volume, block())
    volume.write(100 * MIB, b"precious")
    node.unpublish(volume, target=node.target(volume))
    volume.write(0, b"precious")
    with refused(PRECONDITION, "the volume was not changed"):
        node.stage(volume)


def test_an_interrupted_format_is_repeated_after_the_volume_has_grown(
    host: LoopHost, node: Kubelet, replace_tool: ReplaceTool
) -> None:
    volume = host.volume(size=8 * GIB)
    replace_tool("mkfs.ext4", f'$real "$@"; {incomplete_superblock("ext4", volume.path)}; kill -9 $$')
    with refused(grpc.StatusCode.UNAVAILABLE, "mkfs.ext4"):
        node.stage(volume)
    volume.grow(16 * GIB)
    replace_tool("mkfs.ext4", 'exec $real "$@"')
    (node.stage(volume) / "file").write_text("works")


def test_format_options_that_make_something_else_are_refused_and_leave_nothing(
    host: LoopHost, node: Kubelet
) -> None:
    volume = host.volume()
    for _ in range(2):
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "use other options"):
            node.stage(volume, context={"mkfsFormatOption": "-O journal_dev"})
    (node.stage(volume) / "file").write_text("works")


@pytest.mark.parametrize(("start", "length"), [(5, 50), (70, 50), (1100, 20)], ids="{} MiB".format)
def test_data_between_the_ends_of_a_volume_are_found(
    host: LoopHost, node: Kubelet, start: int, length: int
) -> None:
    """A pod has used it as a block volume."""
    volume = host.volume()
    volume.write(start * MIB, os.urandom(MIB) * length)
    before = fingerprint(volume)
    with refused(PRECONDITION, "data of an unknown kind"):
        node.stage(volume)
    assert fingerprint(volume) == before


@pytest.mark.parametrize("fs_type", EACH_FILESYSTEM)
def test_an_interrupted_format_is_repeated(
    host: LoopHost, node: Kubelet, replace_tool: ReplaceTool, fs_type: str
) -> None:
    volume = host.volume()
    tool = f"mkfs.{fs_type}"
    incomplete = incomplete_superblock(fs_type, volume.path)
    replace_tool(tool, f'$real "$@"; {incomplete}; kill -9 $$')
    with refused(grpc.StatusCode.UNAVAILABLE, tool):
        node.stage(volume, filesystem(fs_type))
    replace_tool(tool, 'exec $real "$@"')
    staging = node.stage(volume, filesystem(fs_type))
    (staging / "file").write_text("works")


def test_the_mark_of_another_volume_is_ignored(host: LoopHost, node: Kubelet) -> None:
    """A copy has it when its snapshot was taken while the source was formatted."""
    source, copy = host.volume(), host.volume()
    probe.mark(copy.path, source.handle)
    with refused(PRECONDITION, "the volume was not changed"):
        node.stage(copy)


def test_the_mark_is_removed_after_the_format(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume)
    node.unstage(volume)
    assert not probe.is_marked(volume.path, volume.handle)


def test_a_damaged_filesystem_must_be_repaired_by_hand(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    staging = node.stage(volume)
    (staging / "file").write_text("precious")
    node.unstage(volume)
    # This clears the inode of the root directory and marks the filesystem as having errors.
    command("debugfs", "-w", "-R", "clri <2>", volume.path)
    command("debugfs", "-w", "-R", "set_super_value state 2", volume.path)
    with refused(PRECONDITION, "damaged; repair it by hand", "e2fsck says"):
        node.stage(volume)
    assert mountinfo.at(staging) is None


@pytest.mark.needs("xfs")
def test_a_damaged_xfs_must_be_repaired_by_hand(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume, filesystem("xfs"))
    node.unstage(volume)
    # This destroys the inode of the root directory.
    command("xfs_db", "-x", "-c", "sb 0", "-c", "addr rootino", "-c", "write -d core.magic 0", volume.path)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "is damaged; repair it by hand"):
        node.stage(volume, filesystem("xfs"))
    assert mountinfo.at(node.staging(volume)) is None


def test_a_format_that_outlasts_its_call_continues_and_is_not_started_again(
    host: LoopHost, node: Kubelet, replace_tool: ReplaceTool, request: pytest.FixtureRequest
) -> None:
    """If each call interrupted or repeated it, a long format would never end."""
    volume = host.volume()
    made, go_on = host.folder / "made", host.folder / "go-on"
    replace_tool("mkfs.ext4", f'echo >> {made}; until [ -e {go_on} ]; do sleep 0.02; done; exec $real "$@"')
    # Whether the test passes or fails, the tool must end, because it holds the lock of the device.
    request.addfinalizer(go_on.touch)
    with refused(grpc.StatusCode.DEADLINE_EXCEEDED):
        node.stage(volume, timeout=3)
    assert made.exists()
    with refused(grpc.StatusCode.ABORTED, "still works on", volume.path):
        node.stage(volume)
    go_on.touch()
    repeated(lambda: node.stage(volume))
    assert made.read_text().count("\n") == 1
    (node.staging(volume) / "file").write_text("works")
    assert not probe.is_marked(volume.path, volume.handle)
