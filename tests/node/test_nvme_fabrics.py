"""The kernel's file for connections, and the check of a device while it is open."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.host import inotify, syscalls
from csi_powerflex.transport.nvme import connect, device, fabrics
from csi_powerflex.transport.nvme.connect import Address, Failure
from csi_powerflex.transport.nvme.fabrics import Connection, Fabrics
from csi_powerflex.transport.nvme.identity import HostPair
from csi_powerflex.transport.nvme.sysfs import NvmeNamespace, Sysfs
from tests.node.nvme_kernel import FIRST, HOST, HOST_ID, NQN, FakeKernel, eventually, running

TO_FIRST = Connection(NQN, "127.0.0.1", 4420, HostPair(HOST, HOST_ID), 2)


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKernel]:
    with running(FakeKernel(tmp_path), monkeypatch) as kernel:
        yield kernel


class Answers:
    """A file for connections with these answers to each reading."""

    def __init__(self, *answers: bytes | OSError) -> None:
        self._answers = list(answers)
        self.written: list[bytes] = []

    def __enter__(self) -> Answers:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def write(self, line: bytes) -> None:
        self.written.append(line)

    def read(self, _length: int) -> bytes:
        answer = self._answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer


def test_a_kernel_that_does_not_list_its_options_gets_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels before 5.17 answer such a reading with EINVAL."""
    file = Answers(OSError(errno.EINVAL, "Invalid argument"), b"instance=7,cntlid=3\n")
    monkeypatch.setattr(fabrics, "open_file", lambda _path: file)
    assert Fabrics(Path("/x")).connect(TO_FIRST) == "nvme7"
    assert file.written == [
        f"transport=tcp,traddr=127.0.0.1,trsvcid=4420,nqn={NQN},hostnqn={HOST},hostid={HOST_ID},nr_io_queues=2,"
        "reconnect_delay=2,keep_alive_tmo=5,ctrl_loss_tmo=-1".encode()
    ]


def test_an_answer_that_names_no_controller_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "fabrics").touch()
    with pytest.raises(OSError, match="answered ''") as caught:
        Fabrics(tmp_path / "fabrics").connect(TO_FIRST)
    assert caught.value.errno == errno.EPROTO


def test_a_file_that_is_missing_means_missing_modules(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="modprobe nvme-tcp"):
        Fabrics(tmp_path / "fabrics").connect(TO_FIRST)


def test_a_file_that_cannot_be_opened_gives_the_kernels_error(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        Fabrics(tmp_path).connect(TO_FIRST)


def test_modules_that_vanish_during_the_wait_are_named(kernel: FakeKernel) -> None:
    """The text of the failure is that of the missing modules."""
    sysfs = Sysfs(kernel.sysfs)
    connector = connect.Connector(
        Fabrics(kernel.dev / "missing"), sysfs, retry_seconds=0.0, io_queues=None, single=False
    )
    host = HostPair(HOST, HOST_ID)
    connector.connect_missing(NQN, [Address("127.0.0.1", 4420)], host)
    eventually(lambda: connector.failures(NQN, host))
    ((address, failure),) = connector.failures(NQN, host).items()
    assert str(address) == "127.0.0.1:4420"
    assert "modprobe nvme-tcp" in str(failure)
    assert failure.errno == 0


def test_a_host_with_one_connection_gets_no_second_one_while_that_is_lost(kernel: FakeKernel) -> None:
    """Without native multipath, the second connection would bring a second device."""
    kernel.add_controller(kernel.array, FIRST)
    kernel.lose(FIRST)
    connector = connect.Connector(
        Fabrics(kernel.fabrics), Sysfs(kernel.sysfs), retry_seconds=0.0, io_queues=None, single=True
    )
    connector.connect_missing(NQN, [Address("127.0.0.2", 4420)], HostPair(HOST, HOST_ID))
    assert connector.under_way(NQN, HostPair(HOST, HOST_ID)) == frozenset()
    assert kernel.lines == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ECONNREFUSED, "x"), "Connection refused (ECONNREFUSED)"),
        (OSError(errno.EIO, "x"), "the array refused it (EIO)"),
        (OSError(errno.EINVAL, "x"), "the kernel does not accept the connection, see dmesg (EINVAL)"),
        (OSError(4095, "x"), "Unknown error 4095 (4095)"),
    ],
)
def test_the_kernels_errors_are_put_into_words(error: OSError, words: str) -> None:
    assert str(Failure(error, 0.0)) == words


