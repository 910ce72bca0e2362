"""Calls over NVMe/TCP that are interrupted at each of their steps. The kernel outlives the killed plugin."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.publish_context import PublishContext
from tests.children import start_server
from tests.figures import Figures
from tests.node import nvme_remote
from tests.node.client import Kubelet, block, filesystem
from tests.node.every_step import (
    DATA,
    EXT4,
    AtEveryStep,
    Use,
    each_interruption,
    expanded_at_every_step,
    interrupted_at_every_step,
    released,
    unstaged_at_every_step,
)
from tests.node.interruption import Interruption, repeated
from tests.node.loophost import LoopHost
from tests.node.nvme_host import NvmeHost, serving
from tests.node.nvme_kernel import FIRST, FakeKernel, FakeVolume, running

pytestmark = pytest.mark.needs("devices")

each_use = pytest.mark.parametrize("use", [EXT4, Use("block", block())], ids=lambda use: use.name)
GROWING = [
    pytest.param(EXT4, marks=pytest.mark.needs("online-ext4")),
    pytest.param(Use("xfs", filesystem("xfs")), marks=pytest.mark.needs("xfs")),
]


@pytest.fixture(scope="session", autouse=True)
def _server() -> None:
    start_server()


@dataclass(frozen=True)
class Volume:
    """A volume of the host over one portal, so that a call makes at most one connection."""

    host: NvmeHost
    volume: FakeVolume

    @property
    def handle(self) -> VolumeHandle:
        return self.volume.handle

    @property
    def size(self) -> int:
        return self.volume.size

    def publish_context(self, *, read_only: bool = False) -> PublishContext:
        return self.volume.publish_context(FIRST, read_only=read_only)

    def grow(self, size: int) -> None:
        self.host.grow(self.volume, size)

    def unmap(self) -> None:
        self.host.unmap(self.volume)


@pytest.fixture
def nvme_host(host: LoopHost, monkeypatch: pytest.MonkeyPatch) -> Iterator[NvmeHost]:
    with (
        running(FakeKernel(host.folder / "kernel"), monkeypatch, plain_files=False) as kernel,
        nvme_remote.served(kernel),
    ):
        yield NvmeHost(host, kernel)


@pytest.fixture
def over_nvme(nvme_host: NvmeHost, tmp_path: Path) -> Iterator[Kubelet]:
    with serving(nvme_host.settings(tmp_path), nvme_host.loop.kubelet) as kubelet:
        yield kubelet


@pytest.fixture
def at_every_step(nvme_host: NvmeHost, figures: Figures) -> AtEveryStep:
    """Interrupt a call at each of its steps; see ``interrupted_at_every_step``."""
    return functools.partial(
        interrupted_at_every_step,
        nvme_host.loop,
        figures,
        new_volume=lambda: Volume(nvme_host, nvme_host.volume()),
        kernel=nvme_host.kernel,
    )


@each_interruption
@each_use
def test_stage_on_a_host_without_a_connection(
    at_every_step: AtEveryStep,
    nvme_host: NvmeHost,
    over_nvme: Kubelet,
    use: Use,
    interruption: Interruption,
) -> None:
    kernel = nvme_host.kernel

    def prepare(_volume: Volume) -> None:
        for folder in kernel.controllers():
            kernel.disconnect(folder.name)

    def finish(volume: Volume) -> None:
        repeated(lambda: over_nvme.stage(volume, use.capability))
        target = over_nvme.publish(volume, use.capability)
        use.write(target)
        assert use.read(target) == DATA
        assert len(kernel.controllers()) == 1
        released(over_nvme, volume)

    steps = at_every_step(
        interruption,
        prepare=prepare,
        call=lambda kubelet, volume: kubelet.stage(volume, use.capability),
        finish=finish,
    )
    assert steps.count("connect") == 1
    assert use.is_block or {"mkfs.ext4", "mount", "blkid", "wipefs", "write"} <= set(steps)


@each_interruption
@pytest.mark.parametrize("use", GROWING, ids=lambda use: use.name)
def test_expand(at_every_step: AtEveryStep, over_nvme: Kubelet, use: Use, interruption: Interruption) -> None:
    expanded_at_every_step(at_every_step, over_nvme, use, interruption)


@each_interruption
def test_unstage(
    at_every_step: AtEveryStep, nvme_host: NvmeHost, over_nvme: Kubelet, interruption: Interruption
) -> None:
    unstaged_at_every_step(at_every_step, over_nvme, EXT4, interruption)
    assert len(nvme_host.kernel.controllers()) == 1
