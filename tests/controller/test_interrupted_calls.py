"""Every call, broken at each of its gateway requests in each way, repeated as a sidecar would: same end.

A call is first made in peace, which tells how many requests it makes, what it answers and what it leaves.
Then, for each of these requests and each kind of break, on objects of its own, it is broken just there and
repeated until it succeeds. Its answer and all that it left have to be those of the call in peace: no second
volume, no orphan, no mapping too many or too few, and nothing else touched.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import grpc
import msgspec
import pytest

from csi_powerflex.gateway import client
from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.gateway import Gateway
from csi_powerflex.simulator.simulator import SystemPlan
from tests.controller.array_state import Before, Picture
from tests.controller.calls import CALLS, Call, Environment
from tests.controller.conftest import VERSIONS, MakeWorld
from tests.controller.eventually import eventually
from tests.controller.interruption import BreakingController, Deadline, Moment
from tests.controller.world import World
from tests.figures import Figures

# What a sidecar takes for "not known yet": it repeats the call and forgets nothing.
UNKNOWN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED}


@dataclass(frozen=True)
class Break:
    """A trouble at one request; ``late`` when the deadline of the call passes during it.

    ``refusals`` are the codes that the call may answer before it is repeated.
    """

    fault: Fault
    late: bool = False
    refusals: frozenset[grpc.StatusCode] = frozenset(UNKNOWN)


BREAKS = {
    "the connection is reset before the effect": Break(Fault(kind=FaultKind.RESET)),
    "the reply is lost after the effect": Break(Fault(kind=FaultKind.LOST_REPLY)),
    "the gateway is overloaded": Break(Fault(kind=FaultKind.ERROR, status=503)),
    "an HTTP error comes before the effect": Break(Fault(kind=FaultKind.ERROR, status=500)),
    "an HTTP error comes after the effect": Break(Fault(kind=FaultKind.ERROR, status=504, after_effect=True)),
    "an HTML page comes before the effect": Break(Fault(kind=FaultKind.HTML, status=502)),
    "an HTML page comes after the effect": Break(Fault(kind=FaultKind.HTML, status=502, after_effect=True)),
    "a web page comes as the answer": Break(Fault(kind=FaultKind.HTML, status=200, after_effect=True)),
    "the answer is cut short": Break(Fault(kind=FaultKind.TRUNCATED)),
    "the answer is of another shape": Break(Fault(kind=FaultKind.WRONG_JSON)),
    "the array is busy": Break(Fault(kind=FaultKind.ERROR, code=28)),
    "every session ends": Break(Fault(kind=FaultKind.REVOKE)),
    "a new token is refused too": Break(
        Fault(kind=FaultKind.ERROR, status=401, times=2),
        refusals=frozenset({grpc.StatusCode.UNAUTHENTICATED}),
    ),
    "the deadline passes, and the effect comes later": Break(Fault(kind=FaultKind.FREEZE), late=True),
    "the deadline passes after the effect": Break(Fault(kind=FaultKind.ENDLESS), late=True),
}

_numbers = itertools.count(1)


@dataclass(frozen=True)
class End:
    """What a run came to: the answer, the answer to the same call once more, and all that was left."""

    answer: str
    again: str
    left: Picture


each_version = pytest.mark.parametrize("version", VERSIONS)
# Those that differ most: in their logins, and in how copies are made.
oldest_and_newest = pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
each_call = pytest.mark.parametrize("name", CALLS)


@pytest.fixture
def world(version: str, make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> World:
    """A controller that keeps the requested QoS limits in a file."""
    # The pauses between the client's attempts only cost time here.
    monkeypatch.setattr(client, "_FIRST_PAUSE_SECONDS", 0.001)
    world = make_world(SystemPlan(version=version))
    world.more["state_file"] = world.folder / "state.db"
    world.restart()
    return world


def fresh(world: World) -> Environment:
    """A run on names of its own."""
    return Environment(world, world.driver, f"pvc-{next(_numbers)}")


def repeated(call: Callable[[], object], refusals: frozenset[grpc.StatusCode]) -> object:
    """The answer of a call that is repeated while it is refused with one of these codes."""
    for _ in range(5):
        try:
            return call()
        except grpc.RpcError as error:
            if error.code() not in refusals:
                raise
    raise AssertionError("the call did not come to an end in five tries")


def run(
    call: Call, world: World, breaking: Callable[[Environment, Callable[[Environment], object]], object]
) -> End:
    """Prepare, let ``breaking`` make the call and repeat it, and see what is left."""
    before = Before(world)
    scene = fresh(world)
    there = call.prepare(scene)
    before.look()
    answer = before.told(breaking(scene, lambda at: call.call(at, there)))
    call.afterwards(scene, there)
    left = before.picture()
    assert (len(left.volumes), left.mappings) == call.leaves
    again = before.told(call.call(scene, there))
    assert before.picture() == left, "the same call once more changed something"
    return End(answer, again, left)


def in_peace(scene: Environment, call: Callable[[Environment], object]) -> object:
    return call(scene)


def at(kind: Break, place: int) -> Fault:
    """The fault that strikes the request of that place."""
    times = kind.fault.times or 1
    return msgspec.structs.replace(kind.fault, times=times, skip=place, path="/api/*", id=next(_numbers))


def advance(gateway: Gateway) -> None:
    """Take all trouble away and wait for what it held."""
    gateway.faults.clear()
    eventually(lambda: all(entry.status for entry in gateway.log.find() if "freeze" in entry.faults))


def request_count(call: Call, world: World) -> int:
    """How many requests the call makes in peace."""
    scene = fresh(world)
    there = call.prepare(scene)
    with world.simulator.gateway.log.watching() as requests:
        call.call(scene, there)
    return len(requests)


@each_call
@each_version
def test_a_call_broken_anywhere_comes_to_the_same_end(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch, figures: Figures
) -> None:
    call, gateway, deadline = CALLS[name], world.simulator.gateway, Deadline(monkeypatch)
    end = run(call, world, in_peace)
    # The run has warmed the controller: from now on, the call makes the same requests each time.
    requests = request_count(call, world)
    assert requests > 0
    for place, (kind, trouble) in itertools.product(range(requests), BREAKS.items()):
        fault = at(trouble, place)

        def broken(
            scene: Environment,
            make: Callable[[Environment], object],
            fault: Fault = fault,
            trouble: Break = trouble,
            place: int = place,
        ) -> object:
            gateway.inject(fault)
            if trouble.late:
                deadline.pass_in(place)
            answer = repeated(lambda: make(scene), trouble.refusals)
            assert gateway.faults.struck(fault.id) == fault.times
            advance(gateway)
            return answer

        assert run(call, world, broken) == end, f"{kind}, at request {place + 1} of {requests}"
        figures.add("controller calls broken and repeated to the same end")


@each_call
@oldest_and_newest
def test_a_controller_killed_anywhere_is_followed_by_one_that_comes_to_the_same_end(
    world: World, name: str, figures: Figures
) -> None:
    end = run(CALLS[name], world, in_peace)
    for moment in Moment:
        kills = 0
        # It starts with nothing remembered, so it makes more requests than a warm one.
        while killed_at(kills, moment, CALLS[name], world, end):
            kills += 1
        assert kills > 0
        figures.add("controllers killed in a call and followed to the same end", kills)


def killed_at(place: int, moment: Moment, call: Call, world: World, end: End) -> bool:
    """Kill a controller there and repeat its call at another; whether it made so many requests."""
    with BreakingController(world.settings("breaking.sock"), world.folder, place, moment) as breaking:
        died = False

        def killed(scene: Environment, make: Callable[[Environment], object]) -> object:
            nonlocal died
            died = breaking.died_in(lambda driver: make(scene.by(driver)))
            return make(scene)

        assert run(call, world, killed) == end, f"killed {moment.value} request {place + 1}"
        assert died == (breaking.requests() > place)
    return died
