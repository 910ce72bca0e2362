"""A call of the node that is interrupted at each of its steps, on a new volume each."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import pytest

from csi_powerflex.host import mountinfo
from csi_powerflex.pb import csi_pb2
from csi_powerflex.units import GIB
from tests.figures import Figures
from tests.node import client
from tests.node.client import Kubelet, filesystem
from tests.node.interruption import InterruptedNode, Interruption, repeated
from tests.node.loophost import LoopHost
from tests.node.nvme_kernel import FakeKernel

DATA = "written before"

AtEveryStep = Callable[..., list[str]]
"""``interrupted_at_every_step`` with what a fixture knows: the host, its volumes and its kernel."""

Capability = csi_pb2.VolumeCapability


class Volume(client.Volume, Protocol):
    """A volume that the test can expand and unmap."""

    def grow(self, size: int) -> None: ...

    def unmap(self) -> None: ...


V = TypeVar("V", bound=Volume)


@dataclass(frozen=True)
class Use:
    """A use of a volume."""

    name: str
    capability: Capability

    @property
    def is_block(self) -> bool:
        return self.capability.HasField("block")

    def write(self, target: Path) -> None:
        if self.is_block:
            with target.open("r+b") as device:
                device.write(DATA.encode())
        else:
            (target / "file").write_text(DATA)

    def read(self, target: Path) -> str:
        if self.is_block:
            with target.open("rb") as device:
                return device.read(len(DATA)).decode()
        return (target / "file").read_text()


EXT4 = Use("ext4", filesystem("ext4"))
each_interruption = pytest.mark.parametrize(
    "interruption", Interruption, ids=lambda interruption: interruption.value
)


def used(node: Kubelet, volume: client.Volume, use: Use) -> None:
    """Stage and publish the volume and write to it."""
    node.stage(volume, use.capability)
    use.write(node.publish(volume, use.capability))


def released(node: Kubelet, volume: client.Volume) -> None:
    """Unpublish and unstage the volume."""
    repeated(lambda: node.unpublish(volume))
    repeated(lambda: node.unstage(volume))


def interrupted_at_every_step(
    host: LoopHost,
    figures: Figures,
    interruption: Interruption,
    *,
    new_volume: Callable[[], V],
    prepare: Callable[[V], object],
    call: Callable[[Kubelet, V], object],
    finish: Callable[[V], object],
    kernel: FakeKernel | None = None,
) -> list[str]:
    """Interrupt ``call`` at each of its steps, on a new volume each; returns the steps of a complete call.

    With ``kernel``, the volumes are reached over NVMe/TCP.
    """
    table = host.mounts()
    for step in itertools.count():
        volume = new_volume()
        prepare(volume)
        with InterruptedNode(host, step=step, interruption=interruption, kernel=kernel) as process:
            interrupted = process.was_interrupted_in(lambda kubelet, volume=volume: call(kubelet, volume))  # type: ignore[misc] # the default binds the loop's volume
            steps = process.steps()
        assert interrupted == (len(steps) > step), f"step {step + 1} of {steps}"
        finish(volume)
        assert host.mounts() == table
        volume.unmap()
        if not interrupted:
            return steps
        figures.add("node calls interrupted and repeated")
    raise AssertionError("itertools.count ended")


def expanded_at_every_step(
    at_every_step: AtEveryStep, node: Kubelet, use: Use, interruption: Interruption
) -> None:
    """Interrupt the expansion of a published volume, over any transport."""

    def prepare(volume: Volume) -> None:
        used(node, volume, use)
        volume.grow(16 * GIB)

    def finish(volume: Volume) -> None:
        repeated(lambda: node.expand(volume))
        assert node.capacity(volume) > 15 * GIB
        assert use.read(node.target(volume)) == DATA
        released(node, volume)

    at_every_step(
        interruption, prepare=prepare, call=lambda kubelet, volume: kubelet.expand(volume), finish=finish
    )


def unstaged_at_every_step(
    at_every_step: AtEveryStep, node: Kubelet, use: Use, interruption: Interruption
) -> None:
    """Interrupt the unstaging of a volume, over any transport. Afterwards it can be staged again."""

    def prepare(volume: Volume) -> None:
        used(node, volume, use)
        node.unpublish(volume)

    def finish(volume: Volume) -> None:
        repeated(lambda: node.unstage(volume))
        assert mountinfo.at(node.staging(volume)) is None
        repeated(lambda: node.stage(volume, use.capability))
        assert use.read(node.staging(volume)) == DATA
        repeated(lambda: node.unstage(volume))

    steps = at_every_step(
        interruption,
        prepare=prepare,
        call=lambda kubelet, volume: kubelet.unstage(volume),
        finish=finish,
    )
    assert steps == ["mount", "umount"]
