"""NodeGetVolumeStats, NodeGetVolumeHealth, NodeGetStorageHealth and NodeGetInfo."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import grpc
import pytest

from csi_powerflex.csi.node import CAPABILITIES
from csi_powerflex.host import blockdev, mountinfo
from csi_powerflex.pb import csi_pb2
from csi_powerflex.units import GIB, MIB
from tests.needs import EACH_FILESYSTEM
from tests.node.client import Kubelet, block, filesystem, refused
from tests.node.loophost import GUID, SYSTEM, LoopHost, command
from tests.node.test_data_first import mbr, write
from tests.node.test_letting_go import kill_filesystem

pytestmark = pytest.mark.needs("devices")


@pytest.mark.parametrize("fs_type", EACH_FILESYSTEM)
def test_usage_follows_what_is_written(host: LoopHost, node: Kubelet, fs_type: str) -> None:
    volume = host.volume()
    node.stage(volume, filesystem(fs_type))
    target = node.publish(volume, filesystem(fs_type))
    before = node.usage(volume)["BYTES"]
    assert 7 * GIB < before.total <= 8 * GIB
    assert 0 < before.available <= before.total
    with (target / "file").open("wb") as file:
        file.write(os.urandom(32 * MIB))
        os.fsync(file.fileno())
    assert node.usage(volume)["BYTES"].used >= before.used + 32 * MIB


def test_inodes_are_counted_where_they_are_limited(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume)
    target = node.publish(volume)
    before = node.usage(volume)["INODES"]
    (target / "file").touch()
    after = node.usage(volume)["INODES"]
    assert after.used == before.used + 1
    assert after.total == before.total


def test_a_block_volume_says_its_size_only(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume, block())
    node.publish(volume, block())
    usage = node.usage(volume)
    assert list(usage) == ["BYTES"]
    assert (usage["BYTES"].total, usage["BYTES"].used, usage["BYTES"].available) == (8 * GIB, 0, 0)


def test_stats_not_found_where_the_volume_is_not(host: LoopHost, node: Kubelet) -> None:
    volume, other = host.volume(), host.volume()
    with refused(grpc.StatusCode.NOT_FOUND, "nothing is mounted"):
        node.usage(volume)
    with refused(grpc.StatusCode.NOT_FOUND, "some/path"):
        node.usage(volume, path=Path("some/path"))
    node.stage(other)
    target = node.publish(other)
    with refused(grpc.StatusCode.NOT_FOUND, other.path):
        node.usage(volume, path=target)


def test_a_mount_that_hangs_does_not_hang_the_plugin(
    host: LoopHost, node: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, well = host.volume(), host.volume()
    for volume in (hanging, well):
        node.stage(volume)
        node.publish(volume)
    asleep = threading.Event()
    real = os.statvfs

    def statvfs(path: Path) -> os.statvfs_result:
        if path == node.target(hanging):
            asleep.wait(100)
        return real(path)

    monkeypatch.setattr(os, "statvfs", statvfs)
    try:
        node.timeout = 0.5
        with refused(grpc.StatusCode.DEADLINE_EXCEEDED):
            node.usage(hanging)
        node.timeout = 60
        with refused(grpc.StatusCode.DEADLINE_EXCEEDED, "has not since an earlier call"):
            node.usage(hanging)
        assert node.capacity(well) > 7 * GIB
    finally:
        asleep.set()


def test_a_healthy_volume_has_no_conditions(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    assert node.health(volume) == {}
    node.stage(volume)
    node.publish(volume)
    assert node.health(volume) == {}


def test_health_of_a_device_that_is_gone(host: LoopHost, node: Kubelet) -> None:
    assert node.health(host.volume(mapped=False)) == {"DeviceMissing": "INACCESSIBLE"}


def test_health_of_a_device_with_errors(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    command("truncate", "--size", 0, volume.image)  # the device keeps its size, and fails
    assert node.health(volume) == {"DeviceErrors": "INACCESSIBLE"}


@pytest.mark.needs("xfs")
def test_health_of_a_dead_filesystem(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    staging = node.stage(volume, filesystem("xfs"))
    kill_filesystem(staging)
    assert node.health(volume)["FilesystemDead"] == "INACCESSIBLE"


def test_health_of_a_filesystem_that_the_kernel_made_read_only(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    staging = node.stage(volume, filesystem("ext4", "errors=remount-ro"))
    command("sh", "-c", f"echo 1 > /sys/fs/ext4/{volume.path.name}/trigger_fs_error")
    health = node.health(volume)
    assert health["FilesystemErrors"] == "DEGRADED"
    assert health["FilesystemReadOnly"] == "DEGRADED"
    assert staging.is_dir()


def test_storage_is_well_while_systems_are_known(host: LoopHost, node: Kubelet) -> None:
    assert node.storage_health() == {}


def test_storage_is_unreachable_without_systems_or_sdc(host: LoopHost, node: Kubelet) -> None:
    host.know_systems()
    assert node.storage_health() == {"SdcNotConnected": "STORAGE_UNREACHABLE"}
    host.drv_cfg.write_text("#!/bin/sh\nexit 1\n")
    assert node.storage_health() == {"SdcSilent": "STORAGE_UNREACHABLE"}
    host.drv_cfg.unlink()
    assert node.storage_health() == {"SdcMissing": "STORAGE_UNREACHABLE"}


def test_the_node_says_who_it_is_and_what_it_reaches(host: LoopHost, node: Kubelet) -> None:
    info = node.info()
    assert info.node_id == f"sdc:{GUID}"
    assert dict(info.accessible_topology.segments) == {f"csi.powerflex.dev/{SYSTEM}": "true"}
    assert info == node.info()


def test_the_limit_of_volumes_can_differ_by_node(host: LoopHost, node: Kubelet) -> None:
    assert node.info().max_volumes_per_node == 10
    (host.folder / "max-volumes").write_text("25\n")
    assert node.info().max_volumes_per_node == 25
    for text in ("many", "9" * 30, "0" * 5000):
        (host.folder / "max-volumes").write_text(text)
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "max-volumes", text[:40]):
            node.info()


def test_without_a_limit_of_ours_the_arrays_counts(host: LoopHost, node: Kubelet) -> None:
    """8,192 volumes for each host; 0 would tell the scheduler that there is no limit at all."""
    limit = host.folder / "max-volumes"
    for configured in ("0", "9000"):
        limit.write_text(configured)
        assert node.info().max_volumes_per_node == 8192


def test_volumes_that_the_host_uses_itself_are_not_offered(host: LoopHost, node: Kubelet) -> None:
    ours, theirs = host.volume(), host.volume()
    node.stage(ours)
    command("mkfs.ext4", "-q", "-E", "nodiscard", theirs.path)
    command("mount", theirs.path, "/mnt")
    assert node.info().max_volumes_per_node == 9
    (host.folder / "max-volumes").write_text("1")
    assert node.info().max_volumes_per_node == 1  # 0 would mean no limit
    command("umount", "/mnt")
    assert node.info().max_volumes_per_node == 1


def test_a_partition_that_the_host_uses_takes_its_volume(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    part = host.folder / "part1"
    write(volume, 0, mbr())
    command("partx", "--add", volume.path)
    try:
        (number,) = blockdev.numbers(volume.path)[1:]
        command("mknod", part, "b", *number.split(":"))
        command("mkfs.ext4", "-q", "-E", "nodiscard", part)
        assert node.info().max_volumes_per_node == 10
        command("mount", part, "/mnt")
        assert node.info().max_volumes_per_node == 9
        command("umount", "/mnt")
    finally:
        command("partx", "--delete", volume.path)


def test_each_capability_has_its_call(node: Kubelet) -> None:
    answer = node.stub.NodeGetCapabilities(csi_pb2.NodeGetCapabilitiesRequest())
    assert {capability.rpc.type for capability in answer.capabilities} == set(CAPABILITIES)


@pytest.mark.parametrize("character", ["\x0b", "\x0c", "\r", "\x1c", "\x85", "\u2028"], ids=ascii)
def test_a_path_with_a_character_like_an_end_of_line_hides_no_mount(
    host: LoopHost, node: Kubelet, character: str
) -> None:
    volume = host.volume()
    path = host.kubelet / f"odd{character}name"
    path.mkdir()
    node.stage(volume, path=path)
    mounted = mountinfo.at(path)
    assert mounted is not None
    assert mountinfo.is_of(mounted, volume.path)
    node.unstage(volume, path=path)
    assert mountinfo.at(path) is None
