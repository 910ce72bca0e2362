"""The state of mounted filesystems."""

from __future__ import annotations

import os
import threading

import pytest

from csi_powerflex.host import blockdev, mountinfo
from csi_powerflex.host.time_limit import TimeLimit
from csi_powerflex.operations.node.filesystem_state import Defect, FilesystemState


def test_a_filesystem_that_does_not_answer_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    end_of_test = threading.Event()
    monkeypatch.setattr(os, "listdir", lambda _path: end_of_test.wait(60))
    try:
        found = FilesystemState(TimeLimit(0.1)).inaccessible(mountinfo.read()[0])
    finally:
        end_of_test.set()
    assert found is not None
    assert found.defect is Defect.HANGS
    assert "did not answer within" in found.description


def test_a_device_that_the_kernel_does_not_have_does_not_exist() -> None:
    assert not blockdev.exists("999:999")
