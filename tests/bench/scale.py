"""A large cluster at one array: ``make bench-scale``.

The array has 1,000 hosts and 10,000 volumes. The simulator and the controller run in processes of their own.
This process makes the calls of the sidecars: an attach storm after a power failure, a drain of all nodes, the
lists by which the attacher compares, and the capacity of many classes and zones. The figures of
docs/scale.md come from here.
"""

from __future__ import annotations

import collections
import contextlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import click
import grpc

from csi_powerflex.pb import csi_pb2
from tests.bench import other_state
from tests.bench.lives import in_parallel
from tests.bench.scaled_array import ScaledArray, served
from tests.controller.driver import mount
from tests.controller_process import ControllerProcess, cpu_seconds

_PLACES = 100
_CAPACITY_PLACES = 50
_CLASSES = 50
_ZONES = 10
_LISTERS = 4
_SAMPLE_SECONDS = 1.0
_REPEAT_SECONDS = 0.5
# How many volumes are listed by the attacher in one call, if it does not ask for fewer.
_NO_LIMIT = 0

Call = Callable[[], object]


@dataclass
class Measured:
    """What some calls took.

    Attributes:
        waits: the seconds of each call.
        refused: how many calls failed, by code. Each was repeated.
        seconds: from the first to the last call.
        requests: the requests at the array, by route.
        cpu: the processor time of the controller in seconds.
        simulator_cpu: that of the simulator.
        peak: the most memory of the controller so far, in MiB.
        sessions: the most tokens that were valid at the array at a time.
        connections: how many connections made these requests.
    """

    waits: list[float] = field(default_factory=list)
    refused: collections.Counter[str] = field(default_factory=collections.Counter)
    seconds: float = 0.0
    requests: dict[str, int] = field(default_factory=dict)
    cpu: float = 0.0
    simulator_cpu: float = 0.0
    peak: int = 0
    sessions: int = 0
    connections: int = 0

    def wait(self, share: float) -> float:
        """The seconds within which this share of the calls ended."""
        return sorted(self.waits)[int(share * (len(self.waits) - 1))]


@dataclass(frozen=True)
class Bench:
    """A controller and the array that it uses."""

    process: ControllerProcess
    array: ScaledArray

    def publish(self, volume: str, node: str) -> None:
        self.process.driver.publish(volume, node)

    def move(self, volume: str, node: str, other: str) -> None:
        """Take a volume from its node to another one."""
        self.process.driver.unpublish(volume, node)
        self.process.driver.publish(volume, other)

    def list_all(self) -> int:
        """Read all pages of ListVolumes; returns how many volumes are published to a node."""
        published, token = 0, ""
        while True:
            request = csi_pb2.ListVolumesRequest(starting_token=token, max_entries=_NO_LIMIT)
            answer = self.process.driver.controller.ListVolumes(request, timeout=300)
            published += sum(bool(entry.status.published_node_ids) for entry in answer.entries)
            token = answer.next_token
            if not token:
                return published

    def capacity(self, zone: int, number: int) -> int:
        """The capacity for a class in a zone."""
        request = csi_pb2.GetCapacityRequest(
            parameters={"maxVtreeMembers": str(number + 2)},
            volume_capabilities=[mount()],
            accessible_topology=self._zone(zone),
        )
        return self.process.driver.controller.GetCapacity(request, timeout=300).available_capacity

    def _zone(self, number: int) -> csi_pb2.Topology:
        system = self.array.target.ready["systemId"]
        return csi_pb2.Topology(
            segments={f"csi.powerflex.dev/{system}": "true", "csi.powerflex.dev/zone": f"z{number}"}
        )

    def create(self) -> None:
        """A new volume, after which no capacity that is remembered counts any more."""
        requirement = csi_pb2.TopologyRequirement(requisite=[self._zone(_ZONES - 1)])
        self.process.driver.create("pvc-further", accessibility_requirements=requirement)

    def measure(self, calls: Iterable[Call], threads: int) -> Measured:
        """Make calls through so many threads. A call that fails is repeated after the others."""
        result, target = Measured(), self.array.target
        since, waiting = target.requests(), collections.deque(calls)
        cpu, simulator_cpu = self.process.cpu_seconds(), cpu_seconds(target.pid)
        with _sampled(lambda: setattr(result, "sessions", max(result.sessions, target.sessions()))):
            began = time.perf_counter()
            in_parallel(threads, lambda _: _work(waiting, result))
            result.seconds = time.perf_counter() - began
        result.cpu, result.simulator_cpu = (
            self.process.cpu_seconds() - cpu,
            cpu_seconds(target.pid) - simulator_cpu,
        )
        result.requests = target.routes(since)
        result.connections = len(target.connections(since))
        result.peak = peak_mib(self.process.pid)
        return result


def _work(waiting: collections.deque[Call], result: Measured) -> None:
    while True:
        try:
            call = waiting.popleft()
        except IndexError:
            return
        began = time.perf_counter()
        try:
            call()
        except grpc.RpcError as error:
            result.refused[str(error.code().name)] += 1
            waiting.append(call)
            time.sleep(_REPEAT_SECONDS)
        else:
            result.waits.append(time.perf_counter() - began)


