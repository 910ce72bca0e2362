"""Attaching a volume over NVMe/TCP: connecting, finding the device, waiting for it."""

from __future__ import annotations

import dataclasses
import errno
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from csi_powerflex import call_context
from csi_powerflex.errors import FailedPrecondition, InvalidArgument, Unavailable
from csi_powerflex.host import run
from csi_powerflex.observability import metrics
from csi_powerflex.units import GIB
from tests.node.conftest import ReplaceTool
from tests.node.nvme_kernel import (
    FIRST,
    HOST,
    HOST_ID,
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


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKernel]:
    with running(FakeKernel(tmp_path), monkeypatch) as kernel:
        yield kernel


def test_a_volume_is_attached_over_every_portal(kernel: FakeKernel) -> None:
    volume = kernel.volume()
    nvme = kernel.transport()
    path = nvme.attach(volume.publish_context())
    assert path == kernel.dev / "nvme0n1"
    assert nvme.find(volume.handle) == path
    assert nvme.devices() == (path,)
    eventually(lambda: len(kernel.controllers()) == 2)
    paths = nvme.paths(volume.handle)
    assert paths is not None
    assert (paths.live, paths.total, paths.lost) == (2, 2, ())


def test_a_connection_names_the_host_and_is_never_given_up(kernel: FakeKernel) -> None:
    volume = kernel.volume()
    kernel.transport(io_queues=4).attach(volume.publish_context(FIRST))
    assert kernel.lines == [
        {
            "transport": "tcp",
            "traddr": "127.0.0.1",
            "trsvcid": "4420",
            "nqn": NQN,
            "hostnqn": HOST,
            "hostid": HOST_ID,
            "nr_io_queues": "4",
            "reconnect_delay": "2",
            "keep_alive_tmo": "5",
            "ctrl_loss_tmo": "-1",
        }
    ]


# --- portals ---------------------------------------------------------------------------------------


def test_a_second_volume_needs_no_connection(kernel: FakeKernel) -> None:
    nvme = kernel.transport()
    nvme.attach(kernel.volume().publish_context(FIRST))
    second = kernel.volume()
    assert nvme.attach(second.publish_context(FIRST)) == kernel.dev / "nvme0n2"
    assert len(kernel.lines) == 1


def test_a_dead_portal_does_not_delay_the_volume(kernel: FakeKernel) -> None:
    """The kernel waits for the portal, and the other one serves meanwhile. The attempt goes on."""
    gate = threading.Event()
    kernel.array.portals[FIRST] = FakePortal(errno.ETIMEDOUT, gate)
    volume = kernel.volume()
    began = time.monotonic()
    kernel.transport().attach(volume.publish_context())
    assert time.monotonic() - began < 5
    assert len(kernel.controllers()) == 1
    kernel.array.portals[FIRST].error = None
    gate.set()
    eventually(lambda: len(kernel.controllers()) == 2)


def test_a_refused_portal_does_not_fail_the_volume(kernel: FakeKernel) -> None:
    kernel.lose(FIRST)
    kernel.transport().attach(kernel.volume().publish_context())
    assert [one["traddr"] for one in kernel.lines].count("127.0.0.2") == 1


def test_if_all_portals_are_dead_the_error_names_each_with_its_reason(kernel: FakeKernel) -> None:
    kernel.lose(FIRST)
    kernel.lose(SECOND, error=errno.EHOSTUNREACH)
    volume = kernel.volume()
    with pytest.raises(Unavailable) as caught:
        kernel.transport(device_seconds=1.5).attach(volume.publish_context())
    text = str(caught.value)
    assert "127.0.0.1:4420: Connection refused (ECONNREFUSED)" in text
    assert "127.0.0.2:4420: No route to host (EHOSTUNREACH)" in text
    assert "NVMe controllers of this host: none" in text
    assert "Check the network and the firewall" in text


def test_a_portal_that_does_not_answer_is_named_so(kernel: FakeKernel) -> None:
    gate = threading.Event()
    kernel.array.portals[FIRST] = FakePortal(gate=gate)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:4420: no answer yet"):
        kernel.transport(device_seconds=0.5).attach(kernel.volume().publish_context(FIRST))
    gate.set()


