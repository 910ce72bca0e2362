"""What the parts below the node's calls refuse, or find: each at the place where it is decided."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from csi_powerflex.config.node import SdcSettings
from csi_powerflex.errors import AlreadyExists, Busy, FailedPrecondition, InvalidArgument, Unavailable
from csi_powerflex.host import blockdev, btrfs, filesystem as filesystems, fssize, mountinfo, mounts, probe
from csi_powerflex.host.run import CommandFailed, Completed
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.capability import Filesystem, RawBlock
from csi_powerflex.model.publish_context import PublishContext
from csi_powerflex.model.volume_context import Origin
from csi_powerflex.operations.node import publishing, staging, target_paths
from csi_powerflex.pb import csi_pb2
from csi_powerflex.transport.sdc.transport import Sdc
from tests.node.client import Kubelet, block, filesystem, refused
from tests.node.loophost import SYSTEM, LoopHost, Volume, command

pytestmark = pytest.mark.needs("devices")

HANDLE = VolumeHandle(SYSTEM, "b1f0c2d400000099")


@pytest.fixture
def gone(tmp_path: Path) -> Path:
    """The file of a block device that the kernel does not have."""
    path = tmp_path / "gone"
    os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(240, 77))
    return path


# --- devices -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask",
    [
        blockdev.size,
        blockdev.require_unused,
        lambda device: blockdev.read(device, offset=0, length=4096),
        lambda device: blockdev.write(device, bytes(4096), offset=0),
        lambda device: blockdev.locked(device).__enter__(),
    ],
    ids=["size", "unused", "read", "write", "hold"],
)
def test_a_device_that_is_gone_is_unavailable(gone: Path, ask: Callable[[Path], object]) -> None:
    with pytest.raises(Unavailable, match=str(gone)):
        ask(gone)


def test_half_a_read_or_write_is_none(host: LoopHost) -> None:
    volume = host.volume(size=64 * 1024 * 1024)
    with pytest.raises(Unavailable, match="4096 of 8192 bytes"):
        blockdev.read(volume.path, offset=volume.size - 4096, length=8192)
    with pytest.raises(Unavailable, match="4096 of 8192 bytes"):
        blockdev.write(volume.path, bytes(8192), offset=volume.size - 4096)


def test_a_device_under_another_is_not_unused(host: LoopHost, monkeypatch: pytest.MonkeyPatch) -> None:
    device = host.volume().path
    held = os.open(device, os.O_RDONLY | os.O_EXCL)
    try:
        with pytest.raises(Busy, match="something that this process does not see"):
            blockdev.require_unused(device)
        # Claimed by a multipath map, which is not to be had on every machine.
        monkeypatch.setattr(blockdev, "holders", lambda _: ["dm-0"])
        with pytest.raises(FailedPrecondition, match="dm-0"):
            blockdev.require_unused(device)
    finally:
        os.close(held)


def test_a_device_too_small_for_a_volume_is_not_looked_at(host: LoopHost) -> None:
    with pytest.raises(FailedPrecondition, match="no volume of a PowerFlex is below"):
        probe.probe(host.volume(size=1024 * 1024).path, HANDLE)


def test_only_the_mark_of_the_very_volume_is_taken_away_or_erased_after(host: LoopHost) -> None:
    volume = host.volume()
    probe.mark(volume.path, volume.handle)
    with pytest.raises(FailedPrecondition, match="no mark of an unfinished filesystem"):
        probe.erase_unfinished(volume.path, HANDLE)
    probe.unmark(volume.path, HANDLE)
    assert isinstance(probe.probe(volume.path, volume.handle), probe.Unfinished | probe.Blank)
    probe.erase_unfinished(volume.path, volume.handle)
    probe.unmark(volume.path, volume.handle)
    with pytest.raises(FailedPrecondition, match="no mark of an unfinished filesystem"):
        probe.erase_unfinished(volume.path, volume.handle)


def test_a_filesystem_that_is_not_known_is_named_with_those_that_are() -> None:
    with pytest.raises(InvalidArgument, match="choose one of ext4, xfs, btrfs"):
        filesystems.kind("zfs")


def test_an_option_of_the_user_takes_the_place_of_ours(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume, context={"mkfsFormatOption": "-m 7"})
    found = dict(
        line.split(":", 1) for line in command("dumpe2fs", "-h", volume.path).splitlines() if ":" in line
    )
    share = int(found["Reserved block count"]) / int(found["Block count"])
    assert share == pytest.approx(0.07, abs=0.001)


def test_the_size_of_a_filesystem_that_is_not_there_is_not_told(host: LoopHost, gone: Path) -> None:
    with pytest.raises(FailedPrecondition, match="has no ext4 superblock"):
        fssize.ext4(host.volume().path)
    with pytest.raises(Unavailable, match="does not answer"):
        fssize.ext4(gone)
    for size in (fssize.xfs, fssize.btrfs):
        with pytest.raises(Unavailable, match="does not answer"):
            size(host.kubelet / "missing")
    with pytest.raises(Unavailable, match="does not answer"):
        btrfs.mounted_with_same_id(gone)


# --- mounts --------------------------------------------------------------------------------------


def test_a_bind_that_cannot_be_is_refused_whichever_end_is_missing(host: LoopHost) -> None:
    here, there = host.kubelet / "here", host.kubelet / "there"
    here.mkdir()
    for source, point in ((here, there), (there, here)):
        with pytest.raises(FailedPrecondition, match="cannot be bound to"):
            mounts.bind(source, point, read_only=True)
    assert host.mounts() == []


def test_what_is_not_mounted_cannot_be_detached(host: LoopHost) -> None:
    with pytest.raises(OSError, match="umount2"):
        mounts.detach(host.kubelet)


def test_a_mount_whose_device_file_is_gone_has_no_device() -> None:
    mount = mountinfo.Mount("0:99", "/", "/x", frozenset(), "btrfs", "/dev/none", frozenset())
    assert mountinfo.number_behind(mount) is None
    assert not target_paths.alive(mount)


def test_a_path_with_blanks_and_backslashes_is_found_in_the_mount_table(
    host: LoopHost, node: Kubelet
) -> None:
    volume, path = host.volume(), host.kubelet / "two words\\040and more"
    path.mkdir()
    node.stage(volume, path=path)
    assert mountinfo.at(path) is not None
    node.unstage(volume, path=path)
    assert mountinfo.at(path) is None


def failing(point: Path) -> None:
    raise CommandFailed(["umount", str(point)], Completed(32, "", "target is busy"))


def test_an_unmount_that_another_was_faster_with_is_done(
    host: LoopHost, node: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = host.volume()
    staged, unmount = node.stage(volume), mounts.unmount

    def overtaken(point: Path) -> None:
        unmount(point)
        failing(point)

    monkeypatch.setattr(mounts, "unmount", overtaken)
    node.unstage(volume)
    assert mountinfo.at(staged) is None


@pytest.mark.parametrize("gone_meanwhile", [False, True])
def test_a_mount_that_cannot_even_be_detached_is_told_unless_it_is_gone(
    host: LoopHost, node: Kubelet, monkeypatch: pytest.MonkeyPatch, gone_meanwhile: bool
) -> None:
    volume = host.volume()
    node.stage(volume)
    target, detach = node.publish(volume), mounts.detach

    def refusing(point: Path) -> None:
        if gone_meanwhile:
            detach(point)
        raise OSError(22, "not detached")

    monkeypatch.setattr(mounts, "unmount", failing)
    monkeypatch.setattr(mounts, "detach", refusing)
    if gone_meanwhile:
        node.unpublish(volume)
        assert not target.exists()
    else:
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "cannot even be detached"):
            node.unpublish(volume)
        assert mountinfo.at(target) is not None


# --- paths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [target_paths.make_directory, target_paths.make_file])
def test_a_place_without_its_parent_cannot_be_made(host: LoopHost, make: Callable[[Path], None]) -> None:
    with pytest.raises(FailedPrecondition, match="cannot be made: No such file or directory"):
        make(host.kubelet / "missing" / "place")


def test_a_place_that_is_there_already_is_taken_as_it_is(host: LoopHost) -> None:
    folder, file, full = host.kubelet / "folder", host.kubelet / "file", host.kubelet / "full"
    full.write_text("content")
    for _ in range(2):
        target_paths.make_directory(folder)
        target_paths.make_file(file)
    for make, path in (
        (target_paths.make_directory, file),
        (target_paths.make_file, folder),
        (target_paths.make_file, full),
    ):
        with pytest.raises(FailedPrecondition, match="exists and is not"):
            make(path)
    assert full.read_text() == "content"


# --- staging and publishing ----------------------------------------------------------------------


def test_a_volume_staged_at_two_paths_is_one_filesystem(host: LoopHost, node: Kubelet) -> None:
    volume, other = host.volume(), host.kubelet / "other"
    other.mkdir()
    (node.stage(volume) / "file").write_text("content")
    node.stage(volume, path=other)
    assert (other / "file").read_text() == "content"


def test_a_volume_staged_read_only_is_staged_so_again(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume)
    node.unstage(volume)
    for _ in range(2):
        node.stage(volume, read_only_mapping=True)
    node.unstage(volume)


def test_another_label_than_the_one_it_is_mounted_with_is_another_way(host: LoopHost) -> None:
    """Labels need SELinux, so the mount table is played."""
    volume = host.volume()
    number = mountinfo.device_number(volume.path)
    with_label = frozenset({"rw", 'context="a:b:c:s0"'})
    mounted = mountinfo.Mount(number, "/", "/x", frozenset({"rw"}), "ext4", str(volume.path), with_label)
    options = ('context="a:b:c:s1"',)
    request = staging.StageRequest(
        PublishContext(volume.handle, "sdc", volume.size, read_only=False),
        "/x",
        Filesystem("ext4", options),
        Origin.EMPTY,
    )
    with pytest.raises(AlreadyExists, match="SELinux context a:b:c:s0 instead of a:b:c:s1"):
        staging._require_same(mounted, volume.path, staging._Wanted(request, "ext4", options))


@pytest.mark.needs("xfs")
def test_an_xfs_that_is_damaged_needs_a_person(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume, filesystem("xfs"))
    node.unstage(volume)
    # The inode of its root folder is none any more.
    command("xfs_db", "-x", "-c", "sb 0", "-c", "addr rootino", "-c", "write -d core.magic 0", volume.path)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "is damaged; repair it by hand"):
        node.stage(volume, filesystem("xfs"))
    assert mountinfo.at(node.staging(volume)) is None


def test_a_block_volume_mapped_read_only_is_not_published_writable(host: LoopHost) -> None:
    volume = host.volume()
    request = publishing.PublishRequest(
        publish_context=PublishContext(volume.handle, "sdc", volume.size, read_only=True),
        staging="/x",
        target="/y",
        use=RawBlock(),
        read_only=False,
        exclusive=False,
    )
    with pytest.raises(FailedPrecondition, match="mapped read-only and cannot be published writable"):
        publishing._protect(volume.path, request, ())
    assert not blockdev.is_read_only(volume.path)


def test_only_what_is_mounted_at_the_path_is_expanded(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    with refused(grpc.StatusCode.NOT_FOUND, "is not mounted at"):
        node.expand(volume)
    with refused(grpc.StatusCode.NOT_FOUND, "is not mounted at"):
        node.expand(volume, filesystem())
    assert node.expand(volume, block()) == volume.size


# --- transports ---------------------------------------------------------------------------------


def foreign(volume: Volume) -> dict[str, str]:
    """The publish context of a volume that a newer version published over another transport."""
    context = PublishContext(volume.handle, "fc", volume.size, read_only=False, details={"wwpn": "50:06:01"})
    return context.to_dict()


def test_a_volume_of_a_transport_that_this_node_lacks_is_not_staged(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    request = csi_pb2.NodeStageVolumeRequest(
        volume_id=str(volume.handle),
        publish_context=foreign(volume),
        staging_target_path=str(node.staging(volume)),
        volume_capability=filesystem(),
        volume_context={"origin": "empty"},
    )
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "over transport 'fc'", "this node has: sdc"):
        node.stub.NodeStageVolume(request, timeout=node.timeout)
    assert mountinfo.of_device(volume.path) == ()


@pytest.mark.parametrize("capability", [filesystem(), block()], ids=["filesystem", "block"])
def test_a_volume_of_a_transport_that_this_node_lacks_is_not_published(
    host: LoopHost, node: Kubelet, capability: csi_pb2.VolumeCapability
) -> None:
    volume = host.volume()
    request = csi_pb2.NodePublishVolumeRequest(
        volume_id=str(volume.handle),
        publish_context=foreign(volume),
        staging_target_path=str(node.staging(volume)),
        target_path=str(node.target(volume)),
        volume_capability=capability,
        volume_context={"origin": "empty"},
    )
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "over transport 'fc'"):
        node.stub.NodePublishVolume(request, timeout=node.timeout)
    assert mountinfo.of_device(volume.path) == ()


# --- the SDC -------------------------------------------------------------------------------------


def test_without_its_folder_no_device_is_found(host: LoopHost, tmp_path: Path) -> None:
    sdc = Sdc(SdcSettings(drv_cfg=host.drv_cfg, control_device=tmp_path / "scini", by_id=tmp_path / "none"))
    assert sdc.devices() == ()
    assert sdc.find(HANDLE) is None


def test_a_link_to_a_device_that_does_not_answer_is_waited_for(host: LoopHost, gone: Path) -> None:
    volume = host.volume(mapped=False)
    volume.link.symlink_to(gone)
    sdc = Sdc(host.settings(device_seconds=0.5))
    publish_context = PublishContext(volume.handle, "sdc", volume.size, read_only=False)
    with pytest.raises(Unavailable, match=f"did not appear within .*{gone}"):
        sdc.attach(publish_context)
    (host.sdc / "mdms").unlink()
    with pytest.raises(Unavailable, match="It is not known whether the SDC is connected"):
        sdc.attach(publish_context)


def test_a_stale_link_to_nothing_is_no_second_name(host: LoopHost, sdc: Sdc) -> None:
    volume = host.volume()
    (host.by_id / f"emc-vol-{SYSTEM}-{'0' * 16}").symlink_to(host.folder / "nothing")
    assert sdc.attach(PublishContext(volume.handle, "sdc", volume.size, read_only=False)) == volume.path


def test_a_rescan_is_not_waited_for_longer_than_it_is_worth(
    host: LoopHost,
) -> None:
    sdc = Sdc(host.settings(lock_seconds=0.01))
    with sdc._rescan_lock:
        sdc.rescan()
    assert host.calls() == []
