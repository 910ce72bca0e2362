"""What the demo finds of the mounts below its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from csi_powerflex.demo import leftovers, mountinfo
from csi_powerflex.demo.mountinfo import Mount
from tests.commands import output_of

NAMES = ["plain", "with space", "ü", "back\\slash", "form\x0cfeed"]


def test_a_mountinfo_line_gives_mount_point_filesystem_and_source() -> None:
    line = r"36 35 7:0 / /tmp/ü\040x/back\134slash rw,noatime shared:1 - ext4 /dev/loop0 rw"
    assert mountinfo.parse(f"{line}\n") == [Mount("/tmp/ü x/back\\slash", "ext4", "/dev/loop0")]  # noqa: S108


@pytest.mark.needs("devices")
@pytest.mark.parametrize("name", NAMES)
def test_a_mount_below_a_folder_of_any_name_is_found_and_removed(tmp_path: Path, name: str) -> None:
    mountpoint = tmp_path / name / "mounted"
    mountpoint.mkdir(parents=True)
    output_of(["mount", "-t", "tmpfs", "none", mountpoint])
    found = leftovers.below(tmp_path / name)
    leftovers.take_away(found)
    assert found.mounts == (str(mountpoint),)
    assert not leftovers.below(tmp_path / name)
