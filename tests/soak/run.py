"""The soak test: many volume lifecycles at once with faults, restarts and a freeze, and its outcome."""

from __future__ import annotations

import contextlib
import queue
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.controller.driver import Driver
from tests.controller_process import ControllerProcess
from tests.soak import array
from tests.soak.array import NODES, SoakedArray
from tests.soak.lifecycle import LifecycleError, Sidecar, Tally, run_lifecycle

_MIB = 1024 * 1024
_REQUEST_SECONDS = 5.0
# For one process during the last quarter of the lifecycles. A leak of 1 KiB per call would be more.
_MAX_GROWTH = 4 * _MIB
# The driver logs the stack of unexpected errors only.
_STACK = b"Traceback (most recent call last)"


@dataclass(frozen=True)
class Plan:
    """What to do. In the first half there are also restarts, ends of all sessions (storms) and a freeze.

    Faults strike the ``share`` of all gateway requests.
    """

    volumes: int = 2000
    clients: int = 64
    version: str = "4.5"
    share: float = 0.05
    restarts: int = 6
    storms: int = 6
    frozen_seconds: float = 60.0
    call_seconds: float = 10.0
    seed: int = 1


@dataclass
class Outcome:
    """The result of a run. Sizes are bytes."""

    plan: Plan
    seconds: float = 0.0
    ended: int = 0
    failures: list[str] = field(default_factory=list)
    left: int = -1
    faults: dict[str, int] = field(default_factory=dict)
    requests: int = 0
    restarts: int = 0
    storms: int = 0
    resident: list[int] = field(default_factory=list)
    unexpected: int = 0
    tally: Tally = field(default_factory=Tally)

    @property
    def growth(self) -> int:
        """How much the memory of one controller process grew in the last quarter of the lifecycles."""
        return self.resident[-1] - self.resident[-2]

    def errors(self) -> list[str]:
        """All errors that the run found. It is empty after a good run."""
        found = list(self.failures)
        if self.ended != self.plan.volumes:
            found.append(f"{self.plan.volumes - self.ended} lifecycles failed")
        if self.left:
            found.append(f"{self.left} volumes are left on the array")
        if self.unexpected:
            found.append(f"the driver logged {self.unexpected} unexpected errors")
        if self.growth > _MAX_GROWTH:
            found.append(f"the controller grew by {self.growth / _MIB:.1f} MiB in the last quarter")
        if self.restarts != self.plan.restarts or self.storms < self.plan.storms:
            found.append("there were fewer restarts or ends of all sessions than planned")
        if sum(self.faults.values()) < self.requests * self.plan.share / 2:
            found.append("faults struck fewer requests than planned")
        return found

    def lines(self) -> Iterator[str]:
        """The figures, for people."""
        errors = ", ".join(f"{count} {code}" for code, count in sorted(self.tally.errors.items()))
        faults = ", ".join(f"{count} {kind}" for kind, count in sorted(self.faults.items()))
        yield f"successful volume lifecycles   {self.ended} of {self.plan.volumes}"
        yield f"volumes left on the array      {self.left}"
        yield f"parallel clients               {self.plan.clients}, PowerFlex {self.plan.version}"
        yield f"seconds                        {self.seconds:.0f}"
        yield f"CSI calls                      {self.tally.calls}"
        yield f"  repeated after               {errors}"
        yield f"  longest until success        {self.tally.longest:.1f} s"
        yield f"gateway requests               {self.requests}"
        yield f"  struck by faults             {sum(self.faults.values())}: {faults}"
        yield f"kills of the controller        {self.restarts}"
        yield f"ends of all sessions           {self.storms}"
        yield f"frozen                         {self.plan.frozen_seconds:.0f} s"
        yield f"unexpected errors logged       {self.unexpected}"
        sizes = ", ".join(f"{size / _MIB:.1f}" for size in self.resident)
        yield f"resident MiB of the controller {sizes} (after half, three quarters and all lifecycles)"


def run(plan: Plan) -> Outcome:
    """Run ``plan.volumes`` lifecycles. Returns the outcome."""
    outcome = Outcome(plan)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        with array.serving(folder, plan.version) as soaked:
            systems = soaked.systems_file(folder / "systems.yaml", request_seconds=_REQUEST_SECONDS)
            with ControllerProcess(folder / "driver", systems, {"watch-seconds": "5"}) as process:
                soaked.inject_faults(plan.share, plan.seed)
                _run_lifecycles(plan, soaked, process, outcome)
                outcome.faults = soaked.remove_faults()
                outcome.left = soaked.volumes()
                outcome.requests = soaked.requests()
            outcome.unexpected = process.output().count(_STACK)
    outcome.seconds = time.monotonic() - began
    return outcome


class _Progress:
    """The number of completed lifecycles. A thread can wait for a certain number."""

    def __init__(self) -> None:
        self._completed = 0
        self._changed = threading.Condition()

    def one_more(self) -> None:
        with self._changed:
            self._completed += 1
            self._changed.notify_all()

    def wait_for(self, number: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._completed >= number)


def _run_lifecycles(plan: Plan, soaked: SoakedArray, process: ControllerProcess, outcome: Outcome) -> None:
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(plan.volumes):
        waiting.put(number)
    progress = _Progress()
    nodes = tuple(soaked.node(name) for name in NODES)
    clients = [
        threading.Thread(
            target=_client,
            args=(waiting, process.socket, nodes, plan, progress, outcome),
            name=f"client {number}",
        )
        for number in range(plan.clients)
    ]
    for client in clients:
        client.start()
    for completed, act in _events(plan, soaked, process, outcome):
        progress.wait_for(completed)
        act()
    for client in clients:
        client.join()


def _client(
    waiting: queue.SimpleQueue[int],
    socket: Path,
    nodes: tuple[str, ...],
    plan: Plan,
    progress: _Progress,
    outcome: Outcome,
) -> None:
    with contextlib.closing(Driver(socket, seconds=plan.call_seconds)) as driver:
        while True:
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                return
            rng = random.Random(f"{plan.seed} {number}")  # noqa: S311 - it must be repeatable
            try:
                run_lifecycle(Sidecar(driver, outcome.tally, rng), f"pvc-soak-{number}", nodes, rng)
            except LifecycleError as error:
                outcome.failures.append(str(error))
            else:
                with outcome.tally.lock:
                    outcome.ended += 1
            progress.one_more()


def _events(
    plan: Plan, soaked: SoakedArray, process: ControllerProcess, outcome: Outcome
) -> list[tuple[int, Callable[[], None]]]:
    """Actions, each with the number of completed lifecycles after which it happens.

    Memory is measured after the last restart.
    """

    def restart() -> None:
        process.kill()
        process.start()
        outcome.restarts += 1

    def storm() -> None:
        for _ in range(5):
            soaked.end_sessions()
            time.sleep(0.2)
        outcome.storms += 5

    def freeze() -> None:
        with soaked.frozen():
            time.sleep(plan.frozen_seconds)

    def measure() -> None:
        outcome.resident.append(process.resident())

    half = plan.volumes // 2
    acts: list[Callable[[], None]] = [restart] * plan.restarts + [storm] * plan.storms
    random.Random(plan.seed).shuffle(acts)  # noqa: S311 - it must be repeatable
    acts.insert(len(acts) // 2, freeze)
    step = half / (len(acts) + 1)
    planned = [(int(step * number), act) for number, act in enumerate(acts, 1)]
    return [*planned, (half, measure), (plan.volumes * 3 // 4, measure), (plan.volumes, measure)]
