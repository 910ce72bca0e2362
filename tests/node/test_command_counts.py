"""Which programs each call of the node starts. A start costs more than all that the driver does by itself."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from csi_powerflex.host import run
from tests.needs import EACH_FILESYSTEM
from tests.node.client import Kubelet, block, filesystem
from tests.node.loophost import LoopHost

pytestmark = pytest.mark.needs("devices")

Started = Callable[[Callable[[], object]], list[str]]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """The names of the programs that a call starts, in order."""
    names: list[str] = []
    start = run._start

    def counted(command: Sequence[str], keep_open: Any) -> subprocess.Popen[str]:
        names.append(Path(command[0]).name)
        return start(command, keep_open)

    monkeypatch.setattr(run, "_start", counted)

    def of(call: Callable[[], object]) -> list[str]:
        names.clear()
        call()
        return list(names)

    return of


@pytest.mark.parametrize("fs_type", EACH_FILESYSTEM)
def test_a_filesystem_volume(host: LoopHost, node: Kubelet, started: Started, fs_type: str) -> None:
    volume, use = host.volume(), filesystem(fs_type)
    check = ["e2fsck"] if fs_type == "ext4" else []
    new = started(lambda: node.stage(volume, use))
    assert new == ["drv_cfg", "blkid", "wipefs", f"mkfs.{fs_type}", "blkid", "mount"]
    assert started(lambda: node.stage(volume, use)) == ["drv_cfg"]
    assert started(lambda: node.publish(volume, use)) == []
    assert started(lambda: node.publish(volume, use)) == []
    assert started(lambda: node.unpublish(volume)) == ["umount"]
    assert started(lambda: node.unpublish(volume)) == []
    assert started(lambda: node.unstage(volume)) == ["mount", "umount"]
    assert started(lambda: node.stage(volume, use)) == ["drv_cfg", "blkid", *check, "mount"]


def test_a_block_volume(host: LoopHost, node: Kubelet, started: Started) -> None:
    volume = host.volume()
    assert started(lambda: node.stage(volume, block())) == ["drv_cfg"]
    assert started(lambda: node.publish(volume, block())) == ["drv_cfg"]
    assert started(lambda: node.unpublish(volume)) == ["umount"]
    assert started(lambda: node.unstage(volume)) == ["blockdev"]
