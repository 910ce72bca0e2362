"""The time of the node from a mapping to a mounted filesystem, compared with the tools alone.

``make bench-node`` runs ``csi-powerflex node`` in its own process on loop devices, in its own mount
namespace, and calls it as a kubelet does. The figures of docs/performance.md come from here. It needs root.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from tests.node.client import Kubelet, filesystem
from tests.node.loophost import LoopHost, Volume, command
from tests.node.namespaces import own_mounts
from tests.node.process import NodeProcess

_ROUNDS = 30
_WARM_UP = 3
_BEFORE_THE_DEVICE_SECONDS = 0.3


def _took(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _row(what: str, seconds: Sequence[float]) -> None:
    counted = seconds[_WARM_UP:]
    fastest, median = min(counted) * 1000, statistics.median(counted) * 1000
    click.echo(f"| {what} | {fastest:.0f} ms | {median:.0f} ms |")


def _tools_alone(host: LoopHost, fs_type: str) -> None:
    """The tools that the driver needs, on the same devices and with the same options."""
    options = {"ext4": ["-q", "-m", "0", "-E", "nodiscard"], "xfs": ["-q", "-K"], "btrfs": ["-q", "-K"]}[
        fs_type
    ]
    making, mounting, unmounting = [], [], []
    for _ in range(_ROUNDS):
        volume = host.volume()
        make = [f"mkfs.{fs_type}", *options, "--", volume.path]
        making.append(_took(lambda make=make: command(*make)))  # type: ignore[misc] # binds the loop's value
        mount = ["mount", "-t", fs_type, volume.path, host.kubelet]
        mounting.append(_took(lambda mount=mount: command(*mount)))  # type: ignore[misc]
        unmounting.append(_took(lambda: command("umount", host.kubelet)))
        volume.unmap()
    _row(f"`mkfs.{fs_type}` alone", making)
    _row("`mount` alone", mounting)
    _row("`umount` alone", unmounting)


def _calls(host: LoopHost, node: Kubelet, fs_type: str) -> None:
    """Each call in the life of a volume on the node. The device exists."""
    capability = filesystem(fs_type)
    new, again, known, publish, unpublish, unstage = ([] for _ in range(6))
    for _ in range(_ROUNDS):
        volume = host.volume()

        def stage(volume: Volume = volume) -> None:
            node.stage(volume, capability)

        new.append(_took(stage))
        again.append(_took(stage))
        publish.append(_took(lambda volume=volume: node.publish(volume, capability)))  # type: ignore[misc]
        unpublish.append(_took(lambda volume=volume: node.unpublish(volume)))  # type: ignore[misc]
        unstage.append(_took(lambda volume=volume: node.unstage(volume)))  # type: ignore[misc]
        known.append(_took(stage))
        node.unstage(volume)
        volume.unmap()
    _row("NodeStageVolume, new volume: probed, formatted, mounted", new)
    _row("NodeStageVolume, volume that has its filesystem: checked, mounted", known)
    _row("NodeStageVolume again: nothing to do", again)
    _row("NodePublishVolume", publish)
    _row("NodeUnpublishVolume", unpublish)
    _row("NodeUnstageVolume", unstage)


def _wait(host: LoopHost, node: Kubelet) -> None:
    """The additional time if the device does not exist yet when the call begins."""
    there, late = [], []
    for _ in range(_ROUNDS):
        volume = host.volume()
        node.stage(volume)
        node.unstage(volume)
        there.append(_took(lambda volume=volume: node.stage(volume)))  # type: ignore[misc]
        node.unstage(volume)
        late.append(_after_the_device(node, volume))
        node.unstage(volume)
        volume.unmap()
    _row("from the call to mounted, the device exists", there)
    _row("from the new device to mounted, the call waits", late)


def _after_the_device(node: Kubelet, volume: Volume) -> float:
    volume.link.unlink()
    ended = 0.0

    def stage() -> None:
        nonlocal ended
        node.stage(volume)
        ended = time.perf_counter()

    call = threading.Thread(target=stage)
    call.start()
    time.sleep(_BEFORE_THE_DEVICE_SECONDS)
    appeared = time.perf_counter()
    volume.link.symlink_to(volume.path)
    call.join()
    return ended - appeared


def _measure(folder: Path) -> None:
    host = LoopHost(folder / "host")
    try:
        with own_mounts(), NodeProcess(host, options=("--log-level", "warning")) as process:
            for fs_type in ("ext4", "xfs", "btrfs"):
                click.echo(f"\n| {fs_type}, 8 GiB | fastest | median |\n|---|---|---|")
                _tools_alone(host, fs_type)
                _calls(host, process.kubelet, fs_type)
            click.echo("\n| waiting, ext4 | fastest | median |\n|---|---|---|")
            _wait(host, process.kubelet)
    finally:
        host.close()


@click.command()
def main() -> None:
    """Measure the node plugin on this machine; takes about a minute."""
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        raise click.ClickException("this needs root and loop devices")
    click.echo(f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        _measure(Path(folder))


if __name__ == "__main__":
    main()
