"""NodePublishVolume and NodeUnpublishVolume."""

from __future__ import annotations

import stat

import grpc
import pytest

from tests.node.client import Kubelet, Mode, block, filesystem, refused
from tests.node.loophost import LoopHost

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
    volume.advance()
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
