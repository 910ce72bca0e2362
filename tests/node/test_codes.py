"""Each outcome that the CSI specification gives a code of its own for the node's calls (1.13.0, "Errors")."""

from __future__ import annotations

import threading
from pathlib import Path

import grpc
import pytest

from csi_powerflex.host import blockdev
from csi_powerflex.host.inotify import DirectoryWatch
from csi_powerflex.pb import csi_pb2
from csi_powerflex.units import GIB
from tests.node.client import EXT4, Kubelet, Mode, block, filesystem, publish_context, refused
from tests.node.loophost import LoopHost, command

pytestmark = pytest.mark.needs("devices")

INVALID = grpc.StatusCode.INVALID_ARGUMENT
EXISTS = grpc.StatusCode.ALREADY_EXISTS
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
NOT_FOUND = grpc.StatusCode.NOT_FOUND
ABORTED = grpc.StatusCode.ABORTED

WHOLE = {
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
    ("rpc", "field"), [(rpc, field.name) for rpc, whole in WHOLE.items() for field, _ in whole.ListFields()]
)
def test_a_missing_field_is_invalid(node: Kubelet, rpc: str, field: str) -> None:
    request = type(WHOLE[rpc])()
    request.CopyFrom(WHOLE[rpc])
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
        getattr(node.stub, rpc)(WHOLE[rpc], timeout=10)


def test_a_call_for_a_volume_that_another_call_waits_for_is_aborted_at_once(
    host: LoopHost, node: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing queues behind a call that may hang, and other volumes do not notice."""
    waiting, other = host.volume(mapped=False), host.volume()
    request = csi_pb2.NodeStageVolumeRequest(
        volume_id=str(waiting.handle),
        publish_context=publish_context(waiting),
        staging_target_path=str(node.staging(waiting)),
        volume_capability=EXT4,
        volume_context={"origin": "empty"},
    )
    waits, wait = threading.Event(), DirectoryWatch.wait

    def wait_and_tell(watch: DirectoryWatch, seconds: float) -> bool:
        waits.set()
        return wait(watch, seconds)

    monkeypatch.setattr(DirectoryWatch, "wait", wait_and_tell)
    first = node.stub.NodeStageVolume.future(request, timeout=20)
    assert waits.wait(10)
    with refused(ABORTED, waiting.handle):
        node.unstage(waiting)
    node.stage(other)
    waiting.map()
    first.result()


def test_a_call_for_a_volume_that_another_call_works_on_is_aborted(host: LoopHost, node: Kubelet) -> None:
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


def test_stage_refuses_a_context_that_is_not_the_controllers(host: LoopHost, node: Kubelet) -> None:
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
        publish_context=publish_context(volume),
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


def test_publish_needs_a_volume_that_is_staged_as_it_is_asked(host: LoopHost, node: Kubelet) -> None:
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
    with refused(grpc.StatusCode.UNAVAILABLE, volume.handle, "still mapped?"):
        node.publish(volume)
    assert not node.target(volume).exists()


def test_publish_already_exists_with_another_access(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume)
    node.publish(volume)
    with refused(EXISTS, "writable", "unpublish it first"):
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
def test_a_second_target_is_granted_by_the_access_mode(
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


@pytest.mark.parametrize("path", ["relative/path", "/etc/ssh", "/var/lib/kubelet-of-another"])
def test_a_path_outside_of_the_kubelets_folder_is_refused(host: LoopHost, node: Kubelet, path: str) -> None:
    volume = host.volume()
    with refused(INVALID, path):
        node.stage(volume, path=Path(path))
    node.stage(volume)
    with refused(INVALID, path):
        node.publish(volume, target=Path(path))
    with refused(INVALID, path):
        node.unpublish(volume, target=Path(path))


def test_a_path_that_climbs_out_is_refused(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume)
    with refused(INVALID, "not a plain absolute path"):
        node.publish(volume, target=host.kubelet / "pods" / ".." / ".." / "elsewhere")


def test_a_symbolic_link_is_not_followed(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume)
    outside = host.folder / "outside"
    outside.mkdir()
    (host.kubelet / "trap").symlink_to(outside)
    for target in (host.kubelet / "trap", host.kubelet / "trap" / "mount"):
        with refused(INVALID, host.kubelet / "trap", "symbolic link"):
            node.publish(volume, target=target)
        with refused(INVALID, "symbolic link"):
            node.unpublish(volume, target=target)
    assert list(outside.iterdir()) == []


def test_a_kubelets_folder_that_is_itself_a_link_works(host: LoopHost, node: Kubelet) -> None:
    """Where /var/lib/kubelet is a link to a larger disk, the kubelet and the operator name the link."""
    linked = host.folder / "linked"
    host.kubelet.rename(linked)
    host.kubelet.symlink_to(linked)
    volume = host.volume()
    node.stage(volume)
    before = host.mounts()
    target = node.publish(volume)
    (target / "file").write_text("works")
    node.stage(volume)
    node.publish(volume)
    # The kernel names the real folder, and calls by either name find what is there.
    assert [mount.point for mount in host.mounts()] == [
        *(mount.point for mount in before),
        str(linked / target.relative_to(host.kubelet)),
    ]
    assert node.capacity(volume) > 7 * GIB
    with refused(PRECONDITION, "still published"):
        node.unstage(volume)
    volume.grow(16 * GIB)
    node.unpublish(volume)
    node.unstage(volume)
    assert host.mounts() == []
    outside = host.folder / "outside"
    outside.mkdir()
    (linked / "trap").symlink_to(outside)
    with refused(INVALID, linked / "trap", "symbolic link"):
        node.stage(volume, path=host.kubelet / "trap" / "staging")


def test_the_real_name_of_a_linked_kubelets_folder_is_as_good(host: LoopHost, node: Kubelet) -> None:
    linked = host.folder / "linked"
    host.kubelet.rename(linked)
    host.kubelet.symlink_to(linked)
    volume = host.volume()
    staging = node.stage(volume)
    node.stage(volume, path=linked / staging.relative_to(host.kubelet))
    target = node.publish(volume)
    node.unpublish(volume, target=linked / target.relative_to(host.kubelet))
    assert not target.exists()


def test_a_target_of_the_wrong_type_is_refused(host: LoopHost, node: Kubelet) -> None:
    as_filesystem, as_block = host.volume(), host.volume()
    node.stage(as_filesystem)
    node.target(as_filesystem).write_text("")
    with refused(PRECONDITION, "not a folder"):
        node.publish(as_filesystem)
    node.stage(as_block, block())
    node.target(as_block).mkdir()
    with refused(PRECONDITION, "not an empty file"):
        node.publish(as_block, block())


def test_a_read_only_block_volume_cannot_be_written(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume, block())
    target = node.publish(volume, block(), readonly=True)
    with pytest.raises(OSError, match="Operation not permitted"), target.open("r+b", buffering=0) as device:
        device.write(bytes(512))
    with refused(PRECONDITION, "published read-only", target):
        node.publish(volume, block(), pod="pod-b")
    node.unpublish(volume)
    writable = node.publish(volume, block(), pod="pod-b")
    with writable.open("r+b", buffering=0) as device:
        device.write(bytes(512))


def test_a_block_volume_left_read_only_can_be_formatted_later(host: LoopHost, node: Kubelet) -> None:
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
