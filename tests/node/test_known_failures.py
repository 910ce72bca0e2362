"""What other CSI drivers were caught at, and what is right instead, where no other file here is about it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import grpc
import pytest

from csi_powerflex.host import blockdev, mountinfo, mounts
from csi_powerflex.operations.node import target_paths
from csi_powerflex.transport.sdc.transport import Sdc
from tests.node.breakable import repeated
from tests.node.client import Kubelet, block, filesystem, refused
from tests.node.loophost import GUID, LoopHost, Volume, command
from tests.node.process import NodeProcess
from tests.node.test_data_first import volume_end

with_devices = pytest.mark.needs("devices")
ReplaceTool = Callable[[str, str], None]


def lose(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unmap the volume from under its mounts.

    A loop device in use cannot leave sysfs, as one of an SDC does, so that part is played.
    """
    lost = mountinfo.device_number(volume.path)
    real = blockdev.exists
    monkeypatch.setattr(blockdev, "exists", lambda number: number != lost and real(number))
    volume.unmap()


@with_devices
@pytest.mark.parametrize("kind", ["filesystem", "block"])
def test_pods_can_end_after_a_restart_of_the_plugin(host: LoopHost, kind: str) -> None:
    """Pods stuck in Terminating: state in the plugin's memory or private mounts was lost."""
    capability = block() if kind == "block" else filesystem()
    volume = host.volume()
    with NodeProcess(host) as first:
        first.kubelet.stage(volume, capability)
        target = first.kubelet.publish(volume, capability)
        first.kill()
    with NodeProcess(host) as second:
        second.kubelet.unpublish(volume)
        second.kubelet.unstage(volume)
    assert not target.exists()
    assert host.mounts() == []


@with_devices
def test_a_making_that_outlasts_its_call_is_waited_for_and_not_begun_again(
    host: LoopHost, node: Kubelet, replace_tool: ReplaceTool, request: pytest.FixtureRequest
) -> None:
    """The client's deadline is shorter than the work: cut or doubled, it would never end."""
    volume = host.volume()
    made, go_on = host.folder / "made", host.folder / "go-on"
    replace_tool("mkfs.ext4", f'echo >> {made}; until [ -e {go_on} ]; do sleep 0.02; done; exec $real "$@"')
    # However the test ends, the tool must not stay behind with the device's lock.
    request.addfinalizer(go_on.touch)
    with refused(grpc.StatusCode.DEADLINE_EXCEEDED):
        node.stage(volume, timeout=3)
    assert made.exists()
    with refused(grpc.StatusCode.ABORTED, "still works on", volume.path):
        node.stage(volume)
    go_on.touch()
    repeated(lambda: node.stage(volume))
    assert made.read_text().count("\n") == 1
    (node.staging(volume) / "file").write_text("works")
    assert b"csi-powerflex" not in volume_end(volume)


@with_devices
def test_an_ext4_with_errors_that_can_be_mended_is_mended_before_it_is_mounted(
    host: LoopHost, node: Kubelet
) -> None:
    volume = host.volume()
    (node.stage(volume) / "file").write_text("kept")
    node.unstage(volume)
    command("debugfs", "-w", "-R", "set_super_value state 2", volume.path)
    command("debugfs", "-w", "-R", "set_super_value free_inodes_count 7", volume.path)
    staged = node.stage(volume)
    assert (staged / "file").read_text() == "kept"
    assert "Filesystem state:         clean" in command("dumpe2fs", "-h", volume.path)
    assert os.statvfs(staged).f_ffree > 7


