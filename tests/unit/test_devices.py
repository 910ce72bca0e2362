"""Looking up the devices of volumes on a node, without devices of the kernel: only their files exist."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from csi_powerflex.config.node import SdcSettings
from csi_powerflex.errors import FailedPrecondition, Unavailable
from csi_powerflex.host import blockdev
from csi_powerflex.host.mountinfo import Mount
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.publish_context import PublishContext
from csi_powerflex.operations.node.device import Devices
from csi_powerflex.transport.registry import TransportRegistry
from csi_powerflex.transport.sdc.transport import Sdc
from csi_powerflex.units import GIB

SYSTEM = "5a1b2c3d4e5f600f"
HANDLE = VolumeHandle(SYSTEM, "b1f0c2d400000001")
MOST_VOLUMES = 8192
# A number that Linux leaves to local use.
MAJOR = 240


def handle(number: int) -> VolumeHandle:
    return VolumeHandle(SYSTEM, f"{number:016x}")


class Host:
    """A folder ``/dev`` with device files and the links that udev makes to them."""

    def __init__(self, folder: Path) -> None:
        self.dev = folder / "dev"
        self.by_id = self.dev / "disk" / "by-id"
        self.by_id.mkdir(parents=True)
        self.sdc = Sdc(SdcSettings(by_id=self.by_id, drv_cfg=folder / "none", control_device=folder / "none"))
        self.devices = Devices(TransportRegistry([self.sdc]))

    def device(self, number: int, kind: int = stat.S_IFBLK) -> Path:
        path = self.dev / f"scini{number}"
        os.mknod(path, kind | 0o600, os.makedev(MAJOR, number))
        return path

    def link(self, number: int, target: str) -> None:
        (self.by_id / f"emc-vol-{handle(number)}").symlink_to(target)

    def volume(self, number: int) -> Path:
        self.link(number, f"../../scini{number}")
        return self.device(number)

    def mount(self, number: int) -> Mount:
        """The mount of the filesystem on a device."""
        where = "/staging", frozenset[str](), "ext4", f"/dev/scini{number}", frozenset[str](), ""
        return Mount(1, f"{MAJOR}:{number}", "/", *where)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture(scope="module")
def full_host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    """With as many volumes as an array allows one host to have. Tests only add links to their devices."""
    host = Host(tmp_path_factory.mktemp("full"))
    for number in range(MOST_VOLUMES):
        host.volume(number)
    return host


def test_a_device_that_is_lost_before_it_has_its_size_is_unavailable() -> None:
    devices = Devices(TransportRegistry([]))
    with pytest.raises(Unavailable, match="this host has no device for volume"):
        devices.wait_for_size(HANDLE, 1)


@pytest.mark.needs("devices")
def test_the_devices_are_the_block_devices_behind_links_of_volumes_each_once(host: Host) -> None:
    first, second = host.volume(1), host.volume(2)
    host.link(3, "../../scini2")
    (host.dev / "other").symlink_to(".")
    host.link(4, "../../other/scini4")
    fourth = host.device(4)
    host.link(5, "../../missing")
    host.link(6, "/dev/null")
    host.link(7, "../../file")
    (host.dev / "file").touch()
    (host.by_id / "wwn-1").symlink_to(host.device(8))
    assert host.sdc.devices() == (first, second, fourth)
    found = [host.sdc.find(handle(number)) for number in range(1, 9)]
    assert found == [first, second, second, fourth, None, None, None, None]


def test_a_host_without_the_folder_of_links_has_no_devices(host: Host) -> None:
    host.by_id.rmdir()
    assert host.sdc.devices() == ()
    assert host.sdc.find(HANDLE) is None


@pytest.mark.needs("devices")
def test_all_devices_of_a_full_host_are_found(full_host: Host) -> None:
    found = full_host.sdc.devices()
    assert len(found) == MOST_VOLUMES
    assert set(found) == {full_host.dev / f"scini{number}" for number in range(MOST_VOLUMES)}


@pytest.mark.needs("devices")
def test_the_device_of_one_volume_is_found_without_reading_the_folder_of_all_links(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = host.volume(7)
    monkeypatch.setattr(os, "listdir", lambda _folder: pytest.fail("the folder was read"))
    found = host.devices.find(handle(7))
    assert found is not None
    assert found.top == device
    host.devices.require_own(handle(7), host.mount(7))


@pytest.mark.needs("devices")
def test_the_mount_of_another_volume_is_not_the_volumes_own(host: Host) -> None:
    host.volume(7)
    host.volume(8)
    for asked in (7, 9):
        with pytest.raises(FailedPrecondition, match="which is another volume than"):
            host.devices.require_own(handle(asked), host.mount(8))
    # No volume has this device: it may be one that was lost.
    host.devices.require_own(handle(7), host.mount(99))


@pytest.mark.needs("devices")
def test_a_second_link_to_the_device_of_a_volume_is_found_among_thousands(
    full_host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blockdev, "size", lambda _device: GIB)
    context = PublishContext(handle(7), "sdc", GIB, read_only=False)
    full_host.link(MOST_VOLUMES, "../../missing")
    assert full_host.sdc.attach(context) == full_host.dev / "scini7"
    full_host.link(MOST_VOLUMES + 1, "../../scini7")
    with pytest.raises(FailedPrecondition, match=f"emc-vol-{handle(MOST_VOLUMES + 1)} for the same device"):
        full_host.sdc.attach(context)


@pytest.mark.needs("devices")
def test_a_device_that_disappears_while_it_is_checked_is_no_other_volumes(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = host.volume(1)
    host.link(2, "../../scini1")

    def disappear(_device: Path) -> int:
        device.unlink(missing_ok=True)
        return GIB

    monkeypatch.setattr(blockdev, "size", disappear)
    assert host.sdc.attach(PublishContext(handle(1), "sdc", GIB, read_only=False)) == device


def test_a_device_that_the_kernel_does_not_have_has_nothing_stacked_on_it() -> None:
    assert blockdev.stacked_on(["4095:1048575"]) == []


@pytest.mark.needs("devices")
def test_the_partitions_of_a_device_and_what_is_stacked_on_them_belong_to_it(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "sys" / "devices" / "scini5"
    for folder in ("holders", "scini5p1/holders/dm-1", "scini5p2/holders", "scini5x", "queue"):
        (disk / folder).mkdir(parents=True)
    numbers = tmp_path / "sys" / "dev" / "block"
    numbers.mkdir(parents=True)
    (numbers / f"{MAJOR}:5").symlink_to("../../devices/scini5")
    for part, number in (("scini5p1", "259:1"), ("scini5p2", "259:2")):
        (disk / part / "partition").write_text("1\n")
        (disk / part / "dev").write_text(f"{number}\n")
        (numbers / number).symlink_to(f"../../devices/scini5/{part}")
    monkeypatch.setattr(blockdev, "_SYSFS", numbers)
    device = host.device(5)
    assert sorted(blockdev.numbers(device)) == [f"{MAJOR}:5", "259:1", "259:2"]
    assert blockdev.holders(device) == ["dm-1"]
    (disk / "holders" / "dm-0").mkdir()
    assert blockdev.holders(device) == ["dm-0", "dm-1"]


@pytest.mark.needs("devices")
def test_a_device_file_without_a_device_has_only_its_own_number(host: Host) -> None:
    assert blockdev.numbers(host.device(5)) == (f"{MAJOR}:5",)
