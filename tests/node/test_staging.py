"""NodeStageVolume and NodeUnstageVolume on each filesystem."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from csi_powerflex.errors import AlreadyExists
from csi_powerflex.host import mountinfo
from csi_powerflex.model.capability import Filesystem
from csi_powerflex.model.volume_context import Origin
from csi_powerflex.operations.node import staging
from csi_powerflex.units import GIB
from tests.needs import EACH_FILESYSTEM, EACH_FILESYSTEM_WITH_ITS_COPY
from tests.node.client import Kubelet, Mode, block, filesystem
from tests.node.loophost import LoopHost, command

pytestmark = pytest.mark.needs("devices")

each_filesystem = pytest.mark.parametrize("fs_type", EACH_FILESYSTEM)


def mounted(path: Path) -> mountinfo.Mount:
    found = mountinfo.at(path)
    assert found is not None, f"nothing is mounted at {path}"
    return found


@each_filesystem
def test_a_new_volume_is_formatted_and_mounted(host: LoopHost, node: Kubelet, fs_type: str) -> None:
    volume = host.volume()
    staging = node.stage(volume, filesystem(fs_type))
    mount = mounted(staging)
    assert mount.filesystem == fs_type
    assert mount.source == str(volume.path)
    assert not mount.read_only
    (staging / "file").write_text("kept")


@each_filesystem
def test_staging_again_changes_nothing(host: LoopHost, node: Kubelet, fs_type: str) -> None:
    volume = host.volume()
    staging = node.stage(volume, filesystem(fs_type))
    before = host.mounts()
    assert node.stage(volume, filesystem(fs_type)) == staging
    assert host.mounts() == before


@each_filesystem
def test_data_are_kept_when_a_volume_is_unstaged_and_staged_again(
    host: LoopHost, node: Kubelet, fs_type: str
) -> None:
    volume = host.volume()
    staging = node.stage(volume, filesystem(fs_type))
    (staging / "file").write_text("kept")
    node.unstage(volume)
    assert mountinfo.at(staging) is None
    assert list(staging.iterdir()) == []
    node.stage(volume, filesystem(fs_type))
    assert (staging / "file").read_text() == "kept"


def test_unstaging_again_succeeds(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume)
    node.unstage(volume)
    node.unstage(volume)


def test_a_block_volume_is_staged_without_any_mount(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    before = host.mounts()
    node.stage(volume, block())
    node.unstage(volume)
    assert host.mounts() == before


def test_the_mount_options_are_used(host: LoopHost, node: Kubelet) -> None:
    mount = mounted(node.stage(host.volume(), filesystem("ext4", "noatime,nodev", "nosuid")))
    assert {"noatime", "nodev", "nosuid", "rw"} <= mount.options


@pytest.mark.parametrize("fs_type", EACH_FILESYSTEM_WITH_ITS_COPY)
def test_a_copy_is_mounted_together_with_its_source(host: LoopHost, node: Kubelet, fs_type: str) -> None:
    source = host.volume()
    staging = node.stage(source, filesystem(fs_type))
    (staging / "file").write_text("of the source")
    node.unstage(source)
    copy = host.copy(source)
    node.stage(source, filesystem(fs_type))
    of_copy = node.stage(copy, filesystem(fs_type), origin=Origin.COPY)
    assert (of_copy / "file").read_text() == "of the source"
    (of_copy / "other").write_text("of the copy")
    assert not (staging / "other").exists()


@each_filesystem
def test_the_filesystem_of_a_larger_copy_grows_to_its_volume(
    host: LoopHost, node: Kubelet, fs_type: str
) -> None:
    source = host.volume(size=8 * GIB)
    node.stage(source, filesystem(fs_type))
    node.unstage(source)
    copy = host.copy(source, size=16 * GIB)
    staging = node.stage(copy, filesystem(fs_type), origin=Origin.COPY)
    status = os.statvfs(staging)
    assert status.f_blocks * status.f_frsize > 15 * GIB


def test_a_read_only_mode_is_mounted_read_only(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume)
    node.unstage(volume)
    staging = node.stage(volume, filesystem(mode=Mode.MULTI_NODE_READER_ONLY))
    assert mounted(staging).read_only


def test_a_volume_staged_at_two_paths_is_one_filesystem(host: LoopHost, node: Kubelet) -> None:
    volume, other = host.volume(), host.kubelet / "other"
    other.mkdir()
    (node.stage(volume) / "file").write_text("content")
    node.stage(volume, path=other)
    assert (other / "file").read_text() == "content"


def test_a_volume_can_be_staged_read_only_twice(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume)
    node.unstage(volume)
    for _ in range(2):
        node.stage(volume, read_only_mapping=True)
    node.unstage(volume)


def test_a_volume_mounted_with_another_selinux_label_exists_already(host: LoopHost) -> None:
    """Labels need SELinux, so the test simulates the mount table."""
    volume = host.volume()
    number = mountinfo.device_number(volume.path)
    with_label = frozenset({"rw", 'context="a:b:c:s0"'})
    mounted = mountinfo.Mount(
        1, number, "/", "/x", frozenset({"rw"}), "ext4", str(volume.path), with_label, ""
    )
    options = ('context="a:b:c:s1"',)
    request = staging.StageRequest(
        volume.publish_context(),
        "/x",
        Filesystem("ext4", options),
        Origin.EMPTY,
    )
    with pytest.raises(AlreadyExists, match="SELinux context a:b:c:s0 instead of a:b:c:s1"):
        staging._require_same(mounted, staging._Wanted(request, "ext4", options))


def test_an_ext4_with_errors_that_can_be_repaired_is_repaired_before_it_is_mounted(
    host: LoopHost, node: Kubelet
) -> None:
    volume = host.volume()
    (node.stage(volume) / "file").write_text("kept")
    node.unstage(volume)
    command("debugfs", "-w", "-R", "set_super_value state 2", volume.path)
    command("debugfs", "-w", "-R", "set_super_value free_inodes_count 7", volume.path)
    staged = node.stage(volume)
    assert (staged / "file").read_text() == "kept"
    assert "Filesystem state:         clean" in command("dumpe2fs", "-h", volume.path)
    assert os.statvfs(staged).f_ffree > 7
