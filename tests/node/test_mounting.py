"""How filesystems are created and mounted: options, labels, copies, read-only devices."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.host import btrfs, mountinfo
from csi_powerflex.model import format_options, mount_options
from csi_powerflex.model.volume_context import Origin
from tests.needs import EACH_FILESYSTEM, EACH_FILESYSTEM_WITH_ITS_COPY
from tests.node.client import Kubelet, Mode, filesystem, refused
from tests.node.conftest import ReplaceTool
from tests.node.faults import lose_device
from tests.node.loophost import LoopHost, Volume, command

with_devices = pytest.mark.needs("devices")

CONTEXT = 'context="system_u:object_r:container_file_t:s0:c1,c2"'
each_filesystem = pytest.mark.parametrize("fs_type", EACH_FILESYSTEM)


@pytest.mark.parametrize(
    "flags",
    [
        ["ro", "rw"],
        ["noatime", "relatime"],
        ["discard,nodiscard"],
        ["exec", "noexec"],
        ["context=a", "context=b"],
        ["remount"],
        ["bind"],
        ["loop=/dev/loop0"],
        ["X-mount.mkdir"],
        ["ro=recursive"],
        ["rw=recursive"],
        ["a\0b"],
        ["a\nb"],
    ],
)
def test_mount_options_that_contradict_or_harm_are_refused(flags: list[str]) -> None:
    with pytest.raises(InvalidArgument, match="mount option"):
        mount_options.checked(flags)


def test_a_quotation_mark_must_be_closed_in_the_same_option() -> None:
    # Joined, mount(8) would read these as a",x" and remount and ".
    with pytest.raises(InvalidArgument, match="quotation mark that is not closed"):
        mount_options.checked(['a"', 'x",remount,"'])


def test_mount_options_keep_their_order_and_are_used_once() -> None:
    assert mount_options.checked(["noatime,nodev", "defaults", "noatime", CONTEXT]) == (
        "noatime",
        "nodev",
        CONTEXT,
    )


def test_a_label_is_not_split_at_its_commas() -> None:
    assert mount_options.split(f"rw,{CONTEXT},noatime") == ("rw", CONTEXT, "noatime")
    assert mount_options.selinux_context([CONTEXT]) == "system_u:object_r:container_file_t:s0:c1,c2"


@with_devices
def test_contradicting_mount_options_are_refused_before_anything_is_changed(
    host: LoopHost, node: Kubelet
) -> None:
    volume = host.volume(mapped=False)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "'ro' and 'rw'"):
        node.stage(volume, filesystem("ext4", "ro", "rw"), timeout=4)


@with_devices
def test_mount_gets_a_label_unchanged(
    host: LoopHost, node: Kubelet, replace_tool: ReplaceTool, tmp_path: Path
) -> None:
    replace_tool("mount", f'printf "%s\\n" "$@" > {tmp_path}/arguments; exit 32')
    with refused(grpc.StatusCode.UNAVAILABLE, "mount"):
        node.stage(host.volume(), filesystem("ext4", CONTEXT, mode=Mode.SINGLE_NODE_SINGLE_WRITER))
    assert f"rw,{CONTEXT}" in (tmp_path / "arguments").read_text().splitlines()


@with_devices
def test_format_options_are_used(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume, context={"mkfsFormatOption": "-L data -E stride=16 -i 65536"})
    facts = command("dumpe2fs", "-h", volume.path)
    assert "data" in facts
    assert "RAID stride:              16" in facts
    assert f"Inode count:              {volume.size // 65536}" in facts


@pytest.mark.parametrize(
    ("fs_type", "text"),
    [
        ("ext4", "-F"),
        ("ext4", "-n"),
        ("ext4", "/dev/sda"),
        ("ext4", "-m 0 /dev/sda"),
        ("ext4", "-d /etc"),
        ("ext4", "-J device=/dev/sda"),
        ("ext4", "-L 'unclosed"),
        ("xfs", "-f"),
        ("xfs", "-d name=/dev/sda"),
        ("xfs", "-d file"),
        ("xfs", "-p /etc/passwd"),
        ("btrfs", "--force"),
        ("btrfs", "--rootdir /etc"),
        ("btrfs", "-b 1G"),
        ("ext4", "-J device=LABEL=journal"),
        ("ext4", "-L 'a\0b'"),
        ("xfs", "-l logdev=vmlinuz"),
        ("xfs", "-r rtdev=vmlinuz"),
        ("xfs", "-d file=1"),
    ],
)
def test_harmful_format_options_are_refused(fs_type: str, text: str) -> None:
    with pytest.raises(InvalidArgument, match="format options"):
        format_options.parse(fs_type, text)


@with_devices
def test_harmful_format_options_are_refused_before_anything_is_changed(host: LoopHost, node: Kubelet) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "-F"):
        node.stage(host.volume(), context={"mkfsFormatOption": "-F"})


@with_devices
def test_format_options_of_a_copy_do_not_matter_because_it_is_never_formatted(
    host: LoopHost, node: Kubelet
) -> None:
    """A volume that was moved from another driver keeps the options of its class."""
    source = host.volume()
    staging = node.stage(source)
    (staging / "file").write_text("of the source")
    node.unstage(source)
    staging = node.stage(source, origin=Origin.COPY, context={"mkfsFormatOption": "-F"})
    assert (staging / "file").read_text() == "of the source"


def crashed_copy(host: LoopHost, node: Kubelet, fs_type: str) -> Volume:
    """A snapshot of a volume in use: its filesystem has a journal to replay."""
    source = host.volume()
    staging = node.stage(source, filesystem(fs_type))
    (staging / "file").write_text("of the source")
    # Freezing writes the content of the journal to the filesystem. Later changes are only in the journal.
    command("fsfreeze", "--freeze", staging)
    command("fsfreeze", "--unfreeze", staging)
    (staging / "late").write_text("perhaps")
    command("sync", "--file-system", staging)
    return host.copy(source)


@with_devices
@each_filesystem
def test_a_snapshot_of_a_volume_in_use_can_be_read_at_the_same_time(
    host: LoopHost, node: Kubelet, fs_type: str
) -> None:
    """The mapping is read-only, so the journal cannot be replayed, and changes in it are not visible."""
    copy = crashed_copy(host, node, fs_type)
    command("blockdev", "--setro", copy.path)
    capability = filesystem(fs_type, mode=Mode.MULTI_NODE_READER_ONLY)
    staging = node.stage(copy, capability, origin=Origin.COPY, read_only_mapping=True)
    assert (staging / "file").read_text() == "of the source"
    mount = mountinfo.at(staging)
    assert mount is not None
    assert mount.read_only
    target = node.publish(copy, capability, readonly=True, read_only_mapping=True)
    assert (target / "file").read_text() == "of the source"


@with_devices
@each_filesystem
def test_a_writable_copy_of_a_volume_in_use_is_recovered(host: LoopHost, node: Kubelet, fs_type: str) -> None:
    copy = crashed_copy(host, node, fs_type)
    staging = node.stage(copy, filesystem(fs_type), origin=Origin.COPY)
    assert (staging / "file").read_text() == "of the source"
    (staging / "new").write_text("written")


@with_devices
@pytest.mark.parametrize("fs_type", EACH_FILESYSTEM_WITH_ITS_COPY)
def test_an_older_copy_is_mounted_after_its_source_was_changed(
    host: LoopHost, node: Kubelet, fs_type: str
) -> None:
    """btrfs remembers the newest of equal UUIDs, and must not show its data for the older copy."""
    source = host.volume()
    staging = node.stage(source, filesystem(fs_type))
    (staging / "file").write_text("old")
    node.unstage(source)
    copy = host.copy(source)
    node.stage(source, filesystem(fs_type))
    (staging / "file").write_text("new")
    node.unstage(source)
    of_copy = node.stage(copy, filesystem(fs_type), origin=Origin.COPY)
    assert (of_copy / "file").read_text() == "old"
    node.stage(source, filesystem(fs_type))
    assert (staging / "file").read_text() == "new"


@with_devices
def test_a_mount_of_a_removed_device_is_replaced(
    host: LoopHost, node: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a forced unmapping at the array and a new mapping, the staging path still has the old device."""
    volume = host.volume()
    staging = node.stage(volume)
    (staging / "file").write_text("kept")
    command("sync", "--file-system", staging)
    lose_device(volume, monkeypatch)
    device = volume.map()
    node.stage(volume)
    mount = mountinfo.at(staging)
    assert mount is not None
    assert mount.source == str(device)
    assert (staging / "file").read_text() == "kept"


