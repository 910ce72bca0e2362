"""Unpublishing and unstaging always come to an end: busy, dead, half done, or gone already."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import time
from pathlib import Path

import grpc
import pytest

from csi_powerflex.host import mountinfo, mounts
from csi_powerflex.pb import csi_pb2
from tests.needs import EACH_FILESYSTEM
from tests.node.client import Kubelet, block, filesystem, refused
from tests.node.loophost import LoopHost

pytestmark = pytest.mark.needs("devices")

# linux/fs.h: FS_IOC_SHUTDOWN, _IOR('X', 125, __u32): from then on the filesystem gives EIO.
_SHUTDOWN = 0x8004587D


def kill_filesystem(point: Path) -> None:
    """What the loss of the device under it does to a mounted filesystem."""
    descriptor = os.open(point, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", 2))
    finally:
        os.close(descriptor)


def test_a_target_that_never_was_is_unpublished(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.unpublish(volume)
    assert not node.target(volume).exists()


def test_a_staging_path_that_never_was_is_unstaged(host: LoopHost, node: Kubelet) -> None:
    node.unstage(host.volume(), path=host.kubelet / "never-made")


def test_with_nothing_to_do_it_is_over_at_once(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    began = time.monotonic()
    for _ in range(20):
        node.unpublish(volume)
        node.unstage(volume)
    assert (time.monotonic() - began) / 40 < 0.05


def test_a_target_left_behind_by_a_half_done_publish_is_removed(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.target(volume).mkdir()
    node.unpublish(volume)
    assert not node.target(volume).exists()
    node.target(volume).touch()
    node.unpublish(volume)
    assert not node.target(volume).exists()


@pytest.mark.parametrize("fs_type", EACH_FILESYSTEM[:2])
def test_a_dead_filesystem_is_taken_away(host: LoopHost, node: Kubelet, fs_type: str) -> None:
    volume = host.volume()
    staging = node.stage(volume, filesystem(fs_type))
    target = node.publish(volume, filesystem(fs_type))
    kill_filesystem(staging)
    with pytest.raises(OSError, match=r"Input/output error|No such file"):
        (target / "file").write_text("no")
    node.unpublish(volume)
    node.unstage(volume)
    assert mountinfo.at(staging) is None
    assert not target.exists()


def test_a_volume_unmapped_while_in_use_is_taken_away(host: LoopHost, node: Kubelet) -> None:
    """After a forced unmapping at the array the link is gone, and the device with its last user."""
    volume = host.volume()
    staging = node.stage(volume)
    target = node.publish(volume)
    volume.unmap()
    node.unpublish(volume)
    node.unstage(volume)
    assert mountinfo.at(staging) is None
    assert not target.exists()


def test_a_busy_target_is_detached_as_the_last_resort(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    staging = node.stage(volume)
    target = node.publish(volume)
    with (target / "file").open("w") as in_use:
        node.unpublish(volume)
        assert not target.exists()
        in_use.write("still written")
    assert (staging / "file").read_text() == "still written"


def test_a_busy_staging_path_is_never_detached_while_its_device_works(host: LoopHost, node: Kubelet) -> None:
    """Detached, it would go on writing to a device that the controller is about to take away."""
    volume = host.volume()
    staging = node.stage(volume)
    with (staging / "file").open("w"):
        with refused(grpc.StatusCode.FAILED_PRECONDITION, staging, "something still uses it"):
            node.unstage(volume)
        assert mountinfo.at(staging) is not None
    node.unstage(volume)
    assert mountinfo.at(staging) is None


def test_a_published_volume_is_not_unstaged(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    staging = node.stage(volume)
    target = node.publish(volume)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "still published", target):
        node.unstage(volume)
    assert mountinfo.at(staging) is not None


def test_mounts_that_piled_up_are_all_taken_away(host: LoopHost, node: Kubelet) -> None:
    """As another driver's restarts leave them: the same bind mount, again and again."""
    volume = host.volume()
    staging = node.stage(volume)
    target = node.publish(volume)
    for _ in range(5):
        mounts.bind(staging, target, read_only=False)
    node.unpublish(volume)
    assert mountinfo.at(target) is None
    assert not target.exists()


def test_files_below_a_target_are_never_deleted(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    target = node.target(volume)
    target.mkdir()
    (target / "precious").write_text("data")
    with refused(grpc.StatusCode.FAILED_PRECONDITION, target, "left alone"):
        node.unpublish(volume)
    assert (target / "precious").read_text() == "data"


def test_a_file_with_content_is_never_deleted(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.target(volume).write_text("data")
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "left alone"):
        node.unpublish(volume)
    assert node.target(volume).read_text() == "data"


def test_a_block_volume_in_use_is_unpublished(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume, block())
    target = node.publish(volume, block())
    with target.open("rb"):
        node.unpublish(volume)
        assert not target.exists()
    node.unstage(volume)


def test_an_id_that_can_be_no_volume_does_not_keep_a_mount(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume)
    target = node.publish(volume)
    request = csi_pb2.NodeUnpublishVolumeRequest(volume_id="renamed-long-ago", target_path=str(target))
    node.stub.NodeUnpublishVolume(request, timeout=10)
    assert not target.exists()


def test_a_process_whose_folder_is_the_volume_does_not_keep_it(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume)
    target = node.publish(volume)
    process = subprocess.Popen(["sleep", "60"], cwd=target)
    try:
        node.unpublish(volume)
        assert not target.exists()
    finally:
        process.kill()
        process.wait()
    node.unstage(volume)