def test_a_connection_of_another_program_is_used(kernel: FakeKernel) -> None:
    """It may give up lost connections. The driver changes that, and makes no second connection."""
    name = kernel.add_controller(kernel.array, FIRST)
    volume = kernel.volume()
    kernel.transport().attach(volume.publish_context(FIRST))
    assert kernel.lines == []
    eventually(lambda: (kernel.sysfs / "class/nvme" / name / "ctrl_loss_tmo").read_text().strip() == "-1")


def test_a_connection_that_another_program_makes_meanwhile_is_used(kernel: FakeKernel) -> None:
    """The kernel answers EALREADY."""

    def interfere() -> None:
        if not kernel.controllers():
            kernel.add_controller(kernel.array, FIRST)

    kernel.on_connect = interfere
    before = connects("already")
    kernel.transport().attach(kernel.volume().publish_context(FIRST))
    assert len(kernel.controllers()) == 1
    eventually(lambda: connects("already") == before + 1)


def test_a_host_that_the_array_does_not_allow_yet_is_tried_again(kernel: FakeKernel) -> None:
    """The mapping may be so new that a portal does not know of it."""
    volume = kernel.volume(mapped=False)
    del kernel.array.hosts[HOST]

    def allow() -> None:
        if len(kernel.lines) == 3:
            kernel.map(volume)

    kernel.on_connect = allow
    kernel.transport().attach(volume.publish_context(FIRST))
    assert len(kernel.lines) == 3


def test_a_host_that_the_array_does_not_allow_is_told_both_causes(kernel: FakeKernel) -> None:
    volume = kernel.volume(mapped=False)
    del kernel.array.hosts[HOST]
    with pytest.raises(FailedPrecondition) as caught:
        kernel.transport(device_seconds=3).attach(volume.publish_context())
    for words in ("the array refused it (EIO)", "host not allowed", "subsystem not known", HOST):
        assert words in str(caught.value)


def test_a_line_that_the_kernel_does_not_accept_is_explained_at_once(kernel: FakeKernel) -> None:
    kernel.lose(FIRST, SECOND, error=errno.EINVAL)
    began = time.monotonic()
    with pytest.raises(FailedPrecondition, match=r"see dmesg.*another host id than"):
        kernel.transport().attach(kernel.volume().publish_context())
    assert time.monotonic() - began < 3


def test_a_host_id_that_the_kernel_has_with_another_nqn_is_named(kernel: FakeKernel) -> None:
    name = kernel.add_controller(kernel.array, SECOND, {"hostnqn": OTHER_HOST})
    kernel.lose(FIRST, error=errno.EINVAL)
    with pytest.raises(FailedPrecondition, match=rf"{name} is connected as {OTHER_HOST} with the host id"):
        kernel.transport().attach(kernel.volume().publish_context(FIRST))


def test_a_missing_module_is_named_when_the_kernel_does_not_accept_tcp(kernel: FakeKernel) -> None:
    (kernel.sysfs / "module/nvme_tcp").rmdir()
    kernel.lose(FIRST, error=errno.EINVAL)
    with pytest.raises(FailedPrecondition, match=r"modprobe nvme-tcp"):
        kernel.transport().attach(kernel.volume().publish_context(FIRST))


def test_only_options_that_the_kernel_lists_are_sent(kernel: FakeKernel) -> None:
    kernel.options.remove("nr_io_queues")
    kernel.transport().attach(kernel.volume().publish_context(FIRST))
    assert "nr_io_queues" not in kernel.lines[0]
    assert kernel.lines[0]["ctrl_loss_tmo"] == "-1"


def test_a_connection_that_is_being_made_again_is_waited_for(kernel: FakeKernel) -> None:
    kernel.add_controller(kernel.array, FIRST)
    volume = kernel.volume()
    kernel.lose(FIRST)
    nvme = kernel.transport()
    with ThreadPoolExecutor(1) as pool:
        attached = pool.submit(nvme.attach, volume.publish_context(FIRST))
        time.sleep(0.2)
        assert not attached.done()
        kernel.restore(FIRST)
        assert attached.result() == kernel.dev / "nvme0n1"
    assert kernel.lines == []


def test_a_connection_that_does_not_come_back_is_named_with_its_state(kernel: FakeKernel) -> None:
    kernel.add_controller(kernel.array, FIRST)
    volume = kernel.volume()
    kernel.lose(FIRST)
    with pytest.raises(Unavailable, match=r"nvme0 to 127.0.0.1:4420 is connecting.*keeps trying"):
        kernel.transport(device_seconds=0.5).attach(volume.publish_context(FIRST))


