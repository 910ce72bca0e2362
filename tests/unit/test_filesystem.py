"""The filesystems that volumes can have, and the errors that they record."""

from __future__ import annotations

from pathlib import Path

import pytest

from csi_powerflex.host import filesystem, run
from csi_powerflex.model.capability import FILESYSTEMS


def test_the_filesystems_of_capabilities_have_a_row() -> None:
    assert tuple(filesystem.KINDS) == FILESYSTEMS


@pytest.mark.parametrize("name", FILESYSTEMS)
def test_the_tools_of_a_filesystem_have_a_package(name: str) -> None:
    kind = filesystem.kind(name)
    assert kind.mkfs in kind.tools
    assert {*kind.tools, kind.grow(Path("device"), Path("point"))[0]} <= run.PACKAGES.keys()


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """A sysfs with a healthy ext4 on sda and a healthy btrfs on sdb."""
    ext4, btrfs = tmp_path / "ext4" / "sda", tmp_path / "btrfs" / "an-id"
    for folder in (ext4, btrfs / "devices" / "sdb", btrfs / "devinfo" / "1"):
        folder.mkdir(parents=True)
    (ext4 / "errors_count").write_text("0\n")
    (btrfs / "devinfo" / "1" / "error_stats").write_text("write_errs 0\nread_errs 0\n")
    return tmp_path


@pytest.mark.parametrize(
    ("device", "name"), [("sda", "ext4"), ("sdb", "btrfs"), ("sdc", "ext4"), ("sdc", "xfs")]
)
def test_a_filesystem_without_errors_has_none_recorded(sysfs: Path, device: str, name: str) -> None:
    assert filesystem.recorded_errors(Path("/dev", device), name, sysfs=sysfs) == ""


def test_recorded_errors_of_ext4_are_counted(sysfs: Path) -> None:
    (sysfs / "ext4" / "sda" / "errors_count").write_text("3\n")
    assert filesystem.recorded_errors(Path("/dev/sda"), "ext4", sysfs=sysfs) == "3 since the last check"


def test_recorded_errors_of_btrfs_are_those_of_its_device(sysfs: Path) -> None:
    stats = sysfs / "btrfs" / "an-id" / "devinfo" / "1" / "error_stats"
    stats.write_text("write_errs 0\nread_errs 2\ncorruption_errs 1\n")
    assert (
        filesystem.recorded_errors(Path("/dev/sdb"), "btrfs", sysfs=sysfs) == "read_errs 2, corruption_errs 1"
    )