@with_devices
def test_an_unmount_that_hangs_on_a_lost_device_does_not_keep_the_volume(
    host: LoopHost, node: Kubelet, replace_tool: ReplaceTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = host.volume()
    staged = node.stage(volume)
    target = node.publish(volume)
    lose(volume, monkeypatch)
    replace_tool("umount", "exec sleep 60")
    monkeypatch.setattr(mounts, "unmount", partial(mounts.unmount, seconds=0.3))
    node.unpublish(volume)
    node.unstage(volume)
    assert not target.exists()
    assert list(staged.iterdir()) == []
    assert host.mounts() == []


@with_devices
def test_an_unmount_that_hangs_on_a_device_that_works_is_not_forced(
    host: LoopHost, node: Kubelet, replace_tool: ReplaceTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be writing still: taken out of sight, it would go on behind the next node's back."""
    volume = host.volume()
    staged = node.stage(volume)
    replace_tool("umount", "exec sleep 60")
    monkeypatch.setattr(mounts, "unmount", partial(mounts.unmount, seconds=0.3))
    with refused(grpc.StatusCode.DEADLINE_EXCEEDED, staged, "repeat the call"):
        node.unstage(volume)
    assert mountinfo.at(staged) is not None
    replace_tool("umount", 'exec $real "$@"')
    node.unstage(volume)
    assert mountinfo.at(staged) is None


@with_devices
def test_a_target_that_shows_a_lost_device_is_published_anew(
    host: LoopHost, node: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a forced unmapping at the array and a new mapping."""
    volume = host.volume()
    node.stage(volume)
    target = node.publish(volume)
    (target / "file").write_text("kept")
    command("sync", "--file-system", target)
    lose(volume, monkeypatch)
    volume.map()
    node.stage(volume)
    node.publish(volume)
    assert (target / "file").read_text() == "kept"
    assert mountinfo.at(target) == mountinfo.of_device(volume.path)[-1]


@with_devices
def test_more_mounts_than_one_call_takes_away_are_gone_after_the_next(
    host: LoopHost, node: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target_paths, "_MOST_STACKED", 3)
    volume = host.volume()
    staged = node.stage(volume)
    target = node.publish(volume)
    for _ in range(4):
        mounts.bind(staged, target, read_only=False)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, target, "more than 3 mounts"):
        node.unpublish(volume)
    node.unpublish(volume)
    assert not target.exists()


@with_devices
def test_statistics_of_a_device_that_is_gone_are_refused_at_once(host: LoopHost, node: Kubelet) -> None:
    """Not after waiting for it, as for one that is about to come."""
    volume = host.volume()
    node.stage(volume)
    node.publish(volume)
    volume.unmap()
    node.timeout = 4
    with refused(grpc.StatusCode.UNAVAILABLE, volume.handle, "is gone"):
        node.usage(volume)


@with_devices
def test_statistics_of_a_filesystem_that_gives_errors_say_so(
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


@with_devices
def test_a_device_path_in_the_context_leads_nowhere(host: LoopHost, node: Kubelet) -> None:
    """The device is found anew by the volume's ids at every call."""
    volume, other = host.volume(), host.volume()
    staged = node.stage(volume, context={"devicePath": str(other.path), "device": str(other.path)})
    mount = mountinfo.at(staged)
    assert mount is not None
    assert mount.source == str(volume.path)


@with_devices
@pytest.mark.parametrize("present", ["nothing", "file", "device that is no SDC"])
def test_without_an_answer_of_the_kernel_module_the_tool_is_asked(host: LoopHost, present: str) -> None:
    control = host.sdc / "scini"
    if present == "file":
        control.touch()
    elif present != "nothing":
        control.symlink_to("/dev/null")
    sdc = Sdc(host.settings())
    assert str(sdc.initiator()) == f"sdc:{GUID}"
    sdc.rescan()
    assert host.calls() == ["--query_guid", "--rescan"]


@with_devices
def test_the_kernel_module_is_asked_before_the_tool(host: LoopHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer's form is that of scini; there is no such module here to give it."""
    (host.sdc / "scini").symlink_to("/dev/null")
    asked: list[tuple[int, int]] = []

    def ioctl(_device: object, request: int, buffer: bytearray) -> int:
        asked.append((request, len(buffer)))
        assert not any(buffer)
        buffer[0] = 65
        if request == 0x610E:
            buffer[8:24] = bytes.fromhex(GUID.replace("-", ""))
        return 0

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    sdc = Sdc(host.settings())
    assert str(sdc.initiator()) == f"sdc:{GUID}"
    sdc.rescan()
    assert asked == [(0x610E, 32), (0x610A, 8)]
    assert host.calls() == []


@with_devices
def test_an_ioctl_that_does_not_say_success_is_none(host: LoopHost, monkeypatch: pytest.MonkeyPatch) -> None:
    (host.sdc / "scini").symlink_to("/dev/null")
    monkeypatch.setattr(fcntl, "ioctl", lambda *_: 0)
    assert str(Sdc(host.settings()).initiator()) == f"sdc:{GUID}"
    assert host.calls() == ["--query_guid"]
