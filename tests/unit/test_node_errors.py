"""An error of a node call names the volume by the id of the call."""

from __future__ import annotations

import pytest

from csi_powerflex.csi.node import naming
from csi_powerflex.errors import Unavailable
from csi_powerflex.host.run import CommandFailed, Completed

HANDLE = "0123456789abcdef-fedcba9876543210"


def test_an_error_of_a_tool_or_a_device_gets_the_volume_and_keeps_its_class() -> None:
    with pytest.raises(CommandFailed) as failed, naming(HANDLE):
        raise CommandFailed(["mount", "/dev/loop1"], Completed(32, "", "wrong fs type"))
    assert str(failed.value) == f"volume {HANDLE}: `mount /dev/loop1` failed with code 32: wrong fs type"
    assert failed.value.code == 32


def test_an_error_that_names_the_volume_is_not_changed() -> None:
    with pytest.raises(Unavailable) as failed, naming(HANDLE):
        raise Unavailable(f"the device of volume {HANDLE} did not appear")
    assert str(failed.value) == f"the device of volume {HANDLE} did not appear"


@pytest.mark.parametrize("volume_id", ["", "no handle", "x" * 10000])
def test_an_id_that_is_none_is_left_out(volume_id: str) -> None:
    with pytest.raises(Unavailable) as failed, naming(volume_id):
        raise Unavailable("the block device /dev/loop1 does not answer")
    assert str(failed.value) == "the block device /dev/loop1 does not answer"


def test_other_errors_are_not_changed() -> None:
    with pytest.raises(ZeroDivisionError, match="division"), naming(HANDLE):
        _ = 1 // 0
