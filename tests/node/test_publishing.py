"""NodePublishVolume and NodeUnpublishVolume."""

from __future__ import annotations

import stat

import grpc
import pytest

from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.host import blockdev, mountinfo
from csi_powerflex.model.capability import RawBlock
from csi_powerflex.operations.node import publishing
from tests.node.client import Kubelet, Mode, block, filesystem, refused
from tests.node.faults import lose_device
from tests.node.loophost import LoopHost, command

pytestmark = pytest.mark.needs("devices")


def test_a_staged_filesystem_appears_at_the_target(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    staging = node.stage(volume)
    target = node.publish(volume)
    (target / "file").write_text("written by the pod")
    assert (staging / "file").read_text() == "written by the pod"
    node.unpublish(volume)
    assert not target.exists()
    assert (staging / "file").exists()


def test_a_block_volume_appears_as_a_device_file(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume, block())
    target = node.publish(volume, block())
    assert stat.S_ISBLK(target.stat().st_mode)
    with target.open("r+b", buffering=0) as device:
        device.write(b"raw data")
    node.unpublish(volume)
    assert not target.exists()
    volume.flush()
    with volume.image.open("rb") as image:
        assert image.read(8) == b"raw data"


def test_two_pods_of_a_node_share_a_volume(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume)
    first = node.publish(volume, pod="pod-a")
    second = node.publish(volume, pod="pod-b")
    (first / "file").write_text("shared")
    assert (second / "file").read_text() == "shared"
    node.unpublish(volume, pod="pod-a")
    assert (second / "file").read_text() == "shared"


def test_an_exclusive_volume_is_refused_to_a_second_pod(host: LoopHost, node: Kubelet) -> None:
    capability = filesystem(mode=Mode.SINGLE_NODE_SINGLE_WRITER)
    volume = host.volume()
    node.stage(volume, capability)
    target = node.publish(volume, capability, pod="pod-a")
    with refused(grpc.StatusCode.FAILED_PRECONDITION, target):
        node.publish(volume, capability, pod="pod-b")


def test_a_read_only_publish_cannot_be_written(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume)
    target = node.publish(volume, readonly=True)
    with pytest.raises(OSError, match="Read-only"):
        (target / "file").write_text("no")


def test_publishing_again_changes_nothing(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume)
    node.publish(volume)
    before = host.mounts()
    node.publish(volume)
    assert host.mounts() == before


def test_a_read_only_block_volume_cannot_be_written(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume, block())
    target = node.publish(volume, block(), readonly=True)
    with pytest.raises(OSError, match="Operation not permitted"), target.open("r+b", buffering=0) as device:
        device.write(bytes(512))
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "published read-only", target):
        node.publish(volume, block(), pod="pod-b")
    node.unpublish(volume)
    writable = node.publish(volume, block(), pod="pod-b")
    with writable.open("r+b", buffering=0) as device:
        device.write(bytes(512))


def test_a_block_volume_that_was_published_read_only_can_be_formatted_later(
    host: LoopHost, node: Kubelet
) -> None:
    volume = host.volume()
    node.stage(volume, block())
    node.publish(volume, block(), readonly=True)
    node.unpublish(volume)
    node.stage(volume)
    (node.publish(volume) / "file").write_text("works")


def test_a_volume_mapped_read_only_is_not_published_writable(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    command("blockdev", "--setro", volume.path)
    node.stage(volume, block(), read_only_mapping=True)
    target = node.publish(volume, block(), read_only_mapping=True)
    assert blockdev.is_read_only(target)


def test_a_writable_publish_of_a_block_volume_mapped_read_only_is_refused(host: LoopHost) -> None:
    volume = host.volume()
    request = publishing.PublishRequest(
        publish_context=volume.publish_context(read_only=True),
        staging="/x",
        target="/y",
        use=RawBlock(),
        read_only=False,
        exclusive=False,
    )
    with pytest.raises(FailedPrecondition, match="mapped read-only and cannot be published writable"):
        publishing._protect(volume.path, request, ())
    assert not blockdev.is_read_only(volume.path)


def test_a_staged_filesystem_that_lost_its_device_is_staged_again(
    host: LoopHost, node: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pod that starts again on its node is published before the volume is unstaged."""
    volume = host.volume()
    staged = node.stage(volume)
    (staged / "file").write_text("kept")
    command("sync", "--file-system", staged)
    lose_device(volume, monkeypatch)
    volume.map()
    assert (node.publish(volume) / "file").read_text() == "kept"


def test_a_target_with_a_mount_of_a_removed_device_is_published_again(
    host: LoopHost, node: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a forced unmapping at the array and a new mapping."""
    volume = host.volume()
    node.stage(volume)
    target = node.publish(volume)
    (target / "file").write_text("kept")
    command("sync", "--file-system", target)
    lose_device(volume, monkeypatch)
    volume.map()
    node.stage(volume)
    node.publish(volume)
    assert (target / "file").read_text() == "kept"
    assert mountinfo.at(target) == mountinfo.of_device(volume.path)[-1]
