"""NodeUnpublishVolume and NodeUnstageVolume: in use, without a device, half done, or already done."""

from __future__ import annotations

import subprocess
import time
from functools import partial
from pathlib import Path

import grpc
import pytest

from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.host import mountinfo, mounts
from csi_powerflex.host.run import CommandFailed, Completed
from csi_powerflex.operations.node import target_paths
from csi_powerflex.pb import csi_pb2
from tests.needs import EACH_FILESYSTEM
from tests.node.client import Kubelet, block, filesystem, refused
from tests.node.conftest import ReplaceTool
from tests.node.faults import lose_device, shut_down_filesystem
from tests.node.loophost import LoopHost, command

pytestmark = pytest.mark.needs("devices")


def test_unpublish_of_a_target_that_does_not_exist_succeeds(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.unpublish(volume)
    assert not node.target(volume).exists()


def test_unstage_of_a_path_that_does_not_exist_succeeds(host: LoopHost, node: Kubelet) -> None:
    node.unstage(host.volume(), path=host.kubelet / "missing")


def test_repeated_calls_end_at_once(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    began = time.monotonic()
    for _ in range(20):
        node.unpublish(volume)
        node.unstage(volume)
    assert (time.monotonic() - began) / 40 < 0.05


def test_the_target_of_an_interrupted_publish_is_removed(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.target(volume).mkdir()
    node.unpublish(volume)
    assert not node.target(volume).exists()
    node.target(volume).touch()
    node.unpublish(volume)
    assert not node.target(volume).exists()


@pytest.mark.parametrize("fs_type", EACH_FILESYSTEM[:2])
def test_an_inaccessible_filesystem_is_unmounted(host: LoopHost, node: Kubelet, fs_type: str) -> None:
    volume = host.volume()
    staging = node.stage(volume, filesystem(fs_type))
    target = node.publish(volume, filesystem(fs_type))
    shut_down_filesystem(staging)
    with pytest.raises(OSError, match=r"Input/output error|No such file"):
        (target / "file").write_text("no")
    node.unpublish(volume)
    node.unstage(volume)
    assert mountinfo.at(staging) is None
    assert not target.exists()


def test_a_volume_that_was_unmapped_while_in_use_is_unmounted(host: LoopHost, node: Kubelet) -> None:
    """After a forced unmapping at the array the link is missing, and the device ends with its last user."""
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


def test_a_busy_staging_path_is_not_detached_while_its_device_works(host: LoopHost, node: Kubelet) -> None:
    """A detached filesystem could still write to the device, which the controller unmaps next."""
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


def test_all_stacked_mounts_are_unmounted(host: LoopHost, node: Kubelet) -> None:
    """Another driver adds the same bind mount at each restart."""
    volume = host.volume()
    staging = node.stage(volume)
    target = node.publish(volume)
    for _ in range(5):
        mounts.bind(staging, target, read_only=False)
    node.unpublish(volume)
    assert mountinfo.at(target) is None
    assert not target.exists()


def test_files_below_a_target_are_not_deleted(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    target = node.target(volume)
    target.mkdir()
    (target / "precious").write_text("data")
    with refused(grpc.StatusCode.FAILED_PRECONDITION, target, "cannot be removed"):
        node.unpublish(volume)
    assert (target / "precious").read_text() == "data"


def test_a_file_with_content_is_not_deleted(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.target(volume).write_text("data")
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "was not removed"):
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


def test_unpublish_accepts_an_invalid_volume_id(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume)
    target = node.publish(volume)
    request = csi_pb2.NodeUnpublishVolumeRequest(volume_id="not-a-volume-id", target_path=str(target))
    node.stub.NodeUnpublishVolume(request, timeout=10)
    assert not target.exists()


def test_a_volume_that_is_the_working_directory_of_a_process_is_unpublished(
    host: LoopHost, node: Kubelet
) -> None:
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


def test_a_mount_of_a_removed_device_is_detached_when_its_unmount_hangs(
    host: LoopHost, node: Kubelet, replace_tool: ReplaceTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = host.volume()
    staged = node.stage(volume)
    target = node.publish(volume)
    lose_device(volume, monkeypatch)
    replace_tool("umount", "exec sleep 60")
    monkeypatch.setattr(mounts, "unmount", partial(mounts.unmount, seconds=0.3))
    node.unpublish(volume)
    node.unstage(volume)
    assert not target.exists()
    assert list(staged.iterdir()) == []
    assert host.mounts() == []


def test_a_mount_of_a_working_device_is_not_detached_when_its_unmount_hangs(
    host: LoopHost, node: Kubelet, replace_tool: ReplaceTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may still write. After a detach it could write while another node uses the volume."""
    volume = host.volume()
    staged = node.stage(volume)
    replace_tool("umount", "exec sleep 60")
    monkeypatch.setattr(mounts, "unmount", partial(mounts.unmount, seconds=0.3))
    with refused(grpc.StatusCode.DEADLINE_EXCEEDED, staged, "repeat the call"):
        node.unstage(volume)
    assert mountinfo.at(staged) is not None
    replace_tool("umount", 'exec $real "$@"')
    node.unstage(volume)
    assert mountinfo.at(staged) is None


def test_a_call_unmounts_a_limited_number_of_stacked_mounts(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume)
    target = node.publish(volume)
    command("mount", "--make-private", target)  # or each mount would appear at the staging path too
    for _ in range(4):
        command("mount", "-t", "tmpfs", "none", target)
    with pytest.raises(FailedPrecondition, match="more than 3 mounts"):
        target_paths.unmount_all(target, last_resort_if_alive=True, max_stacked=3)
    node.unpublish(volume)
    assert not target.exists()


def busy(point: Path) -> None:
    raise CommandFailed(["umount", str(point)], Completed(32, "", "target is busy"))


def test_unstage_succeeds_when_another_process_unmounts_first(
    host: LoopHost, node: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = host.volume()
    staged, unmount = node.stage(volume), mounts.unmount

    def unmounted_by_another(point: Path) -> None:
        unmount(point)
        busy(point)

    monkeypatch.setattr(mounts, "unmount", unmounted_by_another)
    node.unstage(volume)
    assert mountinfo.at(staged) is None


@pytest.mark.parametrize("unmounted_meanwhile", [False, True])
def test_a_mount_that_cannot_be_detached_is_an_error_unless_another_process_unmounts_it(
    host: LoopHost, node: Kubelet, monkeypatch: pytest.MonkeyPatch, unmounted_meanwhile: bool
) -> None:
    volume = host.volume()
    node.stage(volume)
    target, detach = node.publish(volume), mounts.detach

    def failing_detach(point: Path) -> None:
        if unmounted_meanwhile:
            detach(point)
        raise OSError(22, "not detached")

    monkeypatch.setattr(mounts, "unmount", busy)
    monkeypatch.setattr(mounts, "detach", failing_detach)
    if unmounted_meanwhile:
        node.unpublish(volume)
        assert not target.exists()
    else:
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "cannot even be detached"):
            node.unpublish(volume)
        assert mountinfo.at(target) is not None


@pytest.mark.parametrize("capability", [filesystem(), block()], ids=["filesystem", "block"])
def test_the_target_of_another_volume_is_not_unpublished(
    host: LoopHost, node: Kubelet, capability: csi_pb2.VolumeCapability
) -> None:
    volume, other = host.volume(), host.volume()
    node.stage(volume, capability)
    target = node.publish(volume, capability)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, target, other.handle, "was not unmounted"):
        node.unpublish(other, target=target)
    assert mountinfo.at(target) is not None
    node.unpublish(volume)


def test_the_staging_path_of_another_volume_is_not_unstaged(host: LoopHost, node: Kubelet) -> None:
    """Also if the named volume is not on this host."""
    volume, other, unmapped = host.volume(), host.volume(), host.volume(mapped=False)
    staged = node.stage(volume)
    for wrong in (other, unmapped):
        with refused(grpc.StatusCode.FAILED_PRECONDITION, staged, wrong.handle, "was not unmounted"):
            node.unstage(wrong, path=staged)
    assert mountinfo.at(staged) is not None
    node.unstage(volume)
