"""Block devices, probes and the sizes of filesystems."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from csi_powerflex.errors import Busy, FailedPrecondition, InvalidArgument, Unavailable
from csi_powerflex.host import blockdev, btrfs, filesystem as filesystems, fssize, probe
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.units import KIB, MIB
from tests.node.loophost import SYSTEM, LoopHost

pytestmark = pytest.mark.needs("devices")

HANDLE = VolumeHandle(SYSTEM, "b1f0c2d400000099")


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
def test_a_missing_device_is_unavailable(missing_device: Path, ask: Callable[[Path], object]) -> None:
    with pytest.raises(Unavailable, match=str(missing_device)):
        ask(missing_device)


def test_a_partial_read_or_write_is_unavailable(host: LoopHost) -> None:
    volume = host.volume(size=64 * 1024 * 1024)
    with pytest.raises(Unavailable, match="4096 of 8192 bytes"):
        blockdev.read(volume.path, offset=volume.size - 4096, length=8192)
    with pytest.raises(Unavailable, match="4096 of 8192 bytes"):
        blockdev.write(volume.path, bytes(8192), offset=volume.size - 4096)


@pytest.mark.parametrize("at", [0, 4095, 256 * KIB - 1, 256 * KIB, 4 * MIB - 1], ids=str)
def test_a_byte_that_is_not_zero_is_found_anywhere(host: LoopHost, at: int) -> None:
    volume = host.volume(size=64 * MIB)
    with blockdev.opened(volume.path) as reader:
        assert reader.is_zero(offset=4 * MIB, length=4 * MIB)
        volume.write(4 * MIB + at, b"\1")
        assert not reader.is_zero(offset=4 * MIB, length=4 * MIB)
        assert reader.is_zero(offset=8 * MIB, length=4 * MIB)
        assert reader.read(offset=4 * MIB, length=4 * MIB) == bytes(at) + b"\1" + bytes(4 * MIB - at - 1)


def test_the_head_that_is_read_has_the_superblock_of_every_filesystem() -> None:
    """A complete superblock outside of it would not be seen."""
    for kind in filesystems.KINDS.values():
        offset, number = kind.magic
        assert offset + len(number) <= probe._HEAD


def test_a_device_below_another_is_in_use(host: LoopHost, monkeypatch: pytest.MonkeyPatch) -> None:
    device = host.volume().path
    held = os.open(device, os.O_RDONLY | os.O_EXCL)
    try:
        with pytest.raises(Busy, match="something that this process does not see"):
            blockdev.require_unused(device)
        # As below a multipath map, which not every machine can create.
        monkeypatch.setattr(blockdev, "holders", lambda _: ["dm-0"])
        with pytest.raises(FailedPrecondition, match="dm-0"):
            blockdev.require_unused(device)
    finally:
        os.close(held)


def test_a_device_too_small_for_a_volume_is_not_probed(host: LoopHost) -> None:
    with pytest.raises(FailedPrecondition, match="no volume of a PowerFlex is below"):
        probe.probe(host.volume(size=1024 * 1024).path, HANDLE)


def test_only_the_mark_of_the_same_volume_is_removed_or_allows_erasing(host: LoopHost) -> None:
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


def test_the_error_for_an_unknown_filesystem_has_the_known_ones() -> None:
    with pytest.raises(InvalidArgument, match="choose one of ext4, xfs, btrfs"):
        filesystems.kind("zfs")


def test_the_size_of_a_missing_filesystem_is_an_error(host: LoopHost, missing_device: Path) -> None:
    with pytest.raises(FailedPrecondition, match="has no ext4 superblock"):
        fssize.ext4(host.volume().path)
    with pytest.raises(Unavailable, match="does not answer"):
        fssize.ext4(missing_device)
    for size in (fssize.xfs, fssize.btrfs):
        with pytest.raises(Unavailable, match="does not answer"):
            size(host.kubelet / "missing")
    with pytest.raises(Unavailable, match="does not answer"):
        btrfs.mounted_with_same_id(missing_device)
