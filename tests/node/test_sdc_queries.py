"""What the driver asks of the SDC, through its kernel module or its tool: GUID, systems and rescans."""

from __future__ import annotations

import fcntl
import threading
import time

import pytest

from csi_powerflex.errors import FailedPrecondition, Unavailable
from csi_powerflex.transport.sdc.transport import Sdc
from tests.node.loophost import GUID, SYSTEM, LoopHost

pytestmark = pytest.mark.needs("devices")


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
    # One for the first call, and one for all the others, which began after they had asked.
    assert host.calls() == ["--rescan"] * 2


def test_the_identity_is_the_guid_of_the_tool(host: LoopHost, sdc: Sdc) -> None:
    (host.sdc / "guid").write_text(GUID.lower() + "\n")
    assert str(sdc.initiator()) == f"sdc:{GUID}"


def test_an_invalid_guid_is_unavailable(host: LoopHost, sdc: Sdc) -> None:
    (host.sdc / "guid").write_text("no GUID yet\n")
    with pytest.raises(Unavailable, match="no GUID yet"):
        sdc.initiator()


def test_a_host_without_sdc_is_an_error(host: LoopHost, sdc: Sdc) -> None:
    host.drv_cfg.unlink()
    with pytest.raises(FailedPrecondition, match="this host has no SDC"):
        sdc.initiator()


def test_systems_that_were_never_reached_are_not_reported(host: LoopHost, sdc: Sdc) -> None:
    host.know_systems("0" * 16, SYSTEM)
    assert sdc.systems() == (SYSTEM,)


def test_the_wait_for_a_running_rescan_is_limited(
    host: LoopHost,
) -> None:
    sdc = Sdc(host.settings(lock_seconds=0.01))
    with sdc._rescan_lock:
        sdc.rescan()
    assert host.calls() == []


@pytest.mark.parametrize("present", ["nothing", "file", "another device"])
def test_the_tool_is_used_if_the_kernel_module_does_not_answer(host: LoopHost, present: str) -> None:
    control = host.sdc / "scini"
    if present == "file":
        control.touch()
    elif present != "nothing":
        control.symlink_to("/dev/null")
    sdc = Sdc(host.settings())
    assert str(sdc.initiator()) == f"sdc:{GUID}"
    sdc.rescan()
    assert host.calls() == ["--query_guid", "--rescan"]


def test_the_kernel_module_is_used_before_the_tool(host: LoopHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test simulates the answer of scini, because the module is not on this machine."""
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


def test_an_ioctl_without_a_success_code_is_ignored(host: LoopHost, monkeypatch: pytest.MonkeyPatch) -> None:
    (host.sdc / "scini").symlink_to("/dev/null")
    monkeypatch.setattr(fcntl, "ioctl", lambda *_: 0)
    assert str(Sdc(host.settings()).initiator()) == f"sdc:{GUID}"
    assert host.calls() == ["--query_guid"]
