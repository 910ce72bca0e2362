"""Bind mounts, detached mounts and the mount table."""

from __future__ import annotations

import pytest

from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.host import mountinfo, mounts
from csi_powerflex.operations.node import target_paths
from tests.node.loophost import LoopHost

pytestmark = pytest.mark.needs("devices")


def test_a_bind_mount_needs_its_source_and_its_target(host: LoopHost) -> None:
    here, there = host.kubelet / "here", host.kubelet / "there"
    here.mkdir()
    for source, point in ((here, there), (there, here)):
        with pytest.raises(FailedPrecondition, match="cannot be bound to"):
            mounts.bind(source, point, read_only=True)
    assert host.mounts() == []


def test_a_path_without_a_mount_cannot_be_detached(host: LoopHost) -> None:
    with pytest.raises(OSError, match="umount2"):
        mounts.detach(host.kubelet)


def test_a_mount_whose_device_file_is_missing_has_no_device() -> None:
    mount = mountinfo.Mount(1, "0:99", "/", "/x", frozenset(), "btrfs", "/dev/none", frozenset(), "")
    assert mountinfo.number_behind(mount) is None
    assert not target_paths.alive(mount)