def test_a_hundred_volumes_at_once_make_one_connection_to_each_portal(kernel: FakeKernel) -> None:
    volumes = [kernel.volume() for _ in range(100)]
    nvme = kernel.transport(poll_seconds=0.2, device_seconds=50)
    gate = threading.Event()
    for address in (FIRST, SECOND):
        kernel.array.portals[address].gate = gate
    with ThreadPoolExecutor(100) as pool:
        answers = [pool.submit(nvme.attach, volume.publish_context()) for volume in volumes]
        eventually(lambda: len(kernel.lines) == 2, 60)
        gate.set()
        assert len({answer.result() for answer in answers}) == 100
    assert sorted(line["traddr"] for line in kernel.lines) == ["127.0.0.1", "127.0.0.2"]


def test_many_portals_share_the_connections_that_the_array_allows(kernel: FakeKernel) -> None:
    addresses = [f"127.0.0.{number}:4420" for number in range(1, 33)]
    kernel.array.portals = {address: FakePortal() for address in addresses}
    kernel.transport(io_queues=32).attach(kernel.volume().publish_context(*addresses))
    eventually(lambda: len(kernel.lines) == 32, 60)
    assert {line["nr_io_queues"] for line in kernel.lines} == {"3"}


def test_an_ipv6_portal_is_connected_once(kernel: FakeKernel) -> None:
    address = "[2001:db8::1]:4420"
    kernel.array.portals[address] = FakePortal()
    kernel.add_controller(kernel.array, "[2001:db8:0:0:0:0:0:1]:4420")
    kernel.transport().attach(kernel.volume().publish_context(address))
    assert kernel.lines == []


# --- devices ---------------------------------------------------------------------------------------


def test_a_volume_whose_event_was_lost_is_found_by_a_rescan(kernel: FakeKernel) -> None:
    nvme = kernel.transport()
    nvme.attach(kernel.volume().publish_context(FIRST))
    kernel.events = False
    before = kernel.rescans
    late = kernel.volume()
    assert nvme.attach(late.publish_context(FIRST)) == kernel.dev / "nvme0n2"
    assert kernel.rescans > before


def test_a_volume_that_is_not_mapped_is_said_to_be_so(kernel: FakeKernel) -> None:
    kernel.transport().attach(kernel.volume().publish_context(FIRST))
    nvme = kernel.transport(device_seconds=0.5)
    with pytest.raises(
        Unavailable, match=r"has the NGUID b1f0.*Check on the array that the volume is mapped"
    ):
        nvme.attach(kernel.volume(mapped=False).publish_context(FIRST))


def test_a_volume_that_another_host_nqn_has_connected_is_not_used(kernel: FakeKernel) -> None:
    volume = kernel.volume(mapped=False)
    kernel.map(volume, host=OTHER_HOST)
    kernel.add_controller(kernel.array, SECOND, {"hostnqn": OTHER_HOST})
    nvme = kernel.transport(device_seconds=0.5)
    assert nvme.find(volume.handle) is None
    assert nvme.devices() == ()
    with pytest.raises(Unavailable, match=rf"connected as {OTHER_HOST} has it.*Find out what has connected"):
        nvme.attach(volume.publish_context(FIRST))


def test_a_volume_of_another_system_with_the_same_nguid_is_not_used(kernel: FakeKernel) -> None:
    """The NGUID has only the last 10 digits of the id of a system."""
    other = "000000" + SYSTEM[-10:]
    nqn = f"nqn.1988-11.com.dell:powerflex:00:{other}"
    array = kernel.arrays[nqn] = FakeArray(nqn, portals={FIRST: FakePortal()})
    volume = kernel.volume(mapped=False)
    foreign = kernel.volume(mapped=False, system=other)
    foreign.nguid = volume.nguid
    kernel.map(foreign, nqn=nqn)
    kernel.add_controller(array, FIRST)
    nvme = kernel.transport(device_seconds=0.5)
    assert nvme.find(volume.handle) is None
    with pytest.raises(Unavailable, match=rf"it belongs to another system: {nqn}"):
        nvme.attach(volume.publish_context(SECOND))


def test_a_namespace_without_an_nguid_is_not_used(kernel: FakeKernel) -> None:
    volume = kernel.volume(mapped=False)
    volume.nguid = "0" * 32
    kernel.transport().attach(kernel.volume().publish_context(FIRST))
    kernel.map(volume)
    nvme = kernel.transport(device_seconds=0.5)
    with pytest.raises(Unavailable, match=r"1 paths lead to NVMe namespaces without an NGUID"):
        nvme.attach(volume.publish_context(FIRST))
    assert len(nvme.devices()) == 1


