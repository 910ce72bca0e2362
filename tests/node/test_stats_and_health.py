"""NodeGetVolumeStats, NodeGetVolumeHealth and NodeGetStorageHealth."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from csi_powerflex.units import GIB, MIB
from tests.needs import EACH_FILESYSTEM
from tests.node.client import Kubelet, block, filesystem, refused
from tests.node.faults import shut_down_filesystem
from tests.node.loophost import LoopHost, command

pytestmark = pytest.mark.needs("devices")


@pytest.mark.parametrize("fs_type", EACH_FILESYSTEM)
def test_usage_grows_with_the_written_data(host: LoopHost, node: Kubelet, fs_type: str) -> None:
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


def test_inodes_are_reported_for_filesystems_that_limit_them(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume)
    target = node.publish(volume)
    before = node.usage(volume)["INODES"]
    (target / "file").touch()
    after = node.usage(volume)["INODES"]
    assert after.used == before.used + 1
    assert after.total == before.total


def test_a_block_volume_reports_only_its_size(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    node.stage(volume, block())
    node.publish(volume, block())
    usage = node.usage(volume)
    assert list(usage) == ["BYTES"]
    assert (usage["BYTES"].total, usage["BYTES"].used, usage["BYTES"].available) == (8 * GIB, 0, 0)


def test_stats_of_a_volume_that_is_not_at_the_path_are_not_found(host: LoopHost, node: Kubelet) -> None:
    volume, other = host.volume(), host.volume()
    with refused(grpc.StatusCode.NOT_FOUND, "nothing is mounted"):
        node.usage(volume)
    with refused(grpc.StatusCode.NOT_FOUND, "some/path"):
        node.usage(volume, path=Path("some/path"))
    node.stage(other)
    target = node.publish(other)
    with refused(grpc.StatusCode.NOT_FOUND, other.path):
        node.usage(volume, path=target)


def test_a_hanging_mount_does_not_block_other_volumes(
    host: LoopHost, node: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, healthy = host.volume(), host.volume()
    for volume in (hanging, healthy):
        node.stage(volume)
        node.publish(volume)
    end_of_test = threading.Event()
    real = os.statvfs

    def statvfs(path: Path) -> os.statvfs_result:
        if path == node.target(hanging):
            end_of_test.wait(100)
        return real(path)

    monkeypatch.setattr(os, "statvfs", statvfs)
    try:
        node.timeout = 0.5
        with refused(grpc.StatusCode.DEADLINE_EXCEEDED):
            node.usage(hanging)
        node.timeout = 60
        with refused(grpc.StatusCode.DEADLINE_EXCEEDED, "did not answer within 5"):
            node.usage(hanging)
        with refused(grpc.StatusCode.DEADLINE_EXCEEDED, "does not answer, and has not for"):
            node.usage(hanging)
        assert node.capacity(healthy) > 7 * GIB
    finally:
        end_of_test.set()


def test_stats_of_a_removed_device_fail_at_once(host: LoopHost, node: Kubelet) -> None:
    """The driver does not wait for it as for a new device."""
    volume = host.volume()
    node.stage(volume)
    node.publish(volume)
    volume.unmap()
    node.timeout = 4
    with refused(grpc.StatusCode.UNAVAILABLE, volume.handle, "this host has no device"):
        node.usage(volume)


def test_stats_of_a_filesystem_with_errors_have_the_error(
    host: LoopHost, node: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = host.volume()
    node.stage(volume)
    node.publish(volume)

    def statvfs(_path: Path) -> os.statvfs_result:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "statvfs", statvfs)
    with refused(grpc.StatusCode.UNAVAILABLE, volume.handle, "Input/output error"):
        node.usage(volume)


def test_a_healthy_volume_has_no_health_issues(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    assert node.health(volume) == {}
    node.stage(volume)
    node.publish(volume)
    assert node.health(volume) == {}


@pytest.mark.parametrize("call", ["health", "usage"])
def test_callers_at_the_same_time_get_the_same_answer(host: LoopHost, node: Kubelet, call: str) -> None:
    """A read that is under way is not a volume that hangs."""
    volume = host.volume()
    node.stage(volume)
    node.publish(volume)
    expected = {"health": {}, "usage": node.usage(volume)}[call]
    with ThreadPoolExecutor(4) as callers:
        calls = [callers.submit(getattr(node, call), volume) for _ in range(100)]
    assert [found for found in (call.result() for call in calls) if found != expected] == []


def test_health_of_a_missing_device(host: LoopHost, node: Kubelet) -> None:
    assert node.health(host.volume(mapped=False)) == {"DeviceMissing": "INACCESSIBLE"}


def test_health_of_a_device_with_errors(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    command("truncate", "--size", 0, volume.image)  # the device keeps its size, and fails
    assert node.health(volume) == {"DeviceErrors": "INACCESSIBLE"}


@pytest.mark.needs("xfs")
def test_health_of_an_inaccessible_filesystem(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    staging = node.stage(volume, filesystem("xfs"))
    shut_down_filesystem(staging)
    assert node.health(volume)["FilesystemInaccessible"] == "INACCESSIBLE"


def test_health_of_a_filesystem_that_the_kernel_made_read_only(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    staging = node.stage(volume, filesystem("ext4", "errors=remount-ro"))
    command("sh", "-c", f"echo 1 > /sys/fs/ext4/{volume.path.name}/trigger_fs_error")
    health = node.health(volume)
    assert health["FilesystemErrors"] == "DEGRADED"
    assert health["FilesystemReadOnly"] == "DEGRADED"
    assert staging.is_dir()


def test_storage_is_healthy_while_the_sdc_has_systems(host: LoopHost, node: Kubelet) -> None:
    assert node.storage_health() == {}


def test_storage_is_unreachable_without_systems_or_sdc(host: LoopHost, node: Kubelet) -> None:
    host.know_systems()
    assert node.storage_health() == {"NotConnected": "STORAGE_UNREACHABLE"}
    host.drv_cfg.write_text("#!/bin/sh\nexit 1\n")
    assert node.storage_health() == {"TransportDoesNotAnswer": "STORAGE_UNREACHABLE"}
    host.drv_cfg.unlink()
    assert node.storage_health() == {"TransportMissing": "STORAGE_UNREACHABLE"}
