"""Each outcome of a node call that has its own code in the CSI specification (1.13.0, "Errors")."""

from __future__ import annotations

import threading

import grpc
import pytest

from csi_powerflex.host import blockdev
from csi_powerflex.host.inotify import DirectoryWatch
from csi_powerflex.pb import csi_pb2
from tests.node.client import EXT4, Kubelet, Mode, block, filesystem, refused
from tests.node.loophost import LoopHost

pytestmark = pytest.mark.needs("devices")

INVALID = grpc.StatusCode.INVALID_ARGUMENT
EXISTS = grpc.StatusCode.ALREADY_EXISTS
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
NOT_FOUND = grpc.StatusCode.NOT_FOUND
ABORTED = grpc.StatusCode.ABORTED

REQUESTS = {
    "NodeStageVolume": csi_pb2.NodeStageVolumeRequest(
        volume_id="x", staging_target_path="/x", volume_capability=EXT4
    ),
    "NodeUnstageVolume": csi_pb2.NodeUnstageVolumeRequest(volume_id="x", staging_target_path="/x"),
    "NodePublishVolume": csi_pb2.NodePublishVolumeRequest(
        volume_id="x", target_path="/x", volume_capability=EXT4
    ),
    "NodeUnpublishVolume": csi_pb2.NodeUnpublishVolumeRequest(volume_id="x", target_path="/x"),
    "NodeExpandVolume": csi_pb2.NodeExpandVolumeRequest(volume_id="x", volume_path="/x"),
    "NodeGetVolumeStats": csi_pb2.NodeGetVolumeStatsRequest(volume_id="x", volume_path="/x"),
    "NodeGetVolumeHealth": csi_pb2.NodeGetVolumeHealthRequest(volume_id="x"),
}


@pytest.mark.parametrize(
    ("rpc", "field"),
    [(rpc, field.name) for rpc, complete in REQUESTS.items() for field, _ in complete.ListFields()],
)
def test_a_missing_field_is_invalid(node: Kubelet, rpc: str, field: str) -> None:
    request = type(REQUESTS[rpc])()
    request.CopyFrom(REQUESTS[rpc])
    request.ClearField(field)
    with refused(INVALID, field, "must be set"):
        getattr(node.stub, rpc)(request, timeout=10)


@pytest.mark.parametrize(
    "rpc",
    [
        "NodeStageVolume",
        "NodePublishVolume",
        "NodeExpandVolume",
        "NodeGetVolumeStats",
        "NodeGetVolumeHealth",
    ],
)
def test_a_volume_that_cannot_exist_is_not_found(node: Kubelet, rpc: str) -> None:
    with refused(NOT_FOUND, "'x' does not exist"):
        getattr(node.stub, rpc)(REQUESTS[rpc], timeout=10)


