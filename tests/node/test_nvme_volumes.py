"""Volumes over NVMe/TCP through the node service: loop devices stand in for the kernel's devices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from csi_powerflex.host import mountinfo
from csi_powerflex.model.publish_context import PublishContext
from csi_powerflex.units import GIB
from tests.node.client import Kubelet, block, filesystem, refused
from tests.node.loophost import GUID, SYSTEM, LoopHost
from tests.node.nvme_host import NvmeHost, serving
from tests.node.nvme_kernel import FIRST, HOST, SECOND, FakeKernel, eventually, running

XFS = filesystem("xfs")

pytestmark = pytest.mark.needs("devices")


@pytest.fixture
def nvme_host(host: LoopHost, monkeypatch: pytest.MonkeyPatch) -> Iterator[NvmeHost]:
    with running(FakeKernel(host.folder / "kernel"), monkeypatch, plain_files=False) as kernel:
        yield NvmeHost(host, kernel)


@pytest.fixture
def over_nvme(nvme_host: NvmeHost, tmp_path: Path) -> Iterator[Kubelet]:
    with serving(nvme_host.settings(tmp_path), nvme_host.loop.kubelet) as kubelet:
        yield kubelet


@pytest.mark.needs("xfs")
def test_a_volume_lives_its_whole_life(nvme_host: NvmeHost, over_nvme: Kubelet) -> None:
    volume = nvme_host.volume()
    over_nvme.stage(volume, XFS)
    over_nvme.stage(volume, XFS)
    target = over_nvme.publish(volume, XFS)
    (target / "file").write_text("data")
    assert over_nvme.health(volume) == {}
    before = over_nvme.capacity(volume)
    nvme_host.grow(volume, 16 * GIB)
    assert over_nvme.expand(volume) == 16 * GIB
    assert over_nvme.capacity(volume) > before
    over_nvme.unpublish(volume)
    over_nvme.unstage(volume)
    assert nvme_host.loop.mounts() == []
    over_nvme.stage(volume, XFS)
    assert (over_nvme.publish(volume, XFS) / "file").read_text() == "data"
    assert len(nvme_host.kernel.controllers()) == 2


def test_a_raw_block_volume_is_the_kernels_device(nvme_host: NvmeHost, over_nvme: Kubelet) -> None:
    volume = nvme_host.volume()
    over_nvme.stage(volume, block())
    target = over_nvme.publish(volume, block())
    assert volume.backing is not None
    assert mountinfo.device_number(target) == mountinfo.device_number(volume.backing)
    over_nvme.unpublish(volume)
    over_nvme.unstage(volume)


def test_a_volume_whose_device_vanished_under_its_mount_can_be_removed(
    nvme_host: NvmeHost, over_nvme: Kubelet
) -> None:
    volume, other = nvme_host.volume(), nvme_host.volume()
    for each in (volume, other):
        over_nvme.stage(each)
        over_nvme.publish(each)
    nvme_host.unmap(volume)
    with refused(grpc.StatusCode.UNAVAILABLE, "this host has no device for volume", volume.handle):
        over_nvme.usage(volume)
    with refused(grpc.StatusCode.UNAVAILABLE, "this host has no device for volume", volume.handle):
        over_nvme.expand(volume, filesystem())
    assert over_nvme.health(volume) == {"DeviceMissing": "INACCESSIBLE"}
    over_nvme.unpublish(volume)
    over_nvme.unstage(volume)
    assert [mount.point for mount in nvme_host.loop.mounts() if str(volume.handle) in mount.point] == []
    assert over_nvme.health(other) == {}


def test_lost_paths_are_health_issues(nvme_host: NvmeHost, over_nvme: Kubelet) -> None:
    volume = nvme_host.volume()
    over_nvme.stage(volume)
    eventually(lambda: len(nvme_host.kernel.controllers()) == 2)
    nvme_host.kernel.lose(FIRST)
    assert over_nvme.health(volume) == {"PathsLost": "DEGRADED"}
    nvme_host.kernel.lose(SECOND)
    assert over_nvme.health(volume) == {"NoPath": "INACCESSIBLE"}
    nvme_host.kernel.restore(FIRST, SECOND)
    assert over_nvme.health(volume) == {}


def test_the_node_is_known_by_its_nqn(nvme_host: NvmeHost, over_nvme: Kubelet) -> None:
    info = over_nvme.info()
    assert info.node_id == f"nqn:{HOST}"
    assert info.max_volumes_per_node == 8192
    key = f"csi.powerflex.dev/{SYSTEM}"
    assert dict(info.accessible_topology.segments) == {key: "true", f"{key}-nvme": "true"}


def test_a_node_with_both_transports_has_both_identities(nvme_host: NvmeHost, tmp_path: Path) -> None:
    with serving(nvme_host.settings(tmp_path, transport="auto"), nvme_host.loop.kubelet) as kubelet:
        info = kubelet.info()
    assert info.node_id == f"sdc:{GUID},nqn:{HOST}"
    key = f"csi.powerflex.dev/{SYSTEM}"
    assert set(info.accessible_topology.segments) == {key, f"{key}-nvme", f"{key}-sdc"}


@pytest.mark.needs("xfs")
def test_a_volume_that_came_over_the_sdc_stays_usable_on_a_node_with_nvme(
    nvme_host: NvmeHost, over_nvme: Kubelet
) -> None:
    volume = nvme_host.loop.volume()
    over_nvme.stage(volume, XFS)
    over_nvme.publish(volume, XFS)
    assert over_nvme.info().node_id == f"nqn:{HOST}"
    assert over_nvme.health(volume) == {}
    volume.grow(16 * GIB)
    assert over_nvme.expand(volume) == 16 * GIB
    over_nvme.unpublish(volume)
    over_nvme.unstage(volume)
    assert nvme_host.loop.mounts() == []


@pytest.mark.needs("xfs")
def test_a_volume_that_came_over_nvme_stays_usable_on_a_node_with_the_sdc(
    nvme_host: NvmeHost, tmp_path: Path
) -> None:
    volume = nvme_host.volume()
    with serving(nvme_host.settings(tmp_path), nvme_host.loop.kubelet) as kubelet:
        kubelet.stage(volume, XFS)
        kubelet.publish(volume, XFS)
    with serving(nvme_host.settings(tmp_path, transport="sdc"), nvme_host.loop.kubelet) as kubelet:
        assert kubelet.info().node_id == f"sdc:{GUID}"
        assert kubelet.usage(volume)["BYTES"].total > 0
        nvme_host.grow(volume, 16 * GIB)
        assert kubelet.expand(volume) == 16 * GIB
        kubelet.unpublish(volume)
        kubelet.unstage(volume)
    assert nvme_host.loop.mounts() == []


def test_a_volume_is_never_used_by_two_devices(nvme_host: NvmeHost, over_nvme: Kubelet) -> None:
    volume = nvme_host.volume()
    over_nvme.stage(volume)
    twin = nvme_host.loop.by_id / f"emc-vol-{volume.handle.system_id}-{volume.handle.volume_id}"
    assert volume.backing is not None
    twin.symlink_to(volume.backing)

    class OverSdc:
        handle, size = volume.handle, volume.size

        def publish_context(self, *, read_only: bool = False) -> PublishContext:
            return PublishContext(volume.handle, "sdc", volume.size, read_only=read_only)

    for asked in (volume, OverSdc()):
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "two devices of one volume"):
            over_nvme.stage(asked)
    twin.unlink()
    over_nvme.unstage(volume)
