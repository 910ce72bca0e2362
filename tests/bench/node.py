"""The time of the node from a mapping to a mounted filesystem, compared with the tools alone.

``make bench-node`` runs ``csi-powerflex node`` in its own process on loop devices, in its own mount
namespace, and calls it as a kubelet does. With ``--beside COMMIT`` a node of that state of the project does
the same in turn, so that both meet the same load of the machine. The figures of docs/performance.md come from
here. It needs root.
"""

from __future__ import annotations

import contextlib
import functools
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from tests.bench import other_state
from tests.node.client import Kubelet, filesystem
from tests.node.loophost import LoopHost, Volume, command
from tests.node.namespaces import own_mounts
from tests.node.process import NodeProcess

_WARM_UP = 3
_BEFORE_THE_DEVICE_SECONDS = 0.3
_MKFS = {"ext4": ["-q", "-m", "0", "-E", "nodiscard"], "xfs": ["-q", "-K"], "btrfs": ["-q", "-K"]}

Seconds = defaultdict[str, list[float]]
"""What each step took, by its name."""


@dataclass(frozen=True)
class _State:
    """A state of the project, and its node on a host of its own."""

    name: str
    host: LoopHost
    process: NodeProcess

    @property
    def node(self) -> Kubelet:
        return self.process.kubelet


def _took(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _tools_alone(fs_type: str, state: _State, seconds: Seconds) -> None:
    """The tools that the driver needs, on the same devices and with the same options."""
    host, volume = state.host, state.host.volume()
    make = [f"mkfs.{fs_type}", *_MKFS[fs_type], "--", volume.path]
    mount = ["mount", "-t", fs_type, volume.path, host.kubelet]
    seconds[f"`mkfs.{fs_type}` alone"].append(_took(lambda: command(*make)))
    seconds["`mount` alone"].append(_took(lambda: command(*mount)))
    seconds["`umount` alone"].append(_took(lambda: command("umount", host.kubelet)))
    volume.unmap()


def _calls(fs_type: str, state: _State, seconds: Seconds) -> None:
    """Each call in the life of a volume on the node. The device exists."""
    node, volume, use = state.node, state.host.volume(), filesystem(fs_type)

    def stage() -> None:
        node.stage(volume, use)

    seconds["NodeStageVolume, new volume: probed, formatted, mounted"].append(_took(stage))
    seconds["NodeStageVolume again: nothing to do"].append(_took(stage))
    seconds["NodePublishVolume"].append(_took(lambda: node.publish(volume, use)))
    seconds["NodeUnpublishVolume"].append(_took(lambda: node.unpublish(volume)))
    seconds["NodeUnstageVolume"].append(_took(lambda: node.unstage(volume)))
    seconds["NodeStageVolume, volume that has its filesystem: checked, mounted"].append(_took(stage))
    node.unstage(volume)
    volume.unmap()


def _wait(state: _State, seconds: Seconds) -> None:
    """The additional time if the device does not exist yet when the call begins."""
    node, volume = state.node, state.host.volume()
    node.stage(volume)
    node.unstage(volume)
    seconds["from the call to mounted, the device exists"].append(_took(lambda: node.stage(volume)))
    node.unstage(volume)
    seconds["from the new device to mounted, the call waits"].append(_after_the_device(node, volume))
    node.unstage(volume)
    volume.unmap()


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


def _table(
    title: str, states: Sequence[_State], rounds: int, work: Callable[[_State, Seconds], None]
) -> None:
    """Let the states work in turn, and print the fastest and the median of each step, and their ratios."""
    found: dict[str, Seconds] = {state.name: defaultdict(list) for state in states}
    for number in range(_WARM_UP + rounds):
        for state in states if number % 2 else reversed(states):
            work(state, found[state.name] if number >= _WARM_UP else defaultdict(list))
    other = len(states) > 1
    names = " | ".join(f"{state.name}: fastest | median" for state in states)
    click.echo(f"\n| {title} | {names} |{' ratio of the medians |' if other else ''}")
    click.echo(f"|{'---|' * (1 + 2 * len(states) + other)}")
    for step in found[states[0].name]:
        samples = [found[state.name][step] for state in states]
        figures = [
            f"{took * 1000:.0f} ms" for each in samples for took in (min(each), statistics.median(each))
        ]
        if other:
            figures.append(f"{statistics.median(samples[0]) / statistics.median(samples[1]):.2f}")
        click.echo(f"| {step} | {' | '.join(figures)} |")


def _measure(states: Sequence[_State], rounds: int) -> None:
    for fs_type in _MKFS:
        _table(
            f"{fs_type}, 8 GiB, the tools", states[:1], rounds,
            functools.partial(_tools_alone, fs_type),
        )  # fmt: skip
        _table(
            f"{fs_type}, 8 GiB, the calls", states, rounds,
            functools.partial(_calls, fs_type),
        )  # fmt: skip
    _table("waiting, ext4", states, rounds, _wait)
    click.echo()
    for state in states:
        click.echo(f"memory of the process at the end, {state.name}: {state.process.resident() >> 20} MiB")


@click.command()
@click.option("--beside", "other", metavar="COMMIT", help="Also run the node of this commit, in turn.")
@click.option("--rounds", default=27, show_default=True, help="How often each call is measured.")
def main(other: str | None, rounds: int) -> None:
    """Measure the node plugin on this machine; takes about a minute for each state."""
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        raise click.ClickException("this needs root and loop devices")
    click.echo(f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        trees = stack.enter_context(other_state.trees(other, folder))
        stack.enter_context(own_mounts())
        states = []
        for name, tree in trees.items():
            host = LoopHost(folder / f"host-{name}")
            stack.callback(host.close)
            process = NodeProcess(host, options=("--log-level", "warning"), tree=tree)
            states.append(_State(name, host, stack.enter_context(process)))
        _measure(states, rounds)


if __name__ == "__main__":
    main()