def test_a_call_for_a_volume_is_aborted_while_another_call_waits_for_its_device(
    host: LoopHost, node: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No call waits for a call that may hang, and calls for other volumes are not affected."""
    waiting, other = host.volume(mapped=False), host.volume()
    request = csi_pb2.NodeStageVolumeRequest(
        volume_id=str(waiting.handle),
        publish_context=waiting.publish_context().to_dict(),
        staging_target_path=str(node.staging(waiting)),
        volume_capability=EXT4,
        volume_context={"origin": "empty"},
    )
    waiting_began, wait = threading.Event(), DirectoryWatch.wait

    def wait_and_set(watch: DirectoryWatch, seconds: float) -> bool:
        waiting_began.set()
        return wait(watch, seconds)

    monkeypatch.setattr(DirectoryWatch, "wait", wait_and_set)
    first = node.stub.NodeStageVolume.future(request, timeout=20)
    assert waiting_began.wait(10)
    with refused(ABORTED, waiting.handle):
        node.unstage(waiting)
    node.stage(other)
    waiting.map()
    first.result()


def test_a_call_for_a_volume_is_aborted_while_its_device_is_locked(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    with blockdev.locked(volume.path), refused(ABORTED, "still works on", volume.path):
        node.stage(volume)
    node.stage(volume)


def test_stage_already_exists_with_another_filesystem(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume, filesystem("ext4"))
    with refused(EXISTS, "ext4 instead of xfs", "unstage it first"):
        node.stage(volume, filesystem("xfs"))


def test_stage_already_exists_with_another_access(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume)
    with refused(EXISTS, "writable"):
        node.stage(volume, filesystem(mode=Mode.SINGLE_NODE_READER_ONLY))


def test_stage_already_exists_as_a_filesystem_when_a_block_device_is_asked(
    host: LoopHost, node: Kubelet
) -> None:
    volume = host.volume()
    node.stage(volume)
    with refused(EXISTS, "filesystem mounted"):
        node.stage(volume, block())


def test_stage_already_exists_with_another_volume_at_the_path(host: LoopHost, node: Kubelet) -> None:
    volume, other = host.volume(), host.volume()
    path = node.stage(other)
    with refused(EXISTS, other.path, volume.handle):
        node.stage(volume, path=path)


@pytest.mark.parametrize("mode", [Mode.MULTI_NODE_MULTI_WRITER, Mode.MULTI_NODE_SINGLE_WRITER])
def test_stage_refuses_a_filesystem_to_several_writing_nodes(
    host: LoopHost, node: Kubelet, mode: Mode.Mode.ValueType
) -> None:
    with refused(INVALID, "would let several nodes write"):
        node.stage(host.volume(), filesystem(mode=mode))


def test_stage_refuses_an_unknown_filesystem(host: LoopHost, node: Kubelet) -> None:
    with refused(INVALID, "reiserfs", "ext4, xfs, btrfs"):
        node.stage(host.volume(), filesystem("reiserfs"))


def test_stage_refuses_a_request_without_publish_context(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    request = csi_pb2.NodeStageVolumeRequest(
        volume_id=str(volume.handle),
        staging_target_path=str(node.staging(volume)),
        volume_capability=EXT4,
        volume_context={"origin": "empty"},
    )
    with refused(INVALID, "publish_context", "ControllerPublishVolume"):
        node.stub.NodeStageVolume(request, timeout=10)


def test_publish_needs_a_staging_path(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    request = csi_pb2.NodePublishVolumeRequest(
        volume_id=str(volume.handle),
        publish_context=volume.publish_context().to_dict(),
        target_path=str(node.target(volume)),
        volume_capability=EXT4,
    )
    with refused(PRECONDITION, "staging_target_path is not set"):
        node.stub.NodePublishVolume(request, timeout=10)


def test_publish_needs_a_staged_volume(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    with refused(PRECONDITION, "not staged", "stage it first"):
        node.publish(volume)
    assert not node.target(volume).exists()


def test_publish_needs_a_volume_that_is_staged_in_the_same_way(host: LoopHost, node: Kubelet) -> None:
    reader = filesystem(mode=Mode.SINGLE_NODE_READER_ONLY)
    volume, raw = host.volume(), host.volume()
    node.stage(volume)
    with refused(PRECONDITION, "cannot be published as a block device"):
        node.publish(volume, block())
    node.unstage(volume)
    node.stage(volume, reader)
    with refused(PRECONDITION, "staged read-only", "stage it again"):
        node.publish(volume)
    node.publish(volume, reader)
    node.stage(raw, block())
    with refused(PRECONDITION, "not staged"):
        node.publish(raw)


def test_publish_of_a_volume_that_is_not_mapped_is_unavailable(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume)
    volume.unmap()
    with refused(grpc.StatusCode.UNAVAILABLE, volume.handle, "this host has no device"):
        node.publish(volume)
    assert not node.target(volume).exists()


def test_publish_already_exists_with_another_access(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume)
    node.publish(volume)
    with refused(EXISTS, "writable", "unpublish it there first"):
        node.publish(volume, readonly=True)


def test_publish_already_exists_with_another_volume_at_the_target(host: LoopHost, node: Kubelet) -> None:
    volume, other = host.volume(), host.volume()
    node.stage(volume)
    node.stage(other)
    target = node.publish(other)
    with refused(EXISTS, other.path, volume.handle):
        node.publish(volume, target=target)


MODES_WITH_ONE_TARGET = [Mode.SINGLE_NODE_SINGLE_WRITER]
MODES_WITH_MORE = [Mode.SINGLE_NODE_WRITER, Mode.SINGLE_NODE_MULTI_WRITER, Mode.MULTI_NODE_MULTI_WRITER]


@pytest.mark.parametrize("mode", MODES_WITH_ONE_TARGET + MODES_WITH_MORE)
def test_the_access_mode_says_whether_a_second_target_is_allowed(
    host: LoopHost, node: Kubelet, mode: Mode.Mode.ValueType
) -> None:
    volume = host.volume()
    node.stage(volume, block(mode))
    first = node.publish(volume, block(mode), pod="pod-a")
    assert node.publish(volume, block(mode), pod="pod-a") == first
    if mode in MODES_WITH_MORE:
        assert node.publish(volume, block(mode), pod="pod-b").is_block_device()
    else:
        with refused(PRECONDITION, "one pod only", first):
            node.publish(volume, block(mode), pod="pod-b")
        node.unpublish(volume, pod="pod-a")
        node.publish(volume, block(mode), pod="pod-b")
