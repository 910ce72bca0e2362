"""Trouble, or kill -9 of the node plugin, at every step of every call: a retry comes to the same end."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from csi_powerflex.host import mountinfo
from csi_powerflex.pb import csi_pb2
from csi_powerflex.units import GIB
from tests.children import start_server
from tests.figures import Figures
from tests.node.breakable import BreakingNode, When, repeated
from tests.node.client import Kubelet, block, filesystem
from tests.node.loophost import LoopHost, Volume

pytestmark = pytest.mark.needs("devices")

_DATA = "written before"

Capability = csi_pb2.VolumeCapability


@pytest.fixture(scope="session", autouse=True)
def _server() -> None:
    start_server()


@dataclass(frozen=True)
class Way:
    """A way to use a volume."""

    name: str
    capability: Capability

    @property
    def is_block(self) -> bool:
        return self.capability.HasField("block")

    def write(self, target: Path) -> None:
        if self.is_block:
            with target.open("r+b") as device:
                device.write(_DATA.encode())
        else:
            (target / "file").write_text(_DATA)

    def read(self, target: Path) -> str:
        if self.is_block:
            with target.open("rb") as device:
                return device.read(len(_DATA)).decode()
        return (target / "file").read_text()


EXT4 = Way("ext4", filesystem("ext4"))
FILESYSTEMS = [
    EXT4,
    pytest.param(Way("xfs", filesystem("xfs")), marks=pytest.mark.needs("xfs")),
    pytest.param(Way("btrfs", filesystem("btrfs")), marks=pytest.mark.needs("btrfs")),
]
GROWING = [pytest.param(EXT4, marks=pytest.mark.needs("online-ext4")), *FILESYSTEMS[1:]]
each_way = pytest.mark.parametrize("way", [*FILESYSTEMS, Way("block", block())], ids=lambda way: way.name)
each_filesystem = pytest.mark.parametrize("way", FILESYSTEMS, ids=lambda way: way.name)
each_moment = pytest.mark.parametrize("when", When, ids=lambda when: when.value)


def used(node: Kubelet, volume: Volume, way: Way) -> None:
    """Stage and publish the volume and write to it."""
    node.stage(volume, way.capability)
    way.write(node.publish(volume, way.capability))


def released(node: Kubelet, volume: Volume) -> None:
    """Unpublish and unstage the volume."""
    repeated(lambda: node.unpublish(volume))
    repeated(lambda: node.unstage(volume))


AtEveryStep = Callable[..., list[str]]


@pytest.fixture
def at_every_step(host: LoopHost, figures: Figures) -> AtEveryStep:
    """Break a call at each of its steps; see ``broken_at_every_step``."""
    return functools.partial(broken_at_every_step, host, figures)


def broken_at_every_step(
    host: LoopHost,
    figures: Figures,
    when: When,
    *,
    prepare: Callable[[Volume], object],
    call: Callable[[Kubelet, Volume], object],
    finish: Callable[[Volume], object],
) -> list[str]:
    """Break ``call`` at each of its steps, each on a new volume; returns the steps of the unbroken one."""
    table = host.mounts()
    for step in itertools.count():
        volume = host.volume()
        prepare(volume)
        with BreakingNode(host, step=step, when=when) as breaking:
            broke = breaking.broke_in(lambda kubelet, volume=volume: call(kubelet, volume))  # type: ignore[misc] # the default binds the loop's volume
            steps = breaking.steps()
        assert broke == (len(steps) > step), f"step {step + 1} of {steps}"
        finish(volume)
        assert host.mounts() == table
        volume.unmap()
        if not broke:
            return steps
        figures.add("node calls interrupted and repeated")
    raise AssertionError("itertools.count ended")


@each_moment
@each_way
def test_broken_while_staging(at_every_step: AtEveryStep, node: Kubelet, way: Way, when: When) -> None:
    def finish(volume: Volume) -> None:
        repeated(lambda: node.stage(volume, way.capability))
        target = node.publish(volume, way.capability)
        way.write(target)
        assert way.read(target) == _DATA
        released(node, volume)

    steps = at_every_step(
        when,
        prepare=lambda _volume: None,
        call=lambda kubelet, volume: kubelet.stage(volume, way.capability),
        finish=finish,
    )
    if not way.is_block:
        assert {f"mkfs.{way.name}", "mount", "blkid", "wipefs", "write"} <= set(steps)


@each_moment
@each_way
def test_broken_while_staging_what_was_used_before(
    at_every_step: AtEveryStep, node: Kubelet, way: Way, when: When
) -> None:
    def prepare(volume: Volume) -> None:
        used(node, volume, way)
        released(node, volume)
        volume.grow(16 * GIB)

    def finish(volume: Volume) -> None:
        repeated(lambda: node.stage(volume, way.capability))
        assert way.read(node.publish(volume, way.capability)) == _DATA
        released(node, volume)

    at_every_step(
        when,
        prepare=prepare,
        call=lambda kubelet, volume: kubelet.stage(volume, way.capability),
        finish=finish,
    )


@each_moment
@each_way
def test_broken_while_publishing(at_every_step: AtEveryStep, node: Kubelet, way: Way, when: When) -> None:
    def finish(volume: Volume) -> None:
        repeated(lambda: node.publish(volume, way.capability, readonly=True))
        released(node, volume)
        assert not node.target(volume).exists()

    steps = at_every_step(
        when,
        prepare=lambda volume: node.stage(volume, way.capability),
        call=lambda kubelet, volume: kubelet.publish(volume, way.capability, readonly=True),
        finish=finish,
    )
    assert "bind" in steps


@each_moment
@each_way
def test_broken_while_unpublishing(at_every_step: AtEveryStep, node: Kubelet, way: Way, when: When) -> None:
    def finish(volume: Volume) -> None:
        repeated(lambda: node.unpublish(volume))
        assert not node.target(volume).exists()
        assert way.read(node.publish(volume, way.capability)) == _DATA
        released(node, volume)

    steps = at_every_step(
        when,
        prepare=lambda volume: used(node, volume, way),
        call=lambda kubelet, volume: kubelet.unpublish(volume),
        finish=finish,
    )
    assert steps == ["umount", "remove"]


@each_moment
@each_filesystem
def test_broken_while_unstaging(at_every_step: AtEveryStep, node: Kubelet, way: Way, when: When) -> None:
    def prepare(volume: Volume) -> None:
        used(node, volume, way)
        node.unpublish(volume)

    def finish(volume: Volume) -> None:
        repeated(lambda: node.unstage(volume))
        assert mountinfo.at(node.staging(volume)) is None
        repeated(lambda: node.stage(volume, way.capability))
        assert way.read(node.staging(volume)) == _DATA
        repeated(lambda: node.unstage(volume))

    steps = at_every_step(
        when,
        prepare=prepare,
        call=lambda kubelet, volume: kubelet.unstage(volume),
        finish=finish,
    )
    assert steps == ["umount"]


@each_moment
@pytest.mark.parametrize("way", GROWING, ids=lambda way: way.name)
def test_broken_while_expanding(at_every_step: AtEveryStep, node: Kubelet, way: Way, when: When) -> None:
    def prepare(volume: Volume) -> None:
        used(node, volume, way)
        volume.grow(16 * GIB)

    def finish(volume: Volume) -> None:
        repeated(lambda: node.expand(volume))
        status = node.capacity(volume)
        assert status > 15 * GIB
        assert way.read(node.target(volume)) == _DATA
        released(node, volume)

    at_every_step(when, prepare=prepare, call=lambda kubelet, volume: kubelet.expand(volume), finish=finish)
