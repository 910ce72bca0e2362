"""NodeExpandVolume: first the device, then the filesystem. The answer has the real size."""

from __future__ import annotations

import grpc
import pytest

from csi_powerflex.operations.node import filesystem_growth
from csi_powerflex.units import GIB
from tests.needs import EACH_FILESYSTEM
from tests.node.client import Kubelet, Mode, block, filesystem, refused
from tests.node.loophost import LoopHost, command

pytestmark = pytest.mark.needs("devices")

each_online = pytest.mark.parametrize(
    "fs_type",
    [
        pytest.param("ext4", marks=[pytest.mark.needs("online-ext4"), pytest.mark.emulated]),
        *EACH_FILESYSTEM[1:],
    ],
)


@each_online
def test_a_filesystem_in_use_grows(host: LoopHost, node: Kubelet, fs_type: str) -> None:
    capability = filesystem(fs_type)
    volume = host.volume(size=8 * GIB)
    node.stage(volume, capability)
    target = node.publish(volume, capability)
    with (target / "file").open("w") as in_use:
        volume.grow(24 * GIB)
        assert node.expand(volume, capability) == 24 * GIB
        assert node.capacity(volume) > 23 * GIB
        in_use.write("meanwhile")
    assert (target / "file").read_text() == "meanwhile"
    assert node.expand(volume, capability) == 24 * GIB


def test_an_ext4_in_use_that_cannot_grow_is_an_error_and_it_grows_when_it_is_staged_again(
    host: LoopHost, node: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem_growth, "can_grow_ext4_online", lambda: False)
    volume = host.volume(size=8 * GIB)
    staging = node.stage(volume)
    node.publish(volume)
    (staging / "file").write_text("kept")
    volume.grow(16 * GIB)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "CAP_SYS_RESOURCE", "8 GiB of the 16 GiB"):
        node.expand(volume)
    node.stage(volume)  # its pods can still use it
    node.unpublish(volume)
    node.unstage(volume)
    node.stage(volume)
    node.publish(volume)
    assert node.capacity(volume) > 15 * GIB
    assert (staging / "file").read_text() == "kept"


def test_a_block_volume_has_its_size_at_once(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume(size=8 * GIB)
    node.stage(volume, block())
    node.publish(volume, block())
    volume.grow(16 * GIB)
    assert node.expand(volume, block()) == 16 * GIB
    assert node.expand(volume) == 16 * GIB


@pytest.mark.needs("xfs")
def test_a_device_that_does_not_have_its_new_size_is_rescanned(host: LoopHost, node: Kubelet) -> None:
    capability = filesystem("xfs")
    volume = host.volume(size=8 * GIB)
    node.stage(volume, capability)
    node.publish(volume, capability)
    command("truncate", "--size", 16 * GIB, volume.image)
    host.on_rescan(f"losetup --set-capacity {volume.path}")
    assert node.expand(volume, required=16 * GIB) == 16 * GIB
    assert [call for call in host.calls() if "query" not in call] == ["--rescan"]


def test_a_device_that_does_not_grow_is_unavailable(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume(size=8 * GIB)
    node.stage(volume)
    node.publish(volume)
    node.timeout = 2
    with refused(grpc.StatusCode.UNAVAILABLE, "8 GiB and not the 16 GiB"):
        node.expand(volume, required=16 * GIB)


@pytest.mark.needs("xfs")
def test_without_a_requested_size_the_filesystem_grows_to_its_device(host: LoopHost, node: Kubelet) -> None:
    capability = filesystem("xfs")
    volume = host.volume(size=8 * GIB)
    node.stage(volume, capability)
    node.publish(volume, capability)
    volume.grow(16 * GIB)
    assert node.expand(volume, required=0) == 16 * GIB
    assert node.capacity(volume) > 15 * GIB


def test_expand_out_of_range_above_the_limit(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume(size=16 * GIB)
    node.stage(volume)
    node.publish(volume)
    with refused(grpc.StatusCode.OUT_OF_RANGE, "16 GiB", "limit of 8 GiB"):
        node.expand(volume, required=1, limit=8 * GIB)


def test_expand_out_of_range_that_contains_no_size(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume(size=8 * GIB)
    node.stage(volume)
    node.publish(volume)
    with refused(grpc.StatusCode.OUT_OF_RANGE, "below the required"):
        node.expand(volume, required=16 * GIB, limit=8 * GIB)
    with refused(grpc.StatusCode.OUT_OF_RANGE, "negative"):
        node.expand(volume, required=-1)


@pytest.mark.needs("xfs")
def test_expand_finds_the_volume_by_its_staging_path_alone(host: LoopHost, node: Kubelet) -> None:
    """Kubelets differ in what they send as volume_path."""
    capability = filesystem("xfs")
    volume = host.volume(size=8 * GIB)
    staging = node.stage(volume, capability)
    volume.grow(16 * GIB)
    assert node.expand(volume, path=staging) == 16 * GIB
    assert node.expand(volume, path=host.kubelet / "pods" / "deleted") == 16 * GIB


def test_a_volume_that_is_not_mounted_or_not_mapped_is_not_expanded(host: LoopHost, node: Kubelet) -> None:
    volume, other = host.volume(), host.volume(mapped=False)
    with refused(grpc.StatusCode.NOT_FOUND, "not mounted"):
        node.expand(volume)
    with refused(grpc.StatusCode.UNAVAILABLE, "this host has no device"):
        node.expand(other)


@pytest.mark.needs("xfs")
def test_expand_failed_precondition_on_a_read_only_filesystem(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume(size=8 * GIB)
    reader = filesystem("xfs", mode=Mode.SINGLE_NODE_READER_ONLY)
    node.stage(volume, filesystem("xfs"))
    node.unstage(volume)
    node.stage(volume, reader)
    node.publish(volume, reader)
    volume.grow(16 * GIB)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "read-only"):
        node.expand(volume)


@pytest.mark.needs("xfs")
def test_an_interrupted_expansion_is_completed_when_the_volume_is_staged(
    host: LoopHost, node: Kubelet
) -> None:
    capability = filesystem("xfs")
    volume = host.volume(size=8 * GIB)
    node.stage(volume, capability)
    node.publish(volume, capability)
    volume.grow(16 * GIB)
    node.stage(volume, capability)
    assert node.capacity(volume) > 15 * GIB


def test_only_the_volume_that_is_mounted_at_the_path_is_expanded(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume()
    with refused(grpc.StatusCode.NOT_FOUND, "is not mounted at"):
        node.expand(volume)
    with refused(grpc.StatusCode.NOT_FOUND, "is not mounted at"):
        node.expand(volume, filesystem())
    assert node.expand(volume, block()) == volume.size
