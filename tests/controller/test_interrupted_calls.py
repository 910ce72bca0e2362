"""Each call is interrupted at each of its gateway requests, and repeated as a sidecar would repeat it.

First a test makes the call without faults. This shows its requests, its answer and its new objects.
Then it makes the call on new objects for each of these requests and each kind of interruption, interrupts it
there, and repeats it until it succeeds. The answer and the objects must be those of the call without faults:
no second volume, no orphan, no missing or additional mapping, and no other change.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc
import msgspec
import pytest

from csi_powerflex.config.systems.schema import TrashSettings
from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.gateway import Gateway
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, PoolPlan
from csi_powerflex.simulator.settings import Settings
from csi_powerflex.simulator.simulator import SystemPlan
from tests.controller.array_state import Baseline, Created
from tests.controller.calls import CALLS, Call, Environment
from tests.controller.conftest import VERSIONS, MakeWorld
from tests.controller.driver import outcome
from tests.controller.eventually import eventually
from tests.controller.interruption import Deadline, Held, HoldTime, KilledController, KillTime
from tests.controller.world import World
from tests.figures import Figures

# After these codes a sidecar repeats the call, because the result is unknown.
UNKNOWN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED}


@dataclass(frozen=True)
class Interruption:
    """A fault at one request. If it is ``late``, the deadline of the call passes during the request.

    ``codes`` are the codes that the call may have before it is repeated.
    """

    fault: Fault
    late: bool = False
    codes: frozenset[grpc.StatusCode] = frozenset(UNKNOWN)


INTERRUPTIONS = {
    "the connection is reset before the effect": Interruption(Fault(kind=FaultKind.RESET)),
    "the reply is lost after the effect": Interruption(Fault(kind=FaultKind.LOST_REPLY)),
    "the gateway is overloaded": Interruption(Fault(kind=FaultKind.ERROR, status=503)),
    "an HTTP error comes before the effect": Interruption(Fault(kind=FaultKind.ERROR, status=500)),
    "an HTTP error comes after the effect": Interruption(
        Fault(kind=FaultKind.ERROR, status=504, after_effect=True)
    ),
    "an HTML page comes before the effect": Interruption(Fault(kind=FaultKind.HTML, status=502)),
    "an HTML page comes after the effect": Interruption(
        Fault(kind=FaultKind.HTML, status=502, after_effect=True)
    ),
    "a web page comes as the answer": Interruption(Fault(kind=FaultKind.HTML, status=200, after_effect=True)),
    "the answer is truncated": Interruption(Fault(kind=FaultKind.TRUNCATED)),
    "the answer is of another shape": Interruption(Fault(kind=FaultKind.WRONG_JSON)),
    "the array is busy": Interruption(Fault(kind=FaultKind.ERROR, code=28)),
    "every session ends": Interruption(Fault(kind=FaultKind.REVOKE)),
    "a new token is refused too": Interruption(
        Fault(kind=FaultKind.ERROR, status=401, times=2),
        # After a change the code is not final, because its caller could forget what was changed.
        codes=frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE}),
    ),
    "the deadline passes, and the effect comes later": Interruption(Fault(kind=FaultKind.FREEZE), late=True),
    "the deadline passes after the effect": Interruption(Fault(kind=FaultKind.ENDLESS), late=True),
}

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Result:
    """The answer of a call, the answer to the same call afterwards, and all that was created."""

    answer: str
    again: str
    created: Created


def each_call(*versions: str) -> pytest.MarkDecorator:
    """Each call on each of these versions that can do it."""
    pairs = [
        (name, version)
        for name, call in CALLS.items()
        for version in versions
        if not (call.needs_nvme and version.startswith("3."))
        and not (call.mirrored and version == VERSIONS[-1])
    ]
    return pytest.mark.parametrize(("name", "version"), pairs)


# These differ most: in their logins, and in the way they make copies. The newest one moves no volumes.
OLDEST_AND_NEWEST = (VERSIONS[0], VERSIONS[-1])


@pytest.fixture
def world(version: str, make_world: MakeWorld, request: pytest.FixtureRequest) -> World:
    """A controller that keeps the requested QoS limits in a file, and an array that moves volumes at once.

    It has a trash if the call needs one.
    """
    pools = (PoolPlan(), PoolPlan(name="sp2"))
    world = make_world(
        SystemPlan(
            version=version,
            initial_state=InitialState(domains=(DomainPlan(pools=pools),)),
            settings=Settings(migration_kb_per_second=2**60),
        ),
        trash=TrashSettings() if "trash" in request.node.callspec.params["name"] else None,
    )
    world.more["state_file"] = world.folder / "state.db"
    # Without the pauses between the client's attempts the test takes less time.
    world.more["retry_seconds"] = 0.001
    world.restart()
    return world


def new_environment(world: World) -> Environment:
    """An environment with new names."""
    return Environment(world, world.driver, f"pvc-{next(_numbers)}")


def repeated(call: Callable[[], object], codes: frozenset[grpc.StatusCode]) -> object:
    """Repeat a call while it fails with one of these codes; returns its answer."""
    for _ in range(5):
        try:
            return call()
        except grpc.RpcError as error:
            if error.code() not in codes:
                raise
    raise AssertionError("the call did not succeed in five attempts")


def run(
    call: Call, world: World, make: Callable[[Environment, Callable[[Environment], object]], object]
) -> Result:
    """Prepare, let ``make`` make the call and repeat it, and compare the arrays."""
    baseline = Baseline(world)
    environment = new_environment(world)
    ids = call.prepare(environment)
    baseline.labels()
    answer = baseline.normalised(make(environment, lambda at: call.call(at, ids)))
    call.afterwards(environment, ids)
    created = baseline.created()
    assert (len(created.volumes), created.mappings) == call.creates
    again = baseline.normalised(call.call(environment, ids))
    assert baseline.created() == created, "the same call again changed something"
    return Result(answer, again, created)


def uninterrupted(environment: Environment, call: Callable[[Environment], object]) -> object:
    return call(environment)


def at(interruption: Interruption, position: int) -> Fault:
    """The fault of the interruption, at the request of that position."""
    times = interruption.fault.times or 1
    return msgspec.structs.replace(
        interruption.fault, times=times, skip=position, path="/api/*", id=next(_numbers)
    )


def clear_faults(gateway: Gateway) -> None:
    """Remove all faults and wait for the requests that they delayed."""
    gateway.faults.clear()
    eventually(lambda: all(entry.status for entry in gateway.log.find() if "freeze" in entry.faults))


def request_count(call: Call, world: World) -> int:
    """How many requests the call makes without faults."""
    environment = new_environment(world)
    ids = call.prepare(environment)
    with world.simulator.gateway.log.watching() as requests:
        call.call(environment, ids)
    return len(requests)


@each_call(*VERSIONS)
def test_a_call_interrupted_at_any_request_has_the_same_result(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch, figures: Figures
) -> None:
    call, gateway, deadline = CALLS[name], world.simulator.gateway, Deadline(monkeypatch)
    result = run(call, world, uninterrupted)
    # Now the controller has its caches, so the call makes the same requests each time.
    requests = request_count(call, world)
    assert requests > 0
    for position, (kind, interruption) in itertools.product(range(requests), INTERRUPTIONS.items()):
        fault = at(interruption, position)

        def interrupted(
            environment: Environment,
            make: Callable[[Environment], object],
            fault: Fault = fault,
            interruption: Interruption = interruption,
            position: int = position,
        ) -> object:
            gateway.inject(fault)
            if interruption.late:
                deadline.pass_in(position)
            answer = repeated(lambda: make(environment), interruption.codes)
            assert gateway.faults.struck(fault.id) == fault.times
            clear_faults(gateway)
            return answer

        assert run(call, world, interrupted) == result, f"{kind}, at request {position + 1} of {requests}"
        figures.add("controller calls interrupted and repeated")


@each_call(*OLDEST_AND_NEWEST)
def test_two_controllers_that_make_the_same_call_end_as_one(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch, figures: Figures
) -> None:
    """One is held at each of its requests until the other has answered; then it continues, or fails."""
    call, held, other = CALLS[name], Held(monkeypatch), world.another()
    result = run(call, world, uninterrupted)
    run(call, world, lambda environment, make: make(environment.by(other)))
    requests = request_count(call, world)
    for position, when, fails in itertools.product(range(requests), HoldTime, (False, True)):
        baseline = Baseline(world)
        environment = new_environment(world)
        ids = call.prepare(environment)
        baseline.labels()
        where = f"held {when.value} request {position + 1} of {requests}"
        held.arm(position, when)
        with ThreadPoolExecutor(1) as caller:
            first = caller.submit(outcome, lambda env=environment, ids=ids: call.call(env, ids))  # type: ignore[misc]  # bound
            held.wait()
            answer = repeated(
                lambda env=environment, ids=ids: call.call(env.by(other), ids),  # type: ignore[misc]  # bound
                frozenset(UNKNOWN),
            )
            answered = baseline.created()
            if fails:
                world.simulator.gateway.inject(
                    Fault(kind=FaultKind.ERROR, status=500, times=1, path="/api/*")
                )
            held.release()
            code = first.result(timeout=60)
        clear_faults(world.simulator.gateway)
        assert code in {grpc.StatusCode.OK, *UNKNOWN}, where
        assert baseline.created() == answered, f"{where}: undone what the other controller answered for"
        assert baseline.normalised(answer) == result.answer, where
        call.afterwards(environment, ids)
        again = baseline.normalised(call.call(environment, ids))
        assert (again, baseline.created()) == (result.again, result.created), where
        figures.add("controller calls with a second controller")


@each_call(*OLDEST_AND_NEWEST)
def test_a_call_of_a_controller_killed_at_any_request_has_the_same_result(
    world: World, name: str, figures: Figures
) -> None:
    result = run(CALLS[name], world, uninterrupted)
    for when in KillTime:
        kills = 0
        # Its caches are empty, so it makes more requests than a controller that runs for some time.
        while killed_at(kills, when, CALLS[name], world, result):
            kills += 1
        assert kills > 0
        figures.add("controllers killed in a call", kills)


def killed_at(position: int, when: KillTime, call: Call, world: World, result: Result) -> bool:
    """Kill a controller there, repeat its call at another; returns whether it made so many requests."""
    with KilledController(world.settings("killed.sock"), world.folder, position, when) as controller:
        died = False

        def killed(environment: Environment, make: Callable[[Environment], object]) -> object:
            nonlocal died
            died = controller.was_killed_in(lambda driver: make(environment.by(driver)))
            return make(environment)

        assert run(call, world, killed) == result, f"killed {when.value} request {position + 1}"
        assert died == (controller.requests() > position)
    return died