@with_devices
def test_a_mount_of_another_working_device_that_a_pod_uses_is_not_changed(
    host: LoopHost, node: Kubelet
) -> None:
    volume = host.volume()
    staging = node.stage(volume)
    node.publish(volume)
    (staging / "file").write_text("in use")
    command("sync", "--file-system", staging)
    volume.unmap()
    volume.map()
    with refused(grpc.StatusCode.ALREADY_EXISTS, staging, volume.path):
        node.stage(volume)
    assert (staging / "file").read_text() == "in use"


def btrfs_and_copy(host: LoopHost, node: Kubelet) -> tuple[Volume, Volume]:
    """A btrfs that is mounted, and a copy of it that is not."""
    source = host.volume()
    node.stage(source, filesystem("btrfs"))
    node.unstage(source)
    copy = host.copy(source)
    node.stage(source, filesystem("btrfs"))
    return source, copy


@with_devices
@pytest.mark.needs("btrfs")
def test_the_error_of_a_kernel_that_refuses_a_copy_of_a_btrfs_has_the_reason(
    host: LoopHost, node: Kubelet, replace_tool: ReplaceTool
) -> None:
    """Linux before 6.7 does so."""
    source, copy = btrfs_and_copy(host, node)
    replace_tool("mount", "echo 'mount: mount(2) system call failed: File exists.' >&2; exit 32")
    with refused(
        grpc.StatusCode.FAILED_PRECONDITION,
        copy.handle,
        f"together with {source.path}",
        "Linux 6.7",
        "another node",
    ):
        node.stage(copy, filesystem("btrfs"), origin=Origin.COPY)
    assert mountinfo.at(node.staging(copy)) is None