def test_an_ipv6_portal_is_written_in_brackets() -> None:
    assert str(Address("2001:db8::1", 4420)) == "[2001:db8::1]:4420"


def test_a_rescan_that_the_kernel_refuses_is_only_logged(
    kernel: FakeKernel, caplog: pytest.LogCaptureFixture
) -> None:
    kernel.add_controller(kernel.array, FIRST)
    own = Sysfs(kernel.sysfs).read().controllers
    kernel.disconnect("nvme0")
    connect.rescan(own)
    assert "rescan failed" in caplog.text


def test_connections_that_are_not_live_are_not_asked_to_rescan(kernel: FakeKernel) -> None:
    kernel.add_controller(kernel.array, FIRST)
    kernel.lose(FIRST)
    connect.rescan(Sysfs(kernel.sysfs).read().controllers)
    assert (kernel.sysfs / "class/nvme/nvme0/rescan_controller").read_text() == ""


def test_the_kernel_may_refuse_more_watches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many volumes at once can reach the limit of a user. Then the directory is only looked at."""

    def refuse(_flags: int) -> int:
        ctypes.set_errno(errno.EMFILE)
        return -1

    monkeypatch.setattr(syscalls.LIBC, "inotify_init1", refuse)
    with inotify.DirectoryWatch(tmp_path) as watch:
        assert watch.wait(0.0) is False


# --- the device ------------------------------------------------------------------------------------


@pytest.fixture
def namespace(kernel: FakeKernel) -> NvmeNamespace:
    volume = kernel.volume()
    kernel.add_controller(kernel.array, FIRST)
    (found,) = Sysfs(kernel.sysfs).read().namespaces(HOST, volume.nguid)
    assert device.objection(found, kernel.dev / found.name) is None
    return found


def test_a_device_that_cannot_be_opened_is_not_used(kernel: FakeKernel, namespace: NvmeNamespace) -> None:
    found = device.objection(namespace, kernel.dev / "missing")
    assert found == f"{kernel.dev}/missing cannot be opened: No such file or directory"


def test_a_device_without_a_file_is_not_there(kernel: FakeKernel, namespace: NvmeNamespace) -> None:
    (kernel.dev / namespace.name).unlink()
    assert device.path_of(namespace, kernel.dev) is None


def test_a_device_with_another_number_is_not_used(kernel: FakeKernel, namespace: NvmeNamespace) -> None:
    (kernel.dev / "other").touch()
    found = device.objection(namespace, kernel.dev / "other")
    assert found == f"{kernel.dev}/other is not the device 259:1 of nvme0n1"


def test_a_name_that_belongs_to_another_volume_is_not_used(
    kernel: FakeKernel, namespace: NvmeNamespace
) -> None:
    (namespace.folder / "nguid").write_text("ffffffff-ffff-ffff-64b9-4e0000000000\n")
    found = device.objection(namespace, kernel.dev / namespace.name)
    assert found == "nvme0n1 belongs to another volume now"


def test_a_device_with_another_size_than_sysfs_is_not_used(
    kernel: FakeKernel, namespace: NvmeNamespace
) -> None:
    os.truncate(kernel.dev / namespace.name, 4096)
    found = device.objection(namespace, kernel.dev / namespace.name)
    assert found == f"{kernel.dev}/nvme0n1 has 4096 bytes, and {namespace.size} in sysfs"


def test_a_device_that_gives_errors_is_not_used(
    kernel: FakeKernel, namespace: NvmeNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: int) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.lseek", fail)
    found = device.objection(namespace, kernel.dev / namespace.name)
    assert found == f"{kernel.dev}/nvme0n1 does not answer: Input/output error"


def test_only_the_file_of_a_block_device_has_a_number(tmp_path: Path) -> None:
    """Plain files stand in for devices in the other tests here."""
    plain = os.stat_result((stat.S_IFREG, *[0] * 9))
    assert real_number(plain) is None


def test_the_number_of_a_block_device_is_read_from_its_file() -> None:
    status = SimpleNamespace(st_mode=stat.S_IFBLK, st_rdev=os.makedev(259, 7))
    assert real_number(cast("os.stat_result", status)) == "259:7"


real_number = device._number
