"""Reading what the kernel says about NVMe: files that vanish, and other kinds of NVMe controllers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_powerflex.transport.nvme.sysfs import Sysfs, unnamed
from tests.node.nvme_kernel import FIRST, HOST, SECOND, FakeKernel, running


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKernel]:
    with running(FakeKernel(tmp_path), monkeypatch) as kernel:
        kernel.volume()
        kernel.add_controller(kernel.array, FIRST)
        yield kernel


def test_a_kernel_without_nvme_has_nothing(tmp_path: Path) -> None:
    sysfs = Sysfs(tmp_path)
    assert sysfs.read().controllers == ()
    assert sysfs.read().namespaces(HOST) == []
    assert sysfs.modules() == ()
    assert not sysfs.native_multipath


@pytest.mark.parametrize("file", ["address", "state", "transport", "subsysnqn"])
def test_a_controller_whose_file_vanishes_is_not_there(kernel: FakeKernel, file: str) -> None:
    (kernel.sysfs / "class/nvme/nvme0" / file).unlink()
    assert Sysfs(kernel.sysfs).read().controllers == ()


@pytest.mark.parametrize("text", ["traddr=127.0.0.1", "traddr=127.0.0.1,trsvcid=none", ""])
def test_a_controller_without_a_usable_address_is_not_there(kernel: FakeKernel, text: str) -> None:
    (kernel.sysfs / "class/nvme/nvme0/address").write_text(text)
    assert Sysfs(kernel.sysfs).read().controllers == ()


def test_an_address_that_is_not_an_ip_address_is_kept(kernel: FakeKernel) -> None:
    (kernel.sysfs / "class/nvme/nvme0/address").write_text("traddr=nn-0x1,trsvcid=1\n")
    (found,) = Sysfs(kernel.sysfs).read().controllers
    assert found.address == "nn-0x1"


def test_a_controller_without_optional_files_is_there(kernel: FakeKernel) -> None:
    """Kernels before 5.7 have no hostid, and some have no ctrl_loss_tmo."""
    for name in ("hostid", "ctrl_loss_tmo"):
        (kernel.sysfs / "class/nvme/nvme0" / name).unlink()
    (found,) = Sysfs(kernel.sysfs).read().controllers
    assert (found.host_id, found.loss_timeout) == ("", None)


def test_an_nvme_disk_of_the_host_itself_is_not_there(kernel: FakeKernel) -> None:
    (kernel.sysfs / "class/nvme/nvme0/transport").write_text("pcie\n")
    assert Sysfs(kernel.sysfs).read().controllers == ()


@pytest.mark.parametrize("file", ["dev", "size", "nguid"])
def test_a_namespace_whose_file_vanishes_is_not_there(kernel: FakeKernel, file: str) -> None:
    (head,) = kernel.heads()
    snapshot = Sysfs(kernel.sysfs).read()
    (head / file).unlink()
    assert snapshot.namespaces(HOST) == []


def test_a_path_whose_file_vanishes_is_not_there(kernel: FakeKernel) -> None:
    (kernel.sysfs / "class/nvme/nvme0/nvme0c0n1/nguid").unlink()
    assert Sysfs(kernel.sysfs).read().namespaces(HOST) == []


def test_a_controller_that_vanishes_while_its_paths_are_counted_has_none(kernel: FakeKernel) -> None:
    own = Sysfs(kernel.sysfs).read().controllers
    kernel.disconnect("nvme0")
    assert unnamed(own) == 0


def test_controllers_are_in_the_order_of_their_numbers(kernel: FakeKernel) -> None:
    for _ in range(11):
        kernel.add_controller(kernel.array, SECOND)
    names = [one.name for one in Sysfs(kernel.sysfs).read().controllers]
    assert names == [f"nvme{number}" for number in range(12)]


def test_a_volume_of_another_maker_is_not_one_of_powerflex(kernel: FakeKernel) -> None:
    volume = kernel.volume(mapped=False)
    volume.nguid = "0123456789abcdef0000000000000001"
    kernel.map(volume)
    found = {one.nguid: one.is_powerflex for one in Sysfs(kernel.sysfs).read().namespaces(HOST)}
    assert found[volume.nguid] is False
    assert sum(found.values()) == 1
    assert len(kernel.transport().devices()) == 1
