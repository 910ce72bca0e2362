"""A second actor on the host: what another process holds or mounts must not cost data, and must not block."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from csi_powerflex.host import blockdev, mountinfo, mounts
from csi_powerflex.host.run import run
from csi_powerflex.operations.node import release
from tests.figures import Figures
from tests.needs import EACH_FILESYSTEM
from tests.node.client import Kubelet, Mode, block, filesystem, refused
from tests.node.conftest import ReplaceTool
from tests.node.faults import shut_down_filesystem
from tests.node.loophost import LoopHost, Volume, command
from tests.node.second_actor import copy_of_mounts, mount_in_another_namespace, on_another_node, working_in

pytestmark = pytest.mark.needs("devices")

PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
DATA = os.urandom(8 << 20)


@pytest.fixture(autouse=True)
def counted(host: LoopHost, figures: Figures) -> Iterator[None]:
    """Count each test here that could run."""
    yield
    figures.add("attacks on a volume on the node")


Holder = Callable[[Path], AbstractContextManager[object]]
HOLDERS = pytest.mark.parametrize(
    "holder",
    [lambda _target: copy_of_mounts(), working_in, lambda target: (target / "read").open("rb")],
    ids=["copy of the mounts", "working folder", "file open for reading"],
)


def in_use(node: Kubelet, volume: Volume, fs_type: str = "ext4") -> Path:
    """Stage and publish the volume. Returns its target path, with a file in it."""
    node.stage(volume, filesystem(fs_type))
    target = node.publish(volume, filesystem(fs_type))
    (target / "read").write_bytes(b"")
    return target


@HOLDERS
@pytest.mark.parametrize("fs_type", EACH_FILESYSTEM)
def test_data_are_on_the_device_after_unstage_whatever_holds_the_volume(
    host: LoopHost, node: Kubelet, tmp_path: Path, fs_type: str, holder: Holder
) -> None:
    volume = host.volume()
    target = in_use(node, volume, fs_type)
    with holder(target):
        (target / "file").write_bytes(DATA)
        node.unpublish(volume)
        node.unstage(volume)
        assert (on_another_node(volume, tmp_path) / "file").read_bytes() == DATA


@HOLDERS
@pytest.mark.parametrize("fs_type", EACH_FILESYSTEM)
def test_a_volume_that_is_held_elsewhere_is_staged_again_on_the_same_node(
    host: LoopHost, node: Kubelet, fs_type: str, holder: Holder
) -> None:
    volume = host.volume()
    target = in_use(node, volume, fs_type)
    with holder(target):
        (target / "file").write_bytes(DATA)
        for _ in range(2):
            node.unpublish(volume)
            node.unstage(volume)
            node.stage(volume, filesystem(fs_type))
            node.publish(volume, filesystem(fs_type))
            (target / "more").write_text("works")
        assert (target / "file").read_bytes() == DATA


@pytest.mark.parametrize("fs_type", EACH_FILESYSTEM)
def test_a_volume_that_was_held_is_staged_after_it_was_mapped_again(
    host: LoopHost, node: Kubelet, fs_type: str
) -> None:
    volume = host.volume()
    target = in_use(node, volume, fs_type)
    with copy_of_mounts():
        (target / "file").write_bytes(DATA)
        node.unpublish(volume)
        node.unstage(volume)
        volume.unmap()
        volume.map()
        node.stage(volume, filesystem(fs_type))
        node.publish(volume, filesystem(fs_type))
        assert (target / "file").read_bytes() == DATA


def test_a_file_that_is_open_for_writing_forbids_unstage_and_is_named(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    target = in_use(node, volume)
    with (target / "file").open("w") as file:
        writer = subprocess.Popen(["sleep", "600"], stdout=file)
    try:
        node.unpublish(volume)
        for _ in range(2):
            with refused(PRECONDITION, "can still be written", f"process {writer.pid} (sleep)"):
                node.unstage(volume)
    finally:
        writer.kill()
        writer.wait()
    node.unstage(volume)


@HOLDERS
@pytest.mark.parametrize("fs_type", EACH_FILESYSTEM)
def test_data_are_on_the_device_after_unstage_even_if_somebody_else_unmounted_the_staging_path(
    host: LoopHost, node: Kubelet, tmp_path: Path, fs_type: str, holder: Holder
) -> None:
    volume = host.volume()
    target = in_use(node, volume, fs_type)
    with holder(target):
        (target / "file").write_bytes(DATA)
        node.unpublish(volume)
        mounts.unmount(node.staging(volume))
        for _ in range(2):  # the second call stands for an answer that was lost
            node.unstage(volume)
            assert (on_another_node(volume, tmp_path) / "file").read_bytes() == DATA


def test_a_device_that_a_program_claims_is_not_unstaged(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume, block())
    descriptor = os.open(volume.path, os.O_RDONLY | os.O_EXCL)
    try:
        with refused(PRECONDITION, "is still used by", "end that use"):
            node.unstage(volume)
    finally:
        os.close(descriptor)
    node.unstage(volume)


@pytest.mark.parametrize("fs_type", EACH_FILESYSTEM)
def test_a_frozen_filesystem_is_thawed_at_unstage(
    host: LoopHost, node: Kubelet, tmp_path: Path, fs_type: str
) -> None:
    """A backup hook froze it, and its pod ended before the thaw."""
    volume = host.volume()
    target = in_use(node, volume, fs_type)
    (target / "file").write_bytes(DATA)
    command("fsfreeze", "--freeze", target)
    node.unpublish(volume)
    node.unstage(volume)
    assert (on_another_node(volume, tmp_path) / "file").read_bytes() == DATA
    node.stage(volume, filesystem(fs_type))
    node.publish(volume, filesystem(fs_type))
    (target / "more").write_text("works")


def test_a_read_only_filesystem_that_is_frozen_is_thawed_at_unstage(host: LoopHost, node: Kubelet) -> None:
    """A frozen filesystem would hold the device after its last unmount."""
    volume = host.volume()
    staged = node.stage(volume)
    command("mount", "-o", "remount,ro", volume.path, staged)
    command("fsfreeze", "--freeze", staged)
    node.unstage(volume)
    assert not blockdev.is_claimed(volume.path)


def test_a_mount_that_hides_the_staging_path_is_named_and_nothing_is_published(
    host: LoopHost, node: Kubelet
) -> None:
    """Some kubelet units bind the kubelet's folder onto itself at each start."""
    volume = host.volume()
    node.stage(volume)
    folder = host.kubelet.resolve()
    command("mount", "--bind", folder, folder)
    with refused(PRECONDITION, "is hidden by the mount at", folder):
        node.publish(volume)
    with refused(PRECONDITION, "is hidden by the mount at", folder):
        node.stage(volume)
    with refused(PRECONDITION, "is hidden by the mount at", folder):
        node.unstage(volume)
    assert [mount.point for mount in mountinfo.of_device(volume.path)] == [str(node.staging(volume))]
    command("umount", folder)
    node.publish(volume)