@with_devices
@pytest.mark.needs("btrfs")
def test_a_source_that_the_kernel_mounts_instead_of_its_copy_is_an_error(
    host: LoopHost, node: Kubelet, replace_tool: ReplaceTool
) -> None:
    """Linux before 6.7 may do so, and then the pods would write to the wrong volume."""
    source, copy = btrfs_and_copy(host, node)
    replace_tool("mount", f"exec $real -t btrfs {source.path} {node.staging(copy)}")
    with refused(
        grpc.StatusCode.FAILED_PRECONDITION, copy.handle, f"together with {source.path}", "Linux 6.7"
    ):
        node.stage(copy, filesystem("btrfs"), origin=Origin.COPY)
    assert mountinfo.at(node.staging(copy)) is None
    assert mountinfo.at(node.staging(source)) is not None


@with_devices
@pytest.mark.needs("btrfs", "one-btrfs-of-one-id")
@pytest.mark.emulated
def test_a_copy_of_a_btrfs_is_refused_while_its_source_is_mounted_and_mounted_afterwards(
    host: LoopHost, node: Kubelet
) -> None:
    source, copy = btrfs_and_copy(host, node)
    (node.staging(source) / "file").write_text("of the source")
    with refused(
        grpc.StatusCode.FAILED_PRECONDITION,
        copy.handle,
        f"together with {source.path}",
        "Linux 6.7",
        "another node",
    ):
        node.stage(copy, filesystem("btrfs"), origin=Origin.COPY)
    assert host.mounts() == [mountinfo.at(node.staging(source))]
    node.unstage(source)
    source.unmap()
    command("btrfs", "device", "scan", "--forget")
    staging = node.stage(copy, filesystem("btrfs"), origin=Origin.COPY)
    assert not (staging / "file").exists()


@with_devices
@pytest.mark.needs("btrfs", "one-btrfs-of-one-id")
@pytest.mark.emulated
def test_an_older_copy_of_a_btrfs_does_not_show_the_newer_data_of_its_source(
    host: LoopHost, node: Kubelet
) -> None:
    """The kernel remembers the source, which was mounted before and has the newer data."""
    source = host.volume()
    staging = node.stage(source, filesystem("btrfs"))
    (staging / "file").write_text("old")
    node.unstage(source)
    copy = host.copy(source)
    node.stage(source, filesystem("btrfs"))
    (staging / "file").write_text("new")
    node.unstage(source)
    of_copy = node.stage(copy, filesystem("btrfs"), origin=Origin.COPY)
    assert (of_copy / "file").read_text() == "old"


@with_devices
@pytest.mark.needs("btrfs")
def test_other_devices_with_the_same_btrfs_id_are_found(host: LoopHost, node: Kubelet) -> None:
    source, copy = btrfs_and_copy(host, node)
    ext4 = host.volume()
    node.stage(ext4)
    assert btrfs.mounted_with_same_id(copy.path) == [str(source.path)]
    assert btrfs.mounted_with_same_id(source.path) == []
    assert btrfs.mounted_with_same_id(ext4.path) == []


@with_devices
def test_a_format_option_of_the_user_replaces_the_default(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume, context={"mkfsFormatOption": "-m 7"})
    found = dict(
        line.split(":", 1) for line in command("dumpe2fs", "-h", volume.path).splitlines() if ":" in line
    )
    share = int(found["Reserved block count"]) / int(found["Block count"])
    assert share == pytest.approx(0.07, abs=0.001)