def test_a_volume_that_is_smaller_than_the_publish_context_says_is_not_used(kernel: FakeKernel) -> None:
    nvme = kernel.transport(device_seconds=0.5)
    with pytest.raises(Unavailable, match=r"has 8 GiB and not the 16 GiB of the volume"):
        nvme.attach(kernel.volume().publish_context(FIRST, size=16 * GIB))
    assert kernel.rescans


def test_the_subsystem_may_show_a_longer_nqn_than_the_array(kernel: FakeKernel) -> None:
    kernel.array.longer = ":sdt"
    volume = kernel.volume()
    nvme = kernel.transport()
    nvme.attach(volume.publish_context())
    nvme.attach(volume.publish_context())
    eventually(lambda: len(kernel.controllers()) == 2)
    assert len(kernel.lines) == 2


def test_a_device_file_of_another_device_is_not_used(kernel: FakeKernel) -> None:
    """The name belongs to a new volume, and its file is still that of the old one."""
    volume = kernel.volume()
    path = kernel.transport().attach(volume.publish_context(FIRST))
    (kernel.dev / "other").touch()
    (kernel.dev / "other").rename(path)
    nvme = kernel.transport(device_seconds=0.5)
    assert nvme.find(volume.handle) is None
    assert nvme.devices() == ()
    with pytest.raises(
        Unavailable, match=rf"{path} is not the device 259:1 of nvme0n1.*the /dev of the host"
    ):
        nvme.attach(volume.publish_context(FIRST))