def test_both_staging_paths_of_a_volume_can_be_unstaged(
    host: LoopHost, node: Kubelet, tmp_path: Path
) -> None:
    volume, other = host.volume(), host.kubelet / "other"
    other.mkdir()
    staged = node.stage(volume)
    node.stage(volume, path=other)
    target = node.publish(volume)
    (target / "file").write_bytes(DATA)
    with refused(PRECONDITION, "still published", target):
        node.unstage(volume)
    for _ in range(2):
        node.unstage(volume, path=other)
    assert mountinfo.at(staged) is not None
    node.stage(volume, path=other)
    node.unpublish(volume)
    node.unstage(volume)
    assert (other / "file").read_bytes() == DATA
    node.unstage(volume, path=other)
    assert (on_another_node(volume, tmp_path) / "file").read_bytes() == DATA


def test_a_volume_that_is_staged_as_a_filesystem_is_not_published_as_a_block_device(
    host: LoopHost, node: Kubelet
) -> None:
    volume, other = host.volume(), host.kubelet / "other"
    other.mkdir()
    staged = node.stage(volume, path=other)
    with refused(PRECONDITION, "is mounted at", staged, "unstage it there first"):
        node.publish(volume, block())
    assert not node.target(volume).exists()


def test_a_volume_that_is_published_as_a_block_device_is_not_staged_as_a_filesystem(
    host: LoopHost, node: Kubelet
) -> None:
    volume = host.volume()
    node.stage(volume, block())
    target = node.publish(volume, block())
    command("mkfs.ext4", "-q", "-E", "nodiscard", volume.path)
    with refused(PRECONDITION, "is published as a block device at", target):
        node.stage(volume)
    assert mountinfo.at(node.staging(volume)) is None


