"""Looking up the device of a volume through the SDC: by its link, with events, until the deadline."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import grpc
import pytest

from csi_powerflex import call_context
from csi_powerflex.config.node import SdcSettings
from csi_powerflex.errors import Unavailable
from csi_powerflex.host import mountinfo
from csi_powerflex.host.inotify import DirectoryWatch
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.transport.sdc import transport as sdc_module
from csi_powerflex.transport.sdc.transport import Sdc
from csi_powerflex.units import GIB
from tests.node.client import Kubelet, block, filesystem, refused
from tests.node.loophost import SYSTEM, LoopHost

pytestmark = pytest.mark.needs("devices")

HANDLE = VolumeHandle(SYSTEM, "b1f0c2d400000099")

# Seconds. Without an event the wait would end after 5.
AT_ONCE = 2.0


@pytest.fixture
def event_driven(host: LoopHost) -> Sdc:
    """An SDC without polling and rescans, so only events end its waits."""
    return Sdc(host.settings(slow_poll_seconds=60.0, first_rescan_seconds=60.0))


class Delayed:
    """Changes the host shortly after the driver has begun to wait."""

    def __init__(self, act: object) -> None:
        self.at = 0.0
        self._act = act
        self._thread = threading.Timer(0.15, self._run)
        self._thread.start()

    def _run(self) -> None:
        assert callable(self._act)
        self._act()
        self.at = time.monotonic()

    def lag(self) -> float:
        """Seconds from the change to now."""
        now = time.monotonic()
        self._thread.join()
        return now - self.at


def test_a_device_that_exists_needs_no_watch(
    host: LoopHost, sdc: Sdc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watch needs a system call that takes longer than the rest of the lookup."""
    volume = host.volume()
    monkeypatch.delattr(sdc_module, "DirectoryWatch")
    assert sdc.attach(volume.publish_context()) == volume.path


def test_watches_are_closed(host: LoopHost) -> None:
    def watches() -> int:
        found = 0
        for link in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # the descriptor of this iteration
                found += "inotify" in str(link.readlink())
        return found

    before = watches()
    for _ in range(5):
        with DirectoryWatch(host.by_id):
            pass
    for thread in threading.enumerate():
        if thread.name == "inotify-close":
            thread.join()
    assert watches() == before


def test_a_new_device_is_found_at_once(host: LoopHost, event_driven: Sdc) -> None:
    volume = host.volume(mapped=False)
    device = volume.connect()
    delayed = Delayed(lambda: volume.link.symlink_to(device))
    assert event_driven.attach(volume.publish_context()) == device
    assert delayed.lag() < AT_ONCE


def test_a_link_created_by_a_rename_is_found_at_once(host: LoopHost, event_driven: Sdc) -> None:
    """Udev creates links so."""
    volume = host.volume(mapped=False)
    device = volume.connect()
    temporary = host.by_id / ".#link"
    temporary.symlink_to(device)
    delayed = Delayed(lambda: temporary.rename(volume.link))
    assert event_driven.attach(volume.publish_context()) == device
    assert delayed.lag() < AT_ONCE


def test_the_folder_of_links_need_not_exist_yet(host: LoopHost, event_driven: Sdc) -> None:
    volume = host.volume(mapped=False)
    device = volume.connect()
    host.by_id.rmdir()

    def first_device() -> None:
        host.by_id.mkdir()
        time.sleep(0.05)
        volume.link.symlink_to(device)

    delayed = Delayed(first_device)
    assert event_driven.attach(volume.publish_context()) == device
    assert delayed.lag() < AT_ONCE


def test_the_driver_waits_until_a_device_has_its_size(host: LoopHost, sdc: Sdc) -> None:
    volume = host.volume()
    wanted = volume.size
    volume.grow(0)
    delayed = Delayed(lambda: volume.grow(wanted))
    volume.size = wanted
    assert sdc.attach(volume.publish_context()) == volume.path
    assert delayed.lag() < AT_ONCE


def test_a_rescan_finds_a_device_without_an_event(host: LoopHost) -> None:
    sdc = Sdc(host.settings(first_rescan_seconds=0.1))
    volume = host.volume(mapped=False)
    device = volume.connect()
    host.on_rescan(f"ln -s {device} {volume.link}")
    assert sdc.attach(volume.publish_context()) == device
    assert [call for call in host.calls() if "query" not in call] == ["--rescan"]