def test_a_name_that_another_volume_gets_while_the_device_is_opened_is_noticed(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = kernel.volume(), kernel.volume(mapped=False)
    nvme = kernel.transport(device_seconds=2)
    kernel.transport().attach(old.publish_context(FIRST))
    opening = os.open

    def reuse(path: Path, flags: int, *more: Any, **options: Any) -> int:
        if path == kernel.dev / "nvme0n1" and old in kernel.array.hosts[HOST]:
            kernel.unmap(old)
            kernel.map(new)
        return opening(path, flags, *more, **options)

    monkeypatch.setattr("os.open", reuse)
    with pytest.raises(Unavailable, match=r"has the NGUID"):
        nvme.attach(old.publish_context(FIRST))
    assert nvme.find(new.handle) == kernel.dev / "nvme0n1"


def test_a_device_of_an_earlier_mapping_that_vanishes_at_once_is_not_used(kernel: FakeKernel) -> None:
    volume = kernel.volume()
    nvme = kernel.transport(settle_seconds=0.5)
    nvme.attach(volume.publish_context(FIRST))
    with ThreadPoolExecutor(1) as pool:
        attached = pool.submit(nvme.attach, volume.publish_context(FIRST))
        time.sleep(0.1)
        kernel.unmap(volume)
        time.sleep(0.6)
        assert not attached.done()
        kernel.map(volume)
        assert attached.result() == kernel.dev / "nvme0n1"


def test_a_grown_volume_is_seen_by_its_event(kernel: FakeKernel) -> None:
    volume = kernel.volume()
    nvme = kernel.transport(first_rescan_seconds=30.0)
    nvme.attach(volume.publish_context(FIRST))
    kernel.grow(volume, 16 * GIB)
    assert nvme.wait_for_size(volume.handle, 16 * GIB) == kernel.dev / "nvme0n1"
    assert kernel.rescans == 0


def test_a_grown_volume_whose_event_was_lost_is_seen_by_a_rescan(kernel: FakeKernel) -> None:
    volume = kernel.volume()
    nvme = kernel.transport()
    nvme.attach(volume.publish_context(FIRST))
    kernel.events = False
    before = kernel.rescans
    kernel.grow(volume, 16 * GIB)
    nvme.wait_for_size(volume.handle, 16 * GIB)
    assert kernel.rescans > before


def test_a_volume_without_a_live_path_cannot_grow_and_is_still_found(kernel: FakeKernel) -> None:
    volume = kernel.volume()
    path = kernel.transport().attach(volume.publish_context(FIRST))
    nvme = kernel.transport(device_seconds=0.5)
    kernel.lose(FIRST)
    with pytest.raises(Unavailable, match=r"nvme0n1 has no live path.*nvme0 to 127.0.0.1:4420 is connecting"):
        nvme.wait_for_size(volume.handle, 16 * GIB)
    assert nvme.find(volume.handle) == path
    paths = nvme.paths(volume.handle)
    assert paths is not None
    assert (paths.live, paths.total, paths.lost) == (0, 1, ("nvme0 to 127.0.0.1:4420 is connecting",))


def test_a_path_that_the_array_does_not_serve_is_not_live(kernel: FakeKernel) -> None:
    volume = kernel.volume()
    nvme = kernel.transport()
    nvme.attach(volume.publish_context(FIRST))
    (kernel.sysfs / "class/nvme/nvme0/nvme0c0n1/ana_state").write_text("inaccessible\n")
    paths = nvme.paths(volume.handle)
    assert paths is not None
    assert (paths.live, paths.total) == (0, 1)


def test_a_volume_that_is_not_here_has_no_paths(kernel: FakeKernel) -> None:
    assert kernel.transport().paths(kernel.volume().handle) is None


# --- what the host lacks ---------------------------------------------------------------------------


def test_a_kernel_without_native_multipath_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(FakeKernel(tmp_path, multipath=False), monkeypatch) as kernel:
        nvme, volume = kernel.transport(), kernel.volume()
        for ask in (lambda: nvme.attach(volume.publish_context()), nvme.initiator, nvme.systems):
            with pytest.raises(FailedPrecondition, match=r"nvme_core.multipath=Y.*--nvme-single-path"):
                ask()
        assert kernel.lines == []


def test_a_kernel_without_native_multipath_gets_one_connection_if_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(FakeKernel(tmp_path, multipath=False), monkeypatch) as kernel:
        kernel.lose(FIRST)
        volume = kernel.volume()
        nvme = kernel.transport(single_path=True)
        device = nvme.attach(volume.publish_context())
        assert device == kernel.dev / "nvme0n1"
        assert nvme.find(volume.handle) == device
        assert [line["traddr"] for line in kernel.lines] == ["127.0.0.1", "127.0.0.2"]
        kernel.restore(FIRST)
        assert nvme.attach(volume.publish_context()) == device
        assert len(kernel.controllers()) == 1


def test_two_devices_of_one_volume_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(FakeKernel(tmp_path, multipath=False), monkeypatch) as kernel:
        volume = kernel.volume()
        for address in (FIRST, SECOND):
            kernel.add_controller(kernel.array, address)
        nvme = kernel.transport(single_path=True)
        with pytest.raises(FailedPrecondition, match=r"several devices on this host \(nvme0n1, nvme1n1\)"):
            nvme.attach(volume.publish_context())
        assert nvme.find(volume.handle) == kernel.dev / "nvme0n1"


def test_missing_modules_are_named(kernel: FakeKernel) -> None:
    kernel.fabrics.unlink()
    nvme = kernel.transport()
    with pytest.raises(FailedPrecondition, match=r"modprobe nvme-tcp.*--nvme-load-modules"):
        nvme.attach(kernel.volume().publish_context())
    with pytest.raises(FailedPrecondition, match=r"modprobe nvme-tcp"):
        nvme.initiator()


def test_modules_are_loaded_on_request(kernel: FakeKernel, replace_tool: ReplaceTool) -> None:
    kernel.fabrics.unlink()
    replace_tool("modprobe", f'test "$1" = nvme-tcp && touch {kernel.fabrics}')
    kernel.transport(load_modules=True).attach(kernel.volume().publish_context(FIRST))


def test_modules_that_the_kernel_does_not_have_are_named(
    kernel: FakeKernel, replace_tool: ReplaceTool
) -> None:
    kernel.fabrics.unlink()
    replace_tool("modprobe", 'echo "Module nvme-tcp not found" >&2; exit 1')
    with pytest.raises(FailedPrecondition, match=r"nvme-tcp not found.*linux-modules-extra"):
        kernel.transport(load_modules=True).prepare()


def test_a_missing_modprobe_is_named(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel.fabrics.unlink()
    monkeypatch.setattr(run, "tools", run.Tools("/nonexistent"))
    with pytest.raises(FailedPrecondition, match=r"install the package kmod"):
        kernel.transport(load_modules=True).prepare()


def test_the_identity_of_the_host_is_its_nqn(kernel: FakeKernel) -> None:
    nvme = kernel.transport(systems=("b" * 16, SYSTEM))
    assert str(nvme.initiator()) == f"nqn:{HOST}"
    assert nvme.systems() == (SYSTEM, "b" * 16)


def test_without_systems_the_transport_is_not_offered(kernel: FakeKernel) -> None:
    nvme = kernel.transport(systems=())
    for ask in (nvme.initiator, nvme.systems):
        with pytest.raises(FailedPrecondition, match=r"--nvme-system"):
            ask()


def test_without_an_identity_this_host_has_no_volumes(kernel: FakeKernel) -> None:
    volume = kernel.volume()
    kernel.transport().attach(volume.publish_context(FIRST))
    (kernel.etc / "hostnqn").unlink()
    nvme = kernel.transport()
    assert nvme.find(volume.handle) is None
    assert nvme.devices() == ()
    assert nvme.paths(volume.handle) is None


def test_volumes_stay_known_if_the_identity_vanishes(kernel: FakeKernel) -> None:
    volume = kernel.volume()
    nvme = kernel.transport()
    device = nvme.attach(volume.publish_context(FIRST))
    (kernel.etc / "hostnqn").unlink()
    assert nvme.find(volume.handle) == device


# --- publish contexts ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("nqn", f"{NQN},hostnqn=evil"),
        ("nqn", f"{NQN} ctrl_loss_tmo=1"),
        ("nqn", f"{NQN}\n"),
        ("portals", "127.0.0.1,host_traddr=1.2.3.4:4420/8009"),
        ("portals", "array.example:4420/8009"),
        ("portals", "127.0.0.1:70000/8009"),
        ("portals", "[fe80::1%eth0]:4420/8009"),
        ("portals", ";".join(["127.0.0.1:4420/8009"] * 33)),
        ("nguid", "../../etc"),
        ("nguid", "b1f0c2d400000009" + "64b94e" + SYSTEM[-10:]),
    ],
)
def test_a_publish_context_that_would_change_the_line_to_the_kernel_is_refused(
    kernel: FakeKernel, key: str, text: str
) -> None:
    context = kernel.volume().publish_context()
    bad = dataclasses.replace(context, details={**context.details, key: text})
    with pytest.raises(InvalidArgument):
        kernel.transport().attach(bad)
    assert kernel.lines == []