def test_a_volume_that_another_mount_namespace_has_mounted_is_not_published_as_a_block_device(
    host: LoopHost, node: Kubelet
) -> None:
    volume = host.volume()
    node.stage(volume, block())
    command("mkfs.ext4", "-q", "-E", "nodiscard", volume.path)
    with mount_in_another_namespace(volume):
        with refused(grpc.StatusCode.ABORTED, "is used by", "end that use"):
            node.publish(volume, block())
        assert not node.target(volume).exists()


def test_a_mount_that_covers_the_new_target_is_named_and_nothing_is_published(
    host: LoopHost, node: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = host.volume()
    node.stage(volume)
    bind = mounts.bind

    def bind_and_cover(source: Path, target: Path, **options: Any) -> None:
        bind(source, target, **options)
        command("mount", "-t", "tmpfs", "covering", target)

    monkeypatch.setattr(mounts, "bind", bind_and_cover)
    with refused(PRECONDITION, "shows covering after the bind mount", volume.path):
        node.publish(volume)
    assert mountinfo.at(node.target(volume)) is None


def test_a_device_file_that_leads_to_another_device_is_not_published(
    host: LoopHost, node: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = host.volume()
    node.stage(volume, block())
    monkeypatch.setattr(mountinfo, "number_of_device_file", lambda _descriptor: "7:999")
    with refused(PRECONDITION, "is not the device of volume", volume.handle):
        node.publish(volume, block())
    assert not node.target(volume).exists()


def test_a_volume_with_a_copy_of_its_mounts_is_staged_read_only(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume)
    with copy_of_mounts():
        node.unstage(volume)
        staged = node.stage(volume, filesystem(mode=Mode.MULTI_NODE_READER_ONLY))
        there = mountinfo.at(staged)
        assert there is not None
        assert there.read_only


def test_a_volume_is_not_staged_at_a_second_path_while_its_filesystem_is_shut_down(
    host: LoopHost, node: Kubelet
) -> None:
    volume, other = host.volume(), host.kubelet / "other"
    other.mkdir()
    staged = node.stage(volume)
    shut_down_filesystem(staged)
    with refused(PRECONDITION, staged, "end the pods"):
        node.stage(volume, path=other)


def test_a_staging_path_that_is_a_working_folder_is_not_detached(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    staged = node.stage(volume)
    with working_in(staged), refused(PRECONDITION, "cannot be unmounted, something still uses it"):
        node.unstage(volume)
    node.unstage(volume)


def test_a_volume_whose_data_are_not_written_in_time_is_not_unstaged(
    host: LoopHost, node: Kubelet, replace_tool: ReplaceTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = host.volume()
    staged = node.stage(volume)
    monkeypatch.setattr(mounts, "remount", partial(mounts.remount, seconds=0.3))
    replace_tool("mount", "exec sleep 60")
    with refused(grpc.StatusCode.DEADLINE_EXCEEDED, staged, "are not written yet", "repeat the call"):
        node.unstage(volume)
    assert mountinfo.at(staged) is not None
    replace_tool("mount", 'exec $real "$@"')
    monkeypatch.undo()
    node.unstage(volume)


def test_a_block_volume_whose_data_are_not_written_in_time_is_not_unstaged(
    host: LoopHost, node: Kubelet, replace_tool: ReplaceTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = host.volume()
    node.stage(volume, block())
    monkeypatch.setattr(release, "run", partial(run, cap=0.3))
    replace_tool("blockdev", "exec sleep 60")
    with refused(grpc.StatusCode.DEADLINE_EXCEEDED, volume.path, "are not written yet", "repeat the call"):
        node.unstage(volume)


def test_a_published_block_volume_is_not_unstaged(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume, block())
    target = node.publish(volume, block())
    with refused(PRECONDITION, "still published", target):
        node.unstage(volume)
    node.unpublish(volume)
    node.unstage(volume)


def test_data_of_a_block_volume_that_a_process_has_mounted_are_on_the_device_after_unstage(
    host: LoopHost, node: Kubelet, tmp_path: Path
) -> None:
    volume = host.volume()
    node.stage(volume, block())
    node.publish(volume, block())
    command("mkfs.ext4", "-q", "-E", "nodiscard", volume.path)
    with mount_in_another_namespace(volume) as there:
        (there / "file").write_bytes(DATA)
        node.unpublish(volume)
        node.unstage(volume)
        assert (on_another_node(volume, tmp_path) / "file").read_bytes() == DATA


def test_data_of_a_block_volume_are_on_the_device_after_unstage(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume, block())
    target = node.publish(volume, block())
    with target.open("r+b") as device:  # stays open
        device.write(DATA)
        device.flush()
        node.unpublish(volume)
        node.unstage(volume)
        assert blockdev.read(volume.image, offset=0, length=len(DATA)) == DATA


@pytest.mark.parametrize("fs_type", EACH_FILESYSTEM[:2])
def test_a_filesystem_that_was_shut_down_is_mounted_again_for_the_next_pod(
    host: LoopHost, node: Kubelet, fs_type: str
) -> None:
    volume = host.volume()
    target = in_use(node, volume, fs_type)
    (target / "file").write_bytes(DATA)
    command("sync", "--file-system", target)
    shut_down_filesystem(target)
    with refused(PRECONDITION, "is still used at", target, "end the pods"):
        node.publish(volume, filesystem(fs_type), pod="pod-b")
    with refused(PRECONDITION, "is still used at", target, "end the pods"):
        node.stage(volume, filesystem(fs_type))
    node.unpublish(volume)
    node.publish(volume, filesystem(fs_type))
    assert (target / "file").read_bytes() == DATA
    assert node.health(volume) == {}


def test_a_filesystem_that_an_error_made_read_only_is_mounted_again_for_the_next_pod(
    host: LoopHost, node: Kubelet
) -> None:
    volume = host.volume()
    use = filesystem("ext4", "errors=remount-ro")
    node.stage(volume, use)
    target = node.publish(volume, use)
    command("sh", "-c", f"echo 1 > /sys/fs/ext4/{volume.path.name}/trigger_fs_error")
    with refused(PRECONDITION, "read-only by the kernel", target):
        node.publish(volume, use, pod="pod-b")
    node.unpublish(volume)
    node.publish(volume, use)
    (target / "file").write_text("works")
    assert node.health(volume) == {}


def test_a_mount_that_the_kubelet_forgot_is_replaced_when_the_volume_comes_back(
    host: LoopHost, node: Kubelet
) -> None:
    volume = host.volume()
    staged = node.stage(volume)
    (staged / "file").write_bytes(DATA)
    command("sync", "--file-system", staged)
    volume.unmap()
    volume.map()
    node.stage(volume)
    assert (staged / "file").read_bytes() == DATA
    assert [mount.point for mount in mountinfo.of_device(volume.path)] == [str(staged)]


def test_a_volume_is_staged_writable_after_an_unstage_that_was_cut(host: LoopHost, node: Kubelet) -> None:
    """The unstage has made it read-only, and did not come to its unmount."""
    volume = host.volume()
    staged = node.stage(volume)
    mounts.remount(volume.path, staged, options=("ro",))
    node.stage(volume)
    (staged / "file").write_text("works")