@contextlib.contextmanager
def _sampled(sample: Callable[[], object]) -> Iterator[None]:
    """Call ``sample`` at the start of the block, every second during it, and at its end."""
    over = threading.Event()

    def run() -> None:
        sample()
        while not over.wait(_SAMPLE_SECONDS):
            sample()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        sample()


def peak_mib(pid: int) -> int:
    """The most memory that a process had so far, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) // 1024


# --- what is measured ----------------------------------------------------------------------------


def after_power_failure(process: ControllerProcess, array: ScaledArray) -> Bench:
    """A controller that started while every host was disconnected. The hosts are connected again."""
    array.connect(connected=False)
    process.start()
    process.wait_for("system found", seconds=120)
    array.connect(connected=True)
    return Bench(process, array)


def storm(bench: Bench) -> list[Call]:
    """Publish every volume."""
    nodes = bench.array.nodes
    return [
        partial(bench.publish, volume, nodes[number % len(nodes)])
        for number, volume in enumerate(bench.array.volumes)
    ]


def drain(bench: Bench) -> list[Call]:
    """Take the volumes of one node after the other to the node that is half of all nodes further."""
    nodes = bench.array.nodes
    count = len(nodes)
    order = sorted(range(len(bench.array.volumes)), key=lambda number: number % count)
    return [
        partial(
            bench.move,
            bench.array.volumes[number],
            nodes[number % count],
            nodes[(number + count // 2) % count],
        )
        for number in order
    ]


def capacities(bench: Bench) -> list[Call]:
    """Ask for the capacity of each class in each zone."""
    return [partial(bench.capacity, zone, number) for number in range(_CLASSES) for zone in range(_ZONES)]


_HEADS = (
    "what",
    "calls, failed",
    "time",
    "p50, p99",
    "requests by kind",
    "CPU ms per call, simulator's",
    "peak memory",
    "sessions",
    "connections",
    "load",
)


def _row(what: str, result: Measured) -> None:
    kinds = ", ".join(f"{route} {count:,}" for route, count in sorted(result.requests.items()))
    calls = len(result.waits)
    refused = ", ".join(f"{count} {code}" for code, count in result.refused.items()) or "0"
    cells = (
        what,
        f"{calls:,}, {refused}",
        f"{result.seconds:.1f} s",
        f"{result.wait(0.5) * 1000:.0f}, {result.wait(0.99) * 1000:.0f} ms",
        f"{kinds} ({sum(result.requests.values()) / calls:.3f} each)",
        f"{result.cpu / calls * 1000:.2f}, {result.simulator_cpu / calls * 1000:.2f}",
        f"{result.peak} MiB",
        str(result.sessions),
        str(result.connections),
        f"{os.getloadavg()[0]:.0f}",
    )
    click.echo(f"| {' | '.join(cells)} |")


def _measure(process: ControllerProcess, array: ScaledArray) -> None:
    click.echo(f"| {' | '.join(_HEADS)} |\n|{'---|' * len(_HEADS)}")
    bench = after_power_failure(process, array)
    try:
        start = peak_mib(process.pid)
        _row("attach storm after a power failure", bench.measure(storm(bench), _PLACES))
        _row("the same again: everything is attached", bench.measure(storm(bench), _PLACES))
        _row("reconciliation, one caller", bench.measure([bench.list_all], 1))
        _row(f"reconciliation, {_LISTERS} callers", bench.measure([bench.list_all] * _LISTERS, _LISTERS))
        published = bench.list_all()
        if published != len(array.volumes):
            raise click.ClickException(f"{published} of {len(array.volumes)} volumes are listed as published")
        _row("rolling drain: unpublish, publish elsewhere", bench.measure(drain(bench), _PLACES))
        process.terminate()
        process.start()
        _row("capacity, after a start", bench.measure(capacities(bench), _CAPACITY_PLACES))
        _row("capacity, again", bench.measure(capacities(bench), _CAPACITY_PLACES))
        bench.create()
        _row("capacity, after a new volume", bench.measure(capacities(bench), _CAPACITY_PLACES))
        click.echo(f"memory before: {start} MiB")
    finally:
        process.terminate()


@click.command()
@click.option("--hosts", default=1000, show_default=True, type=click.IntRange(2))
@click.option("--volumes", default=10_000, show_default=True, type=click.IntRange(10))
@click.option(
    "--latency", default=0, show_default=True, type=click.IntRange(0), help="Of each answer, in ms."
)
@click.option("--beside", "other", metavar="COMMIT", help="Also run the controller of this commit.")
def main(hosts: int, volumes: int, latency: int, other: str | None) -> None:
    """Measure a large cluster on this machine; takes some minutes for each state of the project."""
    click.echo(f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        states = stack.enter_context(other_state.trees(other, folder))
        for name, tree in states.items():
            own = folder / name
            own.mkdir()
            with served(own, hosts=hosts, volumes=volumes, zones=_ZONES) as array:
                array.target.delay(latency / 1000)
                click.echo(
                    f"\n{name}: {hosts:,} hosts, {volumes:,} volumes, {_PLACES} calls at a time, "
                    f"{latency} ms per request\n"
                )
                _measure(ControllerProcess(own / "controller", array.systems, tree=tree), array)


if __name__ == "__main__":
    main()
