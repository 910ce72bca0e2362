"""Many volumes' lives at once, in trouble: what is done, and what came of it."""

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
from tests.soak.life import Sidecar, Tally, Wrong, live

_MIB = 1024 * 1024
_REQUEST_SECONDS = 5.0
# In a quarter of the lives, on one process; a leak of 1 KiB for each call would be more.
_MOST_GROWTH = 4 * _MIB


@dataclass(frozen=True)
class Plan:
    """What to do. The first half of the lives meets restarts, storms and the freeze besides the faults."""

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
    """What came of it; sizes are bytes."""

    plan: Plan
    seconds: float = 0.0
    ended: int = 0
    wrong: list[str] = field(default_factory=list)
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
        """How much the memory of one controller process grew in the last quarter of all lives."""
        return self.resident[-1] - self.resident[-2]

    def faults_found(self) -> list[str]:
        """What is not as it must be, whatever the plan; nothing where all is well."""
        found = list(self.wrong)
        if self.ended != self.plan.volumes:
            found.append(f"{self.plan.volumes - self.ended} lives did not end right")
        if self.left:
            found.append(f"{self.left} volumes are left on the array")
        if self.unexpected:
            found.append(f"{self.unexpected} errors that nobody foresaw were logged")
        if self.growth > _MOST_GROWTH:
            found.append(f"the controller grew by {self.growth / _MIB:.1f} MiB in the last quarter")
        if self.restarts != self.plan.restarts or self.storms < self.plan.storms:
            found.append("not all of the planned trouble came about")
        if sum(self.faults.values()) < self.requests * self.plan.share / 2:
            found.append("fewer requests met a fault than planned")
        return found

    def lines(self) -> Iterator[str]:
        """The figures, for people."""
        refusals = ", ".join(f"{count} {code}" for code, count in sorted(self.tally.refusals.items()))
        faults = ", ".join(f"{count} {kind}" for kind, count in sorted(self.faults.items()))
        yield f"volume lives that ended right  {self.ended} of {self.plan.volumes}"
        yield f"volumes left on the array      {self.left}"
        yield f"parallel clients               {self.plan.clients}, PowerFlex {self.plan.version}"
        yield f"seconds                        {self.seconds:.0f}"
        yield f"CSI calls                      {self.tally.calls}"
        yield f"  repeated after               {refusals}"
        yield f"  longest until its end        {self.tally.longest:.1f} s"
        yield f"gateway requests               {self.requests}"
        yield f"  met by faults                {sum(self.faults.values())}: {faults}"
        yield f"controllers killed             {self.restarts}"
        yield f"times that all sessions ended  {self.storms}"
        yield f"frozen                         {self.plan.frozen_seconds:.0f} s"
        yield f"unforeseen errors logged       {self.unexpected}"
        sizes = ", ".join(f"{size / _MIB:.1f}" for size in self.resident)
        yield f"resident MiB of the controller {sizes} (after half, three quarters and all of the lives)"


def run(plan: Plan) -> Outcome:
    """Lead ``plan.volumes`` lives, and look at what is left."""
    outcome = Outcome(plan)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        with array.serving(folder, plan.version) as soaked:
            systems = soaked.systems_file(folder / "systems.yaml", request_seconds=_REQUEST_SECONDS)
            with ControllerProcess(folder / "driver", systems, {"watch-seconds": "5"}) as process:
                soaked.trouble(plan.share, plan.seed)
                _lead(plan, soaked, process, outcome)
                outcome.faults = soaked.calm()
                outcome.left = soaked.volumes()
                outcome.requests = soaked.requests()
            outcome.unexpected = process.output().count(b"unforeseen error")
    outcome.seconds = time.monotonic() - began
    return outcome


class _Progress:
    """The lives that are over, for whoever waits for a number of them."""

    def __init__(self) -> None:
        self._over = 0
        self._changed = threading.Condition()

    def one_more(self) -> None:
        with self._changed:
            self._over += 1
            self._changed.notify_all()

    def wait_for(self, lives: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._over >= lives)


def _lead(plan: Plan, soaked: SoakedArray, process: ControllerProcess, outcome: Outcome) -> None:
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
    for lives, act in _events(plan, soaked, process, outcome):
        progress.wait_for(lives)
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
            rng = random.Random(f"{plan.seed} {number}")  # noqa: S311 - repeatable on purpose
            try:
                live(Sidecar(driver, outcome.tally, rng), f"pvc-soak-{number}", nodes, rng)
            except Wrong as error:
                outcome.wrong.append(str(error))
            else:
                with outcome.tally.lock:
                    outcome.ended += 1
            progress.one_more()


def _events(
    plan: Plan, soaked: SoakedArray, process: ControllerProcess, outcome: Outcome
) -> list[tuple[int, Callable[[], None]]]:
    """What happens after how many lives; the looks at the memory come after the last restart."""

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
    random.Random(plan.seed).shuffle(acts)  # noqa: S311 - repeatable on purpose
    acts.insert(len(acts) // 2, freeze)
    step = half / (len(acts) + 1)
    troubles = [(int(step * number), act) for number, act in enumerate(acts, 1)]
    return [*troubles, (half, measure), (plan.volumes * 3 // 4, measure), (plan.volumes, measure)]
