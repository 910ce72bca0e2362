"""Finding a volume's device through the SDC: by its exact link, by events, within the deadline."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import grpc
import pytest

from csi_powerflex import call_context
from csi_powerflex.errors import FailedPrecondition, Unavailable
from csi_powerflex.host.inotify import DirectoryWatch
from csi_powerflex.model.publish_context import PublishContext
from csi_powerflex.transport.sdc import transport as sdc_module
from csi_powerflex.transport.sdc.transport import Sdc
from tests.node.client import Kubelet, refused
from tests.node.loophost import GUID, SYSTEM, LoopHost, Volume

pytestmark = pytest.mark.needs("devices")


def publish_context(volume: Volume) -> PublishContext:
    return PublishContext(handle=volume.handle, transport="sdc", size=volume.size, read_only=False)


@pytest.fixture
def event_driven(host: LoopHost) -> Sdc:
    """An SDC that neither polls nor rescans, so only events end its waits."""
    return Sdc(host.settings(slow_poll_seconds=60.0, first_rescan_seconds=60.0))


class Late:
    """Does something to the host a moment after the driver began to wait."""

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
        """Seconds from the act to now."""
        now = time.monotonic()
        self._thread.join()
        return now - self.at


def test_a_device_that_is_there_is_not_watched_for(
    host: LoopHost, sdc: Sdc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watch costs a system call that takes longer than all the rest."""
    volume = host.volume()
    monkeypatch.delattr(sdc_module, "DirectoryWatch")
    assert sdc.attach(publish_context(volume)) == volume.path


def test_watches_leave_nothing_behind(host: LoopHost) -> None:
    def watches() -> int:
        found = 0
        for link in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # the one that lists the folder
                found += "inotify" in str(link.readlink())
        return found

    before = watches()
    for _ in range(5):
        with DirectoryWatch(host.by_id):
            pass
    for thread in threading.enumerate():
        if thread.name == "end-of-watch":
            thread.join()
    assert watches() == before


def test_a_device_that_comes_is_noticed_at_once(host: LoopHost, event_driven: Sdc) -> None:
    volume = host.volume(mapped=False)
    device = volume.connect()
    late = Late(lambda: volume.link.symlink_to(device))
    assert event_driven.attach(publish_context(volume)) == device
    assert late.lag() < 0.05


def test_a_link_that_is_renamed_into_place_is_noticed_at_once(host: LoopHost, event_driven: Sdc) -> None:
    """As udev does it."""
    volume = host.volume(mapped=False)
    device = volume.connect()
    temporary = host.by_id / ".#link"
    temporary.symlink_to(device)
    late = Late(lambda: temporary.rename(volume.link))
    assert event_driven.attach(publish_context(volume)) == device
    assert late.lag() < 0.05


def test_a_folder_of_links_that_does_not_exist_yet_is_awaited(host: LoopHost, event_driven: Sdc) -> None:
    volume = host.volume(mapped=False)
    device = volume.connect()
    host.by_id.rmdir()

    def first_device() -> None:
        host.by_id.mkdir()
        time.sleep(0.05)
        volume.link.symlink_to(device)

    late = Late(first_device)
    assert event_driven.attach(publish_context(volume)) == device
    assert late.lag() < 0.05


def test_a_device_is_awaited_until_it_has_its_size(host: LoopHost, sdc: Sdc) -> None:
    volume = host.volume()
    wanted = volume.size
    volume.grow(0)
    late = Late(lambda: volume.grow(wanted))
    volume.size = wanted
    assert sdc.attach(publish_context(volume)) == volume.path
    assert late.lag() < 0.1


def test_an_event_that_was_missed_is_made_up_for_by_a_rescan(host: LoopHost) -> None:
    sdc = Sdc(host.settings(first_rescan_seconds=0.1))
    volume = host.volume(mapped=False)
    device = volume.connect()
    host.on_rescan(f"ln -s {device} {volume.link}")
    assert sdc.attach(publish_context(volume)) == device
    assert host.calls() == ["--rescan"]


def test_many_waiting_calls_share_a_rescan(host: LoopHost, sdc: Sdc) -> None:
    host.on_rescan("sleep 0.3")
    first = threading.Thread(target=sdc.rescan)
    first.start()
    time.sleep(0.1)
    others = [threading.Thread(target=sdc.rescan) for _ in range(8)]
    for thread in others:
        thread.start()
    for thread in (first, *others):
        thread.join()
    # One for the first, and one that began after the others had asked and so serves them all.
    assert host.calls() == ["--rescan"] * 2


def test_a_device_that_does_not_come_is_told_in_full(host: LoopHost, node: Kubelet) -> None:
    volume = host.volume(mapped=False)
    with refused(grpc.StatusCode.UNAVAILABLE, volume.link, "knows system", "mapped to this host"):
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
        pytest.raises(Unavailable, match="did not come"),
    ):
        sdc.attach(publish_context(volume))
    assert time.monotonic() - began < 4.0  # the driver's own limit is 5 s


def test_the_identity_is_the_guid_that_the_tool_says(host: LoopHost, sdc: Sdc) -> None:
    (host.sdc / "guid").write_text(GUID.lower() + "\n")
    assert str(sdc.initiator()) == f"sdc:{GUID}"


def test_a_guid_that_is_none_is_refused(host: LoopHost, sdc: Sdc) -> None:
    (host.sdc / "guid").write_text("no GUID yet\n")
    with pytest.raises(Unavailable, match="no GUID yet"):
        sdc.initiator()


def test_a_host_without_sdc_says_so(host: LoopHost, sdc: Sdc) -> None:
    host.drv_cfg.unlink()
    with pytest.raises(FailedPrecondition, match="this host has no SDC"):
        sdc.initiator()


def test_systems_that_were_never_reached_are_not_named(host: LoopHost, sdc: Sdc) -> None:
    host.know_systems("0" * 16, SYSTEM)
    assert sdc.systems() == (SYSTEM,)


def test_the_devices_of_partitions_and_strangers_are_not_volumes(host: LoopHost, sdc: Sdc) -> None:
    volume = host.volume()
    Path(f"{volume.link}-part1").symlink_to(volume.path)
    (host.by_id / "ata-disk").symlink_to(volume.path)
    (host.by_id / f"emc-vol-{SYSTEM}-ffffffffffffffff").symlink_to("/nowhere")
    assert sdc.devices() == (volume.path,)
