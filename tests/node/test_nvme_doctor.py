"""The doctor's checks of NVMe/TCP on a host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from csi_powerflex.app.doctor import node as app_doctor
from csi_powerflex.config.node import NodeSettings, SdcSettings
from csi_powerflex.model.checks import Check, Level
from csi_powerflex.transport.nvme import doctor
from tests.node.nvme_kernel import FIRST, HOST, HOST_ID, OTHER_HOST, SECOND, SYSTEM, FakeKernel, running


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKernel]:
    with running(FakeKernel(tmp_path), monkeypatch) as kernel:
        yield kernel


def checks(kernel: FakeKernel, **more: Any) -> dict[str, list[Check]]:
    """The results by the name of the check."""
    settings = NodeSettings(endpoint="unix:x", driver_name="d", nvme=kernel.settings(**more))
    found: dict[str, list[Check]] = {}
    for check in doctor.examine(settings):
        found.setdefault(check.name, []).append(check)
    return found


def test_a_host_that_is_ready_has_no_fault(kernel: FakeKernel) -> None:
    found = checks(kernel)
    assert {check.level for each in found.values() for check in each} == {Level.OK}
    assert found["nvme modules"][0].found == "loaded: nvme_core, nvme_fabrics, nvme_tcp"
    assert found["nvme host nqn"][0].found == f"{HOST}, host id {HOST_ID}"
    assert "is not connected; the first volume" in found["nvme connections"][0].found


def test_without_systems_nvme_is_information_only(kernel: FakeKernel) -> None:
    kernel.fabrics.unlink()
    ((name, (check,)),) = checks(kernel, systems=()).items()
    assert (name, check.level) == ("nvme", Level.OK)
    assert "modules: nvme_core, nvme_fabrics, nvme_tcp" in check.found


def test_missing_modules_are_a_fault_unless_the_driver_loads_them(kernel: FakeKernel) -> None:
    kernel.fabrics.unlink()
    assert checks(kernel)["nvme modules"][0].level is Level.FAULT
    assert checks(kernel, load_modules=True)["nvme modules"][0].level is Level.WARNING


def test_a_missing_nqn_is_a_fault_unless_the_driver_creates_it(kernel: FakeKernel) -> None:
    (kernel.etc / "hostnqn").unlink()
    assert checks(kernel)["nvme host nqn"][0].level is Level.FAULT
    assert checks(kernel, create_host_nqn=True)["nvme host nqn"][0].level is Level.WARNING
    assert not (kernel.etc / "hostnqn").exists()


def test_a_kernel_without_native_multipath_is_a_fault_unless_one_path_is_wanted(kernel: FakeKernel) -> None:
    (kernel.sysfs / "module/nvme_core/parameters/multipath").write_text("N\n")
    assert checks(kernel)["nvme multipath"][0].level is Level.FAULT
    assert checks(kernel, single_path=True)["nvme multipath"][0].level is Level.WARNING


def test_connections_are_shown_with_their_state(kernel: FakeKernel) -> None:
    for address in (FIRST, SECOND):
        kernel.add_controller(kernel.array, address, {"ctrl_loss_tmo": "-1"})
    (check,) = checks(kernel)["nvme connections"]
    assert check.level is Level.OK
    assert "nvme0 to 127.0.0.1:4420 is live, nvme1 to 127.0.0.2:4420 is live" in check.found
    kernel.lose(FIRST)
    (check,) = checks(kernel)["nvme connections"]
    assert (check.level, "has 1 of 2 connections: nvme0" in check.found) == (Level.WARNING, True)
    kernel.lose(SECOND)
    (check,) = checks(kernel)["nvme connections"]
    assert check.level is Level.FAULT


def test_a_connection_that_the_kernel_may_give_up_is_a_warning(kernel: FakeKernel) -> None:
    kernel.add_controller(kernel.array, FIRST)
    check = checks(kernel)["nvme connections"][-1]
    assert check.level is Level.WARNING
    assert "nvme0 after 600 s (ctrl_loss_tmo)" in check.found


def test_a_connection_with_another_nqn_is_a_warning(kernel: FakeKernel) -> None:
    kernel.add_controller(kernel.array, FIRST, {"hostnqn": OTHER_HOST})
    check = checks(kernel)["nvme connections"][0]
    assert (check.level, OTHER_HOST in check.found, SYSTEM in check.found) == (Level.WARNING, True, True)


@pytest.mark.parametrize(
    ("transport", "systems", "asked"),
    [("sdc", (SYSTEM,), True), ("nvme", (SYSTEM,), False), ("auto", (SYSTEM,), False), ("auto", (), True)],
)
def test_the_sdc_is_checked_where_it_is_needed(
    kernel: FakeKernel, transport: str, systems: tuple[str, ...], asked: bool
) -> None:
    """This host has no SDC. With NVMe/TCP, it needs none."""
    missing = kernel.folder / "missing"
    settings = NodeSettings(
        endpoint="unix:x",
        driver_name="d",
        mount_roots=(kernel.folder,),
        sdc=SdcSettings(drv_cfg=missing, control_device=missing, by_id=missing),
        nvme=kernel.settings(systems=systems),
        transport=transport,
    )
    found = {check.name for check in app_doctor.run(settings)}
    assert ("sdc guid" in found) is asked
