"""Each call is interrupted at each of its steps, or the plugin is killed there, and the call is repeated."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path

import pytest

from csi_powerflex.units import GIB
from tests.children import start_server
from tests.figures import Figures
from tests.node.client import Kubelet, block, filesystem
from tests.node.every_step import (
    DATA,
    AtEveryStep,
    Use,
    each_interruption,
    expanded_at_every_step,
    interrupted_at_every_step,
    released,
    unstaged_at_every_step,
    used,
)
from tests.node.interruption import Interruption, repeated
from tests.node.loophost import LoopHost, Volume
from tests.node.second_actor import copy_of_mounts, on_another_node

pytestmark = pytest.mark.needs("devices")


@pytest.fixture(scope="session", autouse=True)
def _server() -> None:
    start_server()


_EXT4 = Use("ext4", filesystem("ext4"))
FILESYSTEMS = [
    _EXT4,
    pytest.param(Use("xfs", filesystem("xfs")), marks=pytest.mark.needs("xfs")),
    pytest.param(Use("btrfs", filesystem("btrfs")), marks=pytest.mark.needs("btrfs")),
]
GROWING = [pytest.param(_EXT4, marks=pytest.mark.needs("online-ext4")), *FILESYSTEMS[1:]]
each_use = pytest.mark.parametrize("use", [*FILESYSTEMS, Use("block", block())], ids=lambda use: use.name)
each_filesystem = pytest.mark.parametrize("use", FILESYSTEMS, ids=lambda use: use.name)


@pytest.fixture
def at_every_step(host: LoopHost, figures: Figures) -> AtEveryStep:
    """Interrupt a call at each of its steps; see ``interrupted_at_every_step``."""
    return functools.partial(interrupted_at_every_step, host, figures, new_volume=host.volume)


@each_interruption
@each_use
def test_stage_of_a_new_volume(
    at_every_step: AtEveryStep, node: Kubelet, use: Use, interruption: Interruption
) -> None:
    def finish(volume: Volume) -> None:
        repeated(lambda: node.stage(volume, use.capability))
        target = node.publish(volume, use.capability)
        use.write(target)
        assert use.read(target) == DATA
        released(node, volume)

    steps = at_every_step(
        interruption,
        prepare=lambda _volume: None,
        call=lambda kubelet, volume: kubelet.stage(volume, use.capability),
        finish=finish,
    )
    if not use.is_block:
        assert {f"mkfs.{use.name}", "mount", "blkid", "wipefs", "write"} <= set(steps)


@each_interruption
@each_use
def test_stage_of_a_used_volume(
    at_every_step: AtEveryStep, node: Kubelet, use: Use, interruption: Interruption
) -> None:
    def prepare(volume: Volume) -> None:
        used(node, volume, use)
        released(node, volume)
        volume.grow(16 * GIB)

    def finish(volume: Volume) -> None:
        repeated(lambda: node.stage(volume, use.capability))
        assert use.read(node.publish(volume, use.capability)) == DATA
        released(node, volume)

    at_every_step(
        interruption,
        prepare=prepare,
        call=lambda kubelet, volume: kubelet.stage(volume, use.capability),
        finish=finish,
    )


@each_interruption
@each_use
def test_publish(at_every_step: AtEveryStep, node: Kubelet, use: Use, interruption: Interruption) -> None:
    def finish(volume: Volume) -> None:
        repeated(lambda: node.publish(volume, use.capability, readonly=True))
        released(node, volume)
        assert not node.target(volume).exists()

    steps = at_every_step(
        interruption,
        prepare=lambda volume: node.stage(volume, use.capability),
        call=lambda kubelet, volume: kubelet.publish(volume, use.capability, readonly=True),
        finish=finish,
    )
    assert "bind" in steps


@each_interruption
@each_use
def test_unpublish(at_every_step: AtEveryStep, node: Kubelet, use: Use, interruption: Interruption) -> None:
    def finish(volume: Volume) -> None:
        repeated(lambda: node.unpublish(volume))
        assert not node.target(volume).exists()
        assert use.read(node.publish(volume, use.capability)) == DATA
        released(node, volume)

    steps = at_every_step(
        interruption,
        prepare=lambda volume: used(node, volume, use),
        call=lambda kubelet, volume: kubelet.unpublish(volume),
        finish=finish,
    )
    assert steps == ["umount", "remove"]


@each_interruption
@each_filesystem
def test_unstage(at_every_step: AtEveryStep, node: Kubelet, use: Use, interruption: Interruption) -> None:
    unstaged_at_every_step(at_every_step, node, use, interruption)


@each_interruption
def test_unstage_while_another_process_has_a_copy_of_the_mounts(
    at_every_step: AtEveryStep, node: Kubelet, interruption: Interruption, tmp_path: Path
) -> None:
    """After the OK all data are on the device, and the volume can come back to this node.

    The other filesystems are tested without interruptions (test_second_actors.py).
    """
    use = _EXT4
    with contextlib.ExitStack() as others:

        def prepare(volume: Volume) -> None:
            node.stage(volume, use.capability)
            target = node.publish(volume, use.capability)
            others.enter_context(copy_of_mounts())
            use.write(target)
            node.unpublish(volume)

        def finish(volume: Volume) -> None:
            repeated(lambda: node.unstage(volume))
            assert use.read(on_another_node(volume, tmp_path)) == DATA
            repeated(lambda: node.stage(volume, use.capability))
            assert use.read(node.staging(volume)) == DATA
            repeated(lambda: node.unstage(volume))
            others.close()

        at_every_step(
            interruption,
            prepare=prepare,
            call=lambda kubelet, volume: kubelet.unstage(volume),
            finish=finish,
        )


@each_interruption
@pytest.mark.parametrize("use", GROWING, ids=lambda use: use.name)
def test_expand(at_every_step: AtEveryStep, node: Kubelet, use: Use, interruption: Interruption) -> None:
    expanded_at_every_step(at_every_step, node, use, interruption)
