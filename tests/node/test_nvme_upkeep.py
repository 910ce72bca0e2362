"""Keeping the NVMe/TCP connections of a host complete: what is added, what is corrected, what is measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from csi_powerflex.model.nvme import NvmeTarget
from csi_powerflex.transport.nvme.transport import Nvme
from tests.node.discovery_service import DiscoveryService, entry, listening
from tests.node.nvme_kernel import (
    FIRST,
    NQN,
    OTHER_HOST,
    SECOND,
    SYSTEM,
    FakeArray,
    FakeKernel,
    FakePortal,
    eventually,
    running,
)

UNNUMBERED = "nqn.2020-01.com.example:subsystem"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKernel]:
    with running(FakeKernel(tmp_path), monkeypatch) as kernel:
        yield kernel


def one_round(nvme: Nvme) -> None:
    """One round of the background task, in this thread."""
    nvme._upkeep.step()


def measured(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"csi_powerflex_nvme_{name}", {"system": SYSTEM, **labels})


def test_a_portal_that_was_dead_at_staging_is_connected_later(kernel: FakeKernel) -> None:
    kernel.lose(FIRST)
    nvme = kernel.transport()
    nvme.attach(kernel.volume().publish_context())
    kernel.restore(FIRST)
    eventually(lambda: not nvme._connector.under_way(NQN, nvme._host.pair()))

    def complete() -> bool:
        one_round(nvme)
        return len(kernel.controllers()) == 2

    eventually(complete)


def test_after_a_restart_the_missing_portals_are_asked_for(kernel: FakeKernel) -> None:
    """No file is kept: the connections that are there name the systems and the discovery services."""
    kernel.volume()
    with listening(DiscoveryService([entry(NQN, "127.0.0.2", 4420)])) as service:
        address = f"127.0.0.1:{service.port}"
        kernel.array.portals[address] = FakePortal()
        kernel.add_controller(kernel.array, address)
        one_round(kernel.transport(discovery_seconds=15.0))
        eventually(lambda: len(kernel.controllers(SECOND)) == 1)
    assert kernel.lines[0]["nqn"] == NQN


def test_after_a_restart_without_discovery_nothing_is_guessed(kernel: FakeKernel) -> None:
    kernel.volume()
    kernel.add_controller(kernel.array, FIRST)
    one_round(kernel.transport())
    assert kernel.lines == []


def test_a_system_without_volumes_on_this_host_is_left_alone(kernel: FakeKernel) -> None:
    nvme = kernel.transport()
    volume = kernel.volume()
    nvme.attach(volume.publish_context(FIRST))
    kernel.unmap(volume)
    nvme._upkeep.expect(SYSTEM, _target(kernel))
    one_round(nvme)
    assert len(kernel.lines) == 1


def test_no_connection_is_ever_removed(kernel: FakeKernel) -> None:
    nvme = kernel.transport()
    volume = kernel.volume()
    nvme.attach(volume.publish_context())
    eventually(lambda: len(kernel.controllers()) == 2)
    kernel.unmap(volume)
    kernel.lose(FIRST, state="connecting")
    one_round(nvme)
    assert len(kernel.controllers()) == 2


def test_connections_of_this_host_are_never_given_up(kernel: FakeKernel) -> None:
    """Only those to a system of PowerFlex, and only those with the NQN of this host."""
    kernel.arrays[UNNUMBERED] = FakeArray(UNNUMBERED)
    own = kernel.add_controller(kernel.array, FIRST)
    foreign = kernel.add_controller(kernel.array, SECOND, {"hostnqn": OTHER_HOST})
    other = kernel.add_controller(kernel.arrays[UNNUMBERED], SECOND)
    one_round(kernel.transport())
    found = {
        name: (kernel.sysfs / "class/nvme" / name / "ctrl_loss_tmo").read_text().strip()
        for name in (own, foreign, other)
    }
    assert found == {own: "-1", foreign: "600", other: "600"}


def test_a_lost_connection_is_corrected_when_it_is_back(kernel: FakeKernel) -> None:
    """The kernel refuses the change while it connects."""
    name = kernel.add_controller(kernel.array, FIRST)
    kernel.lose(FIRST)
    nvme = kernel.transport()
    one_round(nvme)
    file = kernel.sysfs / "class/nvme" / name / "ctrl_loss_tmo"
    assert file.read_text().strip() == "600"
    kernel.restore(FIRST)
    one_round(nvme)
    assert file.read_text().strip() == "-1"


def test_a_value_that_the_kernel_does_not_take_is_only_logged(
    kernel: FakeKernel, caplog: pytest.LogCaptureFixture
) -> None:
    name = kernel.add_controller(kernel.array, FIRST)
    folder = kernel.sysfs / "class/nvme" / name
    write_text = Path.write_text

    def refuse(path: Path, text: str) -> int:
        if path.parent == folder:
            raise OSError(22, "Invalid argument")
        return write_text(path, text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "write_text", refuse)
        one_round(kernel.transport())
    assert "ctrl_loss_tmo not changed" in caplog.text


def test_paths_volumes_and_reconnects_are_measured(kernel: FakeKernel) -> None:
    before = measured("reconnects_total") or 0.0
    nvme = kernel.transport()
    nvme.attach(kernel.volume().publish_context())
    eventually(lambda: len(kernel.controllers()) == 2)
    one_round(nvme)
    assert (measured("paths", state="live"), measured("paths", state="lost")) == (2, 0)
    assert measured("volumes", paths="all") == 1
    kernel.lose(FIRST)
    one_round(nvme)
    assert (measured("paths", state="live"), measured("paths", state="lost")) == (1, 1)
    assert measured("volumes", paths="some") == 1
    kernel.lose(SECOND)
    one_round(nvme)
    assert measured("volumes", paths="none") == 1
    kernel.restore(FIRST, SECOND)
    one_round(nvme)
    assert measured("volumes", paths="all") == 1
    assert measured("reconnects_total") == before + 2


def test_a_system_that_is_not_connected_any_more_has_no_series(kernel: FakeKernel) -> None:
    nvme = kernel.transport()
    name = kernel.add_controller(kernel.array, FIRST)
    one_round(nvme)
    assert measured("paths", state="live") == 1
    kernel.disconnect(name)
    one_round(nvme)
    assert measured("paths", state="live") is None


def test_a_configured_system_is_known_by_its_id_in_any_nqn(kernel: FakeKernel) -> None:
    nqn = f"nqn.2030-01.com.example:{'b' * 16}"
    kernel.arrays[nqn] = FakeArray(nqn)
    name = kernel.add_controller(kernel.arrays[nqn], FIRST)
    one_round(kernel.transport(systems=("b" * 16,)))
    assert (kernel.sysfs / "class/nvme" / name / "ctrl_loss_tmo").read_text().strip() == "-1"


def test_a_host_without_an_identity_has_nothing_to_keep(kernel: FakeKernel) -> None:
    kernel.add_controller(kernel.array, FIRST)
    (kernel.etc / "hostnqn").unlink()
    one_round(kernel.transport())
    assert kernel.lines == []


def test_the_task_runs_in_the_background(kernel: FakeKernel) -> None:
    name = kernel.add_controller(kernel.array, FIRST)
    nvme = kernel.transport()
    nvme.start()
    try:
        eventually(lambda: (kernel.sysfs / "class/nvme" / name / "ctrl_loss_tmo").read_text().strip() == "-1")
    finally:
        nvme.stop()


def test_a_portal_that_a_publish_context_adds_is_connected_at_once(kernel: FakeKernel) -> None:
    volume = kernel.volume()
    kernel.add_controller(kernel.array, FIRST)
    nvme = kernel.transport(upkeep_seconds=3600.0)
    nvme.start()
    try:
        nvme.attach(volume.publish_context(FIRST))
        nvme.attach(volume.publish_context(FIRST, SECOND))
        eventually(lambda: len(kernel.controllers(SECOND)) == 1)
    finally:
        nvme.stop()


def _target(kernel: FakeKernel) -> NvmeTarget:
    context = kernel.volume(mapped=False).publish_context(FIRST, SECOND)
    return NvmeTarget.parse(context.handle, context.details)
