"""Attaching a volume over NVMe/TCP: connecting, finding the device, waiting for it."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from csi_powerflex import call_context
from csi_powerflex.errors import FailedPrecondition, InvalidArgument, Unavailable
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.units import GIB
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
    device = nvme.attach(volume.publish_context())
    assert device == kernel.dev / "nvme0n1"
    assert nvme.find(volume.handle) == device
    assert nvme.devices() == (device,)
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
