"""The mount namespaces of tests: mounts of other runs on this machine have no effect in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from csi_powerflex.host import blockdev, mountinfo
from tests.node.loophost import LoopHost, command
from tests.node.namespaces import own_mounts

pytestmark = pytest.mark.needs("devices")


def test_a_mount_of_another_run_is_not_copied(host: LoopHost, tmp_path: Path) -> None:
    theirs, point, bound = host.volume(), tmp_path / "theirs", tmp_path / "bound"
    command("mkfs.ext4", "-q", "-E", "nodiscard", theirs.path)
    point.mkdir()
    bound.touch()
    command("mount", theirs.path, point)
    command("mount", "--bind", theirs.path, bound)
    with own_mounts():
        assert mountinfo.of_device(theirs.path) == ()
    assert [mount.point for mount in mountinfo.of_device(theirs.path)] == [str(point), str(bound)]


def test_mounts_are_removed_with_their_namespace(host: LoopHost) -> None:
    volume = host.volume()
    command("mkfs.ext4", "-q", "-E", "nodiscard", volume.path)
    with own_mounts():
        command("mount", volume.path, host.kubelet)
        assert mountinfo.at(host.kubelet) is not None
    assert mountinfo.at(host.kubelet) is None
    blockdev.require_unused(volume.path)