def test_the_error_for_a_missing_device_has_the_known_systems(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume(mapped=False)
    with refused(grpc.StatusCode.UNAVAILABLE, volume.link, "is configured for system", "is mapped to it"):
        node.stage(volume, timeout=2)
    host.know_systems("0f1e2d3c4b5a6978")
    with refused(
        grpc.StatusCode.UNAVAILABLE, volume.link, f"not connected to system {SYSTEM}", "0f1e2d3c4b5a6978"
    ):
        node.stage(volume, timeout=2)


def test_the_wait_ends_with_the_deadline_of_the_call(host: LoopHost, sdc: Sdc) -> None:
    volume = host.volume(mapped=False)
    began = time.monotonic()
    with (
        call_context.entered(call_context.CallContext("NodeStageVolume", "x", deadline=began + 1.0)),
        pytest.raises(Unavailable, match="did not appear"),
    ):
        sdc.attach(volume.publish_context())
    assert time.monotonic() - began < 4.0  # the limit of the settings is 5 s


def test_links_of_partitions_and_other_devices_are_not_volumes(host: LoopHost, sdc: Sdc) -> None:
    volume = host.volume()
    Path(f"{volume.link}-part1").symlink_to(volume.path)
    (host.by_id / "ata-disk").symlink_to(volume.path)
    (host.by_id / f"emc-vol-{SYSTEM}-ffffffffffffffff").symlink_to("/nowhere")
    assert sdc.devices() == (volume.path,)


def test_a_device_that_is_smaller_than_the_volume_is_not_used(host: LoopHost, node: Kubelet) -> None:
    """The link leads to the wrong device."""
    volume = host.volume(size=8 * GIB)
    volume.size = 16 * GIB
    with refused(grpc.StatusCode.UNAVAILABLE, volume.link, "which has 8 GiB and not the 16 GiB"):
        node.stage(volume, timeout=2)


def test_a_link_to_the_device_of_another_volume_is_not_followed(host: LoopHost, node: Kubelet) -> None:
    """The kernel gave the device's name to another volume, and udev has not changed the links yet."""
    old, new = host.volume(), host.volume(mapped=False)
    link = old.link
    old.unmap()
    new.connect()
    link.symlink_to(new.path)
    node.timeout = 3
    for use in (filesystem(), block()):
        with refused(grpc.StatusCode.UNAVAILABLE, old.handle, new.path, new.handle, "the link is stale"):
            node.stage(old, use)
    link.unlink()
    old.map()
    node.timeout = 60
    node.stage(old)


def test_a_tool_that_cannot_tell_the_volume_of_a_device_is_no_reason_to_refuse(
    host: LoopHost, node: Kubelet
) -> None:
    script = host.drv_cfg.read_text()
    host.drv_cfg.write_text(script.replace("--query_block_device_id)", "--not-there)"))
    node.stage(host.volume())


def test_a_device_with_the_links_of_two_volumes_is_not_used(host: LoopHost, node: Kubelet) -> None:
    """One link is stale: its device is used for another volume now."""
    unmapped, other = host.volume(mapped=False), host.volume()
    unmapped.link.symlink_to(other.path)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, unmapped.link.name, other.link.name, "stale"):
        node.stage(unmapped)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, unmapped.link.name, other.link.name, "stale"):
        node.stage(other)


def test_the_link_of_a_partition_is_not_the_volume(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume(mapped=False)
    Path(f"{volume.link}-part1").symlink_to(volume.connect())
    with refused(grpc.StatusCode.UNAVAILABLE, volume.link):
        node.stage(volume, timeout=2)


def test_the_same_volume_id_of_another_system_is_not_the_volume(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume(mapped=False)
    (host.by_id / f"emc-vol-0f1e2d3c4b5a6978-{volume.handle.volume_id}").symlink_to(volume.connect())
    with refused(grpc.StatusCode.UNAVAILABLE, volume.link):
        node.stage(volume, timeout=2)


def test_a_device_path_in_the_volume_context_is_ignored(host: LoopHost, node: Kubelet) -> None:
    """Each call looks up the device by the ids of the volume."""
    volume, other = host.volume(), host.volume()
    staged = node.stage(volume, context={"devicePath": str(other.path), "device": str(other.path)})
    mount = mountinfo.at(staged)
    assert mount is not None
    assert mount.source == str(volume.path)


def test_without_the_folder_of_links_no_device_is_found(host: LoopHost, tmp_path: Path) -> None:
    sdc = Sdc(SdcSettings(drv_cfg=host.drv_cfg, control_device=tmp_path / "scini", by_id=tmp_path / "none"))
    assert sdc.devices() == ()
    assert sdc.find(HANDLE) is None


def test_the_driver_waits_for_a_device_that_does_not_answer(host: LoopHost, missing_device: Path) -> None:
    volume = host.volume(mapped=False)
    volume.link.symlink_to(missing_device)
    sdc = Sdc(host.settings(device_seconds=0.5))
    publish_context = volume.publish_context()
    with pytest.raises(Unavailable, match=f"did not appear within .*{missing_device}"):
        sdc.attach(publish_context)
    (host.sdc / "mdms").unlink()
    with pytest.raises(Unavailable, match="It is not known whether the SDC is connected"):
        sdc.attach(publish_context)


def test_a_stale_link_without_a_device_is_ignored(host: LoopHost, sdc: Sdc) -> None:
    volume = host.volume()
    (host.by_id / f"emc-vol-{SYSTEM}-{'0' * 16}").symlink_to(host.folder / "nothing")
    assert sdc.attach(volume.publish_context()) == volume.path
