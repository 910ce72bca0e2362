"""The start of a node process and its memory: ``make bench-node-start``.

Each round starts ``csi-powerflex node``, with metrics as the chart does, and waits until it answers a Probe.
With ``--beside COMMIT`` a node of that state of the project starts in turn, so that both meet the same load
of the machine. The figures of docs/performance.md come from here. It needs neither root nor devices.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from tests.bench import other_state
from tests.controller_process import cpu_seconds
from tests.node.loophost import LoopHost
from tests.node.process import NodeProcess

_PROBES = 200


@dataclass(frozen=True)
class Start:
    """One start.

    Attributes:
        seconds: from the start of the process until it has answered a Probe.
        cpu: the processor time in seconds that it took until then.
        resident: its memory then, in bytes.
        private: the part of it that it shares with no file, in bytes. Processes of one image share the rest.
        later: its memory after some calls, in bytes.
    """

    seconds: float
    cpu: float
    resident: int
    private: int
    later: int


_FIGURES: tuple[tuple[str, Callable[[Start], float]], ...] = (
    ("start to ready, s", lambda start: start.seconds),
    ("processor time until then, s", lambda start: start.cpu),
    ("resident, MiB", lambda start: start.resident / 2**20),
    ("of that private, MiB", lambda start: start.private / 2**20),
    (f"resident after {_PROBES} calls, MiB", lambda start: start.later / 2**20),
)


def measured(host: LoopHost, tree: Path | None) -> Start:
    """Start a node, and end it."""
    socket = host.folder / "csi.sock"
    socket.unlink(missing_ok=True)
    began = time.perf_counter()
    with NodeProcess(host, options=("--metrics-address", "127.0.0.1:0"), tree=tree) as node:
        node.probe()
        seconds = time.perf_counter() - began
        cpu, resident, private = cpu_seconds(node.process.pid), node.resident(), node.memory("RssAnon")
        for _ in range(_PROBES):
            node.probe()
        return Start(seconds, cpu, resident, private, node.resident())


def _rows(state: str, starts: Sequence[Start]) -> None:
    for name, value in _FIGURES:
        found = sorted(map(value, starts))
        figures = " | ".join(f"{x:.2f}" for x in (found[0], statistics.median(found), found[-1]))
        click.echo(f"| {state} | {name} | {figures} |")


@click.command()
@click.option("--beside", "other", metavar="COMMIT", help="Also start the node of this commit, in turn.")
@click.option("--rounds", default=15, show_default=True, help="How often each is started.")
def main(other: str | None, rounds: int) -> None:
    """Measure the start of the node plugin on this machine; takes about half a minute."""
    click.echo(f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        trees = stack.enter_context(other_state.trees(other, folder))
        host = LoopHost(folder / "host")
        for tree in trees.values():
            measured(host, tree)  # compiles the modules
        starts: dict[str, list[Start]] = {name: [] for name in trees}
        for _ in range(rounds):
            for name, tree in trees.items():
                starts[name].append(measured(host, tree))
    click.echo("\n| state | | minimum | median | maximum |\n|---|---|---|---|---|")
    for name, found in starts.items():
        _rows(name, found)


if __name__ == "__main__":
    main()