def test_the_nqn_of_another_system_is_refused(kernel: FakeKernel) -> None:
    with pytest.raises(FailedPrecondition, match=r"does not contain the id of its system"):
        kernel.transport().attach(kernel.volume().publish_context(nqn=NQN[:-4] + "0000"))


def test_an_nguid_that_is_formed_in_another_way_is_refused(kernel: FakeKernel) -> None:
    context = kernel.volume().publish_context()
    other = {**context.details, "nguid": context.details["nguid"][:16] + "0" * 16}
    with pytest.raises(FailedPrecondition, match=r"knows volumes by"):
        kernel.transport().attach(dataclasses.replace(context, details=other))


def test_the_deadline_of_the_call_ends_the_wait(kernel: FakeKernel) -> None:
    kernel.lose(FIRST)
    with call_context.background("test", 0.6), pytest.raises(Unavailable, match=r"after 0\.\d s"):
        kernel.transport(device_seconds=60).attach(kernel.volume().publish_context(FIRST))


def connects(result: str) -> float:
    """How many attempts to connect ended so."""
    return metrics.NVME_CONNECTS.labels(result)._value.get()  # type: ignore[no-any-return]


def test_an_old_failure_does_not_end_a_new_call(kernel: FakeKernel) -> None:
    kernel.lose(FIRST, error=errno.EINVAL)
    nvme, volume = kernel.transport(), kernel.volume()
    with pytest.raises(FailedPrecondition):
        nvme.attach(volume.publish_context(FIRST))
    kernel.restore(FIRST)
    nvme.attach(volume.publish_context(FIRST))


def test_portals_that_have_moved_are_found_by_the_next_publish_context(kernel: FakeKernel) -> None:
    """The old connections stay, and the kernel goes on trying them."""
    volume = kernel.volume()
    nvme = kernel.transport()
    nvme.attach(volume.publish_context(FIRST))
    kernel.lose(FIRST)
    nvme.attach(volume.publish_context(SECOND))
    assert [line["traddr"] for line in kernel.lines] == ["127.0.0.1", "127.0.0.2"]
