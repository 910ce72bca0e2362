"""Volume lives against a simulated array: ``make bench-lives``.

A life is CreateVolume, ControllerPublishVolume, ControllerUnpublishVolume and DeleteVolume. The simulator and
each controller run in processes of their own. This process makes the calls. With ``--beside COMMIT`` a
controller of that state of the project does the same work in turn, so that both meet the same load of the
machine. The figures of docs/performance.md come from here.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from csi_powerflex.pb import csi_pb2
from tests.controller.driver import Driver
from tests.controller_process import ControllerProcess, cpu_seconds
from tests.soak import array
from tests.soak.array import NODES, SoakedArray

CALLS = ("create", "publish", "unpublish", "delete")
_PARALLEL = (1, 8, 32, 64)
_LATENCIES_MS = (0, 10, 50)
_ROOT = Path(__file__).parents[2]
_WARM_UP_LIVES = 5
_PROBES = 2000
_PROBE_THREADS = 8
_names = itertools.count(1)


@dataclass
class Sample:
    """What some lives took.

    Attributes:
        waits: the seconds of each call, by its name.
        seconds: from the beginning of the first to the end of the last life.
        cpu: the processor time of the controllers in seconds.
        simulator_cpu: that of the simulator.
        requests: how many requests the array has got.
        connections: how many new connections, which are TLS handshakes.
        resident: the memory of the controllers in bytes, at the end.
    """

    waits: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in CALLS})
    seconds: float = 0.0
    cpu: float = 0.0
    simulator_cpu: float = 0.0
    requests: int = 0
    connections: int = 0
    resident: int = 0

    @property
    def lives(self) -> int:
        """How many lives ended."""
        return len(self.waits[CALLS[-1]])

    @property
    def rate(self) -> float:
        """Lives per second."""
        return self.lives / self.seconds

    @property
    def cpu_ms(self) -> float:
        """The milliseconds of processor time that the controllers took for a life."""
        return self.cpu / self.lives * 1000


def life(driver: Driver, node: str, waits: dict[str, list[float]]) -> None:
    """One life of a new volume. The seconds of each call are added to ``waits``."""
    name = f"pvc-life-{next(_names)}"
    began = time.perf_counter()
    volume = driver.create(name)
    created = time.perf_counter()
    driver.publish(volume, node)
    published = time.perf_counter()
    driver.unpublish(volume.volume_id, node)
    unpublished = time.perf_counter()
    driver.delete(volume.volume_id)
    ends = (created, published, unpublished, time.perf_counter())
    for call, start, end in zip(CALLS, (began, *ends), ends, strict=False):
        waits[call].append(end - start)


def measured(
    processes: Sequence[ControllerProcess],
    target: SoakedArray,
    *,
    parallel: int,
    go_on: Callable[[int], bool],
) -> Sample:
    """Lead lives in ``parallel`` threads, which share the controllers.

    Each thread begins another life while ``go_on``, which gets the number of lives that ended, says so.
    """
    sample = Sample()
    requests, known = target.requests(), target.connections(0)
    cpu, simulator_cpu = _cpu(processes), cpu_seconds(target.pid)
    failures: list[Exception] = []

    def lead(number: int) -> None:
        driver, node = processes[number % len(processes)].driver, target.node(NODES[number % len(NODES)])
        try:
            while not failures and go_on(sample.lives):
                life(driver, node, sample.waits)
        except Exception as error:  # noqa: BLE001 - it is raised in the thread that waits
            failures.append(error)

    began = time.perf_counter()
    in_parallel(parallel, lead)
    sample.seconds = time.perf_counter() - began
    if failures:
        raise failures[0]
    sample.cpu, sample.simulator_cpu = _cpu(processes) - cpu, cpu_seconds(target.pid) - simulator_cpu
    sample.requests = target.requests() - requests
    sample.connections = len(target.connections(requests) - known)
    sample.resident = sum(process.resident() for process in processes)
    return sample


def in_parallel(threads: int, work: Callable[[int], None]) -> None:
    """Call ``work`` with the number of each thread, and wait for all of them."""
    running = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def probe_seconds(process: ControllerProcess, probes: int) -> float:
    """The processor time in seconds that the controller takes for a Probe, a call without any work."""
    process.driver.wait_until_ready()

    def probe(_: int) -> None:
        for _ in range(probes // _PROBE_THREADS):
            process.driver.identity.Probe(csi_pb2.ProbeRequest(), timeout=60)

    probe(0)
    began = process.cpu_seconds()
    in_parallel(_PROBE_THREADS, probe)
    return (process.cpu_seconds() - began) / (probes // _PROBE_THREADS * _PROBE_THREADS)


def _cpu(processes: Sequence[ControllerProcess]) -> float:
    return sum(process.cpu_seconds() for process in processes)


# --- the command ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _State:
    """A state of the project: its name, and its controllers."""

    name: str
    processes: Sequence[ControllerProcess]


@contextlib.contextmanager
def tree_of(commit: str, folder: Path) -> Iterator[Path]:
    """The files of the project at this commit, in a folder of their own."""
    tree = folder / "other"
    _git("worktree", "add", "--detach", "--quiet", str(tree), commit)
    try:
        yield tree
    finally:
        _git("worktree", "remove", "--force", str(tree))


def _git(*arguments: str) -> None:
    done = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"git {' '.join(arguments)}: {done.stderr.strip()}")


def _during(seconds: float) -> Callable[[int], bool]:
    until = time.perf_counter() + seconds
    return lambda _: time.perf_counter() < until


def _row(latency: int, parallel: int, state: str, samples: Sequence[Sample]) -> None:
    """Print the medians of some rounds."""

    def median(value: Callable[[Sample], float]) -> float:
        return statistics.median(map(value, samples))

    def wait(call: str, share: float) -> float:
        return median(lambda sample: sorted(sample.waits[call])[int(share * (sample.lives - 1))] * 1000)

    waits = ", ".join(f"{wait(call, 0.5):.0f}/{wait(call, 0.99):.0f}" for call in CALLS)
    figures = (
        f"{median(lambda sample: sample.rate):.1f}",
        waits,
        f"{median(lambda sample: sample.cpu_ms):.2f}",
        f"{median(lambda sample: sample.simulator_cpu / sample.lives * 1000):.2f}",
        f"{median(lambda sample: sample.requests / sample.lives):.2f}",
        f"{median(lambda sample: sample.connections / sample.lives):.2f}",
        f"{median(lambda sample: sample.resident / 2**20):.0f}",
    )
    click.echo(f"| {latency} | {parallel} | {state} | {' | '.join(figures)} |")


def _ratio(latency: int, parallel: int, now: Sequence[Sample], before: Sequence[Sample]) -> None:
    """Print the medians of the ratios of each round: what the present state has, in units of the other."""

    def of(value: Callable[[Sample], float]) -> str:
        return f"{statistics.median(value(a) / value(b) for a, b in zip(now, before, strict=True)):.2f}"

    def slower(call: str) -> str:
        return of(lambda sample: statistics.median(sample.waits[call]))

    figures = (
        of(lambda sample: sample.rate),
        ", ".join(map(slower, CALLS)),
        of(lambda sample: sample.cpu_ms),
        of(lambda sample: sample.simulator_cpu / sample.lives),
        of(lambda sample: sample.requests / sample.lives),
        "",
        of(lambda sample: sample.resident),
    )
    click.echo(f"| {latency} | {parallel} | ratio | {' | '.join(figures)} |")


def _measure(states: Sequence[_State], target: SoakedArray, plan: _Plan) -> None:
    for state in states:
        for process in state.processes:
            took = probe_seconds(process, _PROBES) * 1e6
            click.echo(f"a bare call (Probe), {state.name}: {took:.0f} µs of processor time")
            warm = [process]
            measured(warm, target, parallel=1, go_on=lambda ended: ended < _WARM_UP_LIVES)
    click.echo(
        "\n| ms per request | parallel | state | lives/s | p50/p99 ms of create, publish, unpublish, delete "
        "| CPU ms/life | simulator CPU ms/life | requests/life | handshakes/life | MiB |\n"
        f"|{'---|' * 10}"
    )
    for latency, parallel in itertools.product(plan.latencies, plan.parallel):
        target.delay(latency / 1000)
        rounds: dict[str, list[Sample]] = {state.name: [] for state in states}
        for _, state in itertools.product(range(plan.rounds), states):
            go_on = _during(plan.seconds)
            rounds[state.name].append(measured(state.processes, target, parallel=parallel, go_on=go_on))
        for name, samples in rounds.items():
            _row(latency, parallel, name, samples)
        if len(states) > 1:
            _ratio(latency, parallel, *rounds.values())
    click.echo(f"\nload {os.getloadavg()[0]:.1f} at the end")


@dataclass(frozen=True)
class _Plan:
    """What to measure: each latency in ms with each number of parallel lives, so often and so long."""

    latencies: tuple[int, ...]
    parallel: tuple[int, ...]
    seconds: float
    rounds: int


@click.command()
@click.option("--beside", "other", metavar="COMMIT", help="Also run the controller of this commit, in turn.")
@click.option("--parallel", multiple=True, type=click.IntRange(1, 100), default=_PARALLEL, show_default=True)
@click.option(
    "--latency", "latencies", multiple=True, type=click.IntRange(0), default=_LATENCIES_MS, show_default=True
)
@click.option("--seconds", default=5.0, show_default=True, help="How long each measurement takes.")
@click.option("--rounds", default=3, show_default=True, help="How often each is repeated.")
@click.option(
    "--processes", default=1, show_default=True, help="How many controllers share the work of this state."
)
def main(
    other: str | None,
    parallel: tuple[int, ...],
    latencies: tuple[int, ...],
    seconds: float,
    rounds: int,
    processes: int,
) -> None:
    """Measure volume lives on this machine; with the defaults it takes three minutes for each state."""
    click.echo(f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        target = stack.enter_context(array.serving(folder, "4.5"))
        systems = target.systems_file(folder / "systems.yaml", request_seconds=60)

        def started(name: str, tree: Path | None) -> ControllerProcess:
            return stack.enter_context(ControllerProcess(folder / name, systems, tree=tree))

        states = [_State("now", [started(f"now{number}", None) for number in range(processes)])]
        if other is not None:
            tree = stack.enter_context(tree_of(other, folder))
            states.append(_State(other[:12], [started("before", tree)]))
        _measure(states, target, _Plan(latencies, parallel, seconds, rounds))


if __name__ == "__main__":
    main()
